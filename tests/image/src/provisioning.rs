//! Files that people put onto the card: ours, Raspberry Pi Imager's, broken ones, requests. What they ask for takes effect or is told,
//! secrets are gone from them afterwards, and nothing else of the boot partition changes.

use anyhow::ensure;
use posthouse_client::ServerUrl;
use posthouse_protocol::ErrorCode;
use posthouse_protocol::appliance::Ownership;

use crate::card::Card;
use crate::chat::{Device, Person};
use crate::claiming::{Claimed, People, is_unclaimed, refusal};
use crate::machine::Machine;
use crate::rig::{Asked, Boot, Rig};
use crate::selftest::Selftest;
use crate::{http, shown};

/// What the box is called by its card.
pub const NAME: &str = "office.local";

const OURS: &str = "\u{feff}host_name = \"Office\"\r\nsite_name = \"驿站\"\r\nlanguag = \"zh\"\r\n";
const USER_DATA: &str = "#cloud-config\nhostname: imager\ntimezone: Asia/Shanghai\nusers:\n- name: pi\n";
const NETWORK_CONFIG: &str = "network:\n  version: 2\n  wifis:\n    wlan0:\n      regulatory-domain: \"XX\"\n      access-points:\n        \
                              \"net\":\n          password: \"a password\"\n";

/// What the box has to say of them.
const TOLD: [&str; 4] = [
    "posthouse.toml, line 3: there is no setting \"languag\" (did you mean language?)",
    "user-data: ignored, for the box has no log-in and installs nothing: users",
    "network-config, line 5: \"XX\" is no country",
    "firstrun.sh: this script is never run",
];

/// A code of the owner's own, which a card brings.
const OWN_CODE: &str = "7KQM-2X4P-WHZD";
const WITH_CODE: &str = "host_name = \"Office\"\r\nclaim_code = \"7KQM-2X4P-WHZD\"\r\n";

/// The network of somebody's own, in a country that there is.
const WIFI_PASSWORD: &str = "a password";

pub async fn put_files(card: &Card) -> anyhow::Result<()> {
    for (name, content) in [
        ("posthouse.toml", OURS),
        ("user-data", USER_DATA),
        ("network-config", NETWORK_CONFIG),
        ("firstrun.sh", "#!/bin/sh\nreboot\n"),
    ] {
        card.put(name, content).await?;
    }
    Ok(())
}

/// What could be used of the files holds, and the server is told of the rest.
pub fn assert_applied(report: &Selftest) -> anyhow::Result<()> {
    ensure!(report.text("host_name")? == "office", "the box is called {}", report.text("host_name")?);
    ensure!(report.text("time_zone")? == "CST", "the box's time zone is {}", report.text("time_zone")?);
    let status = report.status()?;
    ensure!(status.site_name.as_deref() == Some("驿站"), "the site is called {:?}", status.site_name);
    for told in TOLD {
        let is_told = status.warnings.iter().any(|warning| warning.starts_with(told));
        ensure!(is_told, "the server is not told {told}: {:?}", status.warnings);
    }
    Ok(())
}

/// Whoever puts the card into a PC reads there what is wrong with its files, and this.
pub async fn assert_told_on_card(card: &Card, more: &str) -> anyhow::Result<()> {
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = card.get("POSTHOUSE.TXT").await?;
    for told in TOLD.into_iter().chain([more]) {
        ensure!(flat(&text).contains(told), "POSTHOUSE.TXT does not tell {told}:\n{}", text.trim());
    }
    Ok(())
}

/// Three boots of a box that was claimed: its owner is let back in, it is made new, and stays so.
pub async fn test(rig: &Rig<'_>, claimed: Claimed, new_password: String) -> anyhow::Result<()> {
    let Claimed { card, report, root, mut people } = claimed;
    let rig = rig.clone().without_accounts();
    ensure!(card.get("network-config").await? == NETWORK_CONFIG, "what was not used was overwritten");
    card.put("recover-owner", "").await?;
    let recover = async |machine: &mut Machine, server: &ServerUrl| {
        let code = recovery_code(&Selftest::read(&machine.console()).unwrap_or_default(), &people.owner)?;
        recover(server, &code, &mut people, new_password).await?;
        let is_shown = async |console: &str| shown::page(console).filter(|page| page.contains("Owner: anna"));
        machine.wait_for("the owner in the code's place on the console", shown::LIMIT, is_shown).await.map(drop)
    };
    let evening = card.power_on(&rig, "recovered-boot", Asked::Report, recover).await?;
    evening.boot.report.assert_same_box(&report)?;
    ensure!(evening.boot.root == root, "the box has another authority after it was shut down");

    card.put("factory-reset", "").await?;
    card.put("posthouse.toml", "host_name = office\n").await?;
    let reset = async |_: &mut Machine, server: &ServerUrl| assert_forgotten(server, &people).await;
    let evening = card.power_on(&rig, "reset-boot", Asked::Report, reset).await?;
    let new = evening.boot;
    assert_other_box(&new, &report, &root)?;
    // Of what was kept nothing is left but what the files on the card say.
    ensure!(new.report.text("host_name")? == "imager", "the box is called {}", new.report.text("host_name")?);
    let settings = new.report.text("settings")?;
    ensure!(settings.contains("posthouse.toml, line 1: this is not TOML"), "{settings}");

    card.put("posthouse.toml", WITH_CODE).await?;
    card.put("network-config", &NETWORK_CONFIG.replace("XX", "CN")).await?;
    let nobody = async |_: &mut Machine, _: &ServerUrl| Ok(());
    let evening = card.power_on(&rig, "after-reset-boot", Asked::Report, nobody).await?;
    let report = evening.boot.report;
    report.assert_same_box(&new.report)?;
    ensure!(evening.boot.root == new.root, "the factory reset was followed twice");
    ensure!(report.text("settings")?.contains("factory-reset: this was done"), "{}", report.text("settings")?);
    let ownership = report.status()?.ownership;
    ensure!(ownership == (Ownership::Unclaimed { code: OWN_CODE.to_owned() }), "the card's own code: {ownership:?}");
    ensure!(report.text("wifi")? == "yes success", "iwd: {}", report.text("wifi")?);
    assert_overwritten(&card).await?;
    card.throw_away()
}

/// No secret stands on the card any more; all else does.
async fn assert_overwritten(card: &Card) -> anyhow::Result<()> {
    for (name, wanted) in [
        ("posthouse.toml", WITH_CODE.replace(OWN_CODE, &"*".repeat(OWN_CODE.len()))),
        ("network-config", NETWORK_CONFIG.replace("XX", "CN").replace(WIFI_PASSWORD, &"*".repeat(WIFI_PASSWORD.len()))),
    ] {
        let left = card.get(name).await?;
        ensure!(left == wanted, "{name} has become {left}");
    }
    Ok(())
}

fn recovery_code(report: &Selftest, owner: &Person) -> anyhow::Result<String> {
    match report.status()?.ownership {
        Ownership::Recovering { owner: name, code } if name == owner.name => Ok(code),
        other => anyhow::bail!("the card asks for a code by which {} is let back in: {other:?}", owner.name),
    }
}

/// The code resets the owner's password and devices, once, and nothing else.
async fn recover(server: &ServerUrl, code: &str, people: &mut People, new_password: String) -> anyhow::Result<()> {
    let door = server.authority().parse()?;
    let ida = Device::come_back(server, people.member_token.clone()).await?;
    ensure!(ida.history(people.owner.name).await? == people.said, "what was said is not what is there");
    let set = async |code: &str| {
        let form = [("code", code), ("password", &new_password), ("again", &new_password)];
        http::post_form(door, None, "/recover", &form).await.map(|answer| answer.status)
    };
    ensure!(set("AAAA-BBBB-CCCC").await == Some(403), "a wrong code lets somebody in");
    ensure!(set(code).await == Some(200), "the code off the box does not let its owner in");
    ensure!(set(code).await == Some(404), "the code serves twice");
    let back = Device::come_back(server, people.owner_token.clone()).await;
    ensure!(refusal(&back) == Some(ErrorCode::TokenInvalid), "the owner's old device is still in");
    let old = Device::log_in(server, &people.owner).await;
    ensure!(refusal(&old) == Some(ErrorCode::LoginFailed), "the owner's old password still holds");
    people.owner.password = new_password;
    let anna = Device::log_in(server, &people.owner).await?;
    ensure!(anna.history(people.member.name).await? == people.said, "the owner has lost what was said");
    ensure!(ida.history(people.owner.name).await? == people.said, "somebody else has lost it");
    Device::log_in(server, &people.member).await?;
    println!("test-image: recover-owner resets the owner's password and devices, and nothing else");
    Ok(())
}

/// Nobody of those who were on the box is known to it: it waits for an owner.
async fn assert_forgotten(server: &ServerUrl, people: &People) -> anyhow::Result<()> {
    for token in [&people.owner_token, &people.member_token] {
        let back = Device::come_back(server, token.clone()).await;
        ensure!(is_unclaimed(&back), "after a factory reset somebody is still in");
    }
    Ok(())
}

fn assert_other_box(new: &Boot, before: &Selftest, root: &str) -> anyhow::Result<()> {
    let is_new = new.report.text("machine_id")? != before.text("machine_id")? && new.root != root;
    ensure!(is_new, "the factory reset left the box what it was");
    println!("test-image: after a factory reset it is another box that nobody owns");
    Ok(())
}
