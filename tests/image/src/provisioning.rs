//! Files that people put onto the card: ours, Raspberry Pi Imager's, broken ones, requests. What they ask for takes effect or is told,
//! secrets are gone from them afterwards, and nothing else of the boot partition changes.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::dist::{Dist, run};
use crate::rig::{Asked, Rig, make_overlay};
use crate::selftest::Selftest;

/// Room for a data partition, and quick to copy.
const CARD_BYTES: u64 = 2_300 * 1024 * 1024;

const OURS: &str =
    "\u{feff}host_name = \"Office\"\r\nsite_name = \"驿站\"\r\nclaim_code = \"7KQM-2X4P-WHZD\"\r\nlanguag = \"zh\"\r\n";
const USER_DATA: &str = "#cloud-config\nhostname: imager\ntimezone: Asia/Shanghai\nusers:\n- name: pi\n";
const NETWORK_CONFIG: &str = "network:\n  version: 2\n  wifis:\n    wlan0:\n      regulatory-domain: \"XX\"\n      access-points:\n        \
                              \"net\":\n          password: \"a password\"\n";

/// What the box has to say of them.
const TOLD: [&str; 4] = [
    "posthouse.toml, line 4: there is no setting \\\"languag\\\" (did you mean language?)",
    "user-data: ignored, for the box has no log-in and installs nothing: users",
    "network-config, line 5: \\\"XX\\\" is no country",
    "firstrun.sh: this script is never run",
];

/// Three boots.
pub async fn test(dist: &Dist, rig: &Rig<'_>) -> anyhow::Result<()> {
    let card = Card { raw: rig.disk.folder.join("provisioned.img"), at: dist.partition(1)?.start_bytes() };
    run(Command::new("cp").arg("--sparse=always").arg(&rig.disk.image).arg(&card.raw)).await?;
    std::fs::File::options().write(true).open(&card.raw)?.set_len(CARD_BYTES)?;
    for (name, content) in [
        ("posthouse.toml", OURS),
        ("user-data", USER_DATA),
        ("network-config", NETWORK_CONFIG),
        ("firstrun.sh", "#!/bin/sh\nreboot\n"),
        ("recover-owner", ""),
    ] {
        card.put(name, content).await?;
    }
    let first = card.boot(rig, "provisioned-boot").await?;
    assert_applied(&first)?;
    let left = card.get("posthouse.toml").await?;
    ensure!(left == OURS.replace("7KQM-2X4P-WHZD", "**************"), "the claim code stands on the card: {left}");
    ensure!(card.get("network-config").await? == NETWORK_CONFIG, "what was not used was overwritten");

    card.put("factory-reset", "").await?;
    card.put("posthouse.toml", "host_name = office\n").await?;
    let second = card.boot(rig, "reset-boot").await?;
    let is_new =
        |after: &Selftest, before: &Selftest| anyhow::Ok(after.text("machine_id")? != before.text("machine_id")?);
    ensure!(is_new(&second, &first)?, "the factory reset left the box what it was");
    // Of what was kept nothing is left but what the files on the card say.
    ensure!(second.text("host_name")? == "imager", "the box is called {}", second.text("host_name")?);
    ensure!(
        second.text("settings")?.contains("posthouse.toml, line 1: this is not TOML"),
        "{}",
        second.text("settings")?
    );
    let third = card.boot(rig, "after-reset-boot").await?;
    ensure!(!is_new(&third, &second)?, "the factory reset was followed twice");
    ensure!(third.text("settings")?.contains("factory-reset: this was done"), "{}", third.text("settings")?);
    std::fs::remove_file(&card.raw).context("removing the card")
}

fn assert_applied(report: &Selftest) -> anyhow::Result<()> {
    ensure!(report.text("host_name")? == "office", "the box is called {}", report.text("host_name")?);
    ensure!(report.text("time_zone")? == "CST", "the box's time zone is {}", report.text("time_zone")?);
    let settings = report.text("settings")?;
    for wanted in ["\"site_name\": \"驿站\"", "\"recover_owner\": true"].iter().chain(&TOLD) {
        ensure!(settings.contains(wanted), "the server is not told {wanted}: {settings}");
    }
    Ok(())
}

/// A card in a file, as a PC sees it.
struct Card {
    raw: PathBuf,
    /// Where its boot partition begins.
    at: u64,
}

impl Card {
    fn boot_partition(&self) -> String {
        format!("{}@@{}", self.raw.display(), self.at)
    }

    async fn put(&self, name: &str, content: &str) -> anyhow::Result<()> {
        let from = self.raw.with_extension("content");
        std::fs::write(&from, content)?;
        let to = format!("::{name}");
        run(Command::new("mcopy").args(["-D", "o", "-i", &self.boot_partition()]).arg(&from).arg(to)).await
    }

    async fn get(&self, name: &str) -> anyhow::Result<String> {
        let output =
            Command::new("mcopy").args(["-i", &self.boot_partition(), &format!("::{name}"), "-"]).output().await?;
        ensure!(output.status.success(), "mcopy cannot read {name}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Boots from it, and has the card as the power cut left it.
    async fn boot(&self, rig: &Rig<'_>, name: &str) -> anyhow::Result<Selftest> {
        let overlay = self.raw.with_extension("qcow2");
        make_overlay(&self.raw, &overlay, CARD_BYTES).await?;
        let nobody = async |_: &mut crate::machine::Machine, _: &posthouse_client::ServerUrl| Ok(());
        let evening = rig.with_card(overlay.clone()).power_on(name, Asked::Report, nobody).await?;
        let after = self.raw.with_extension("after");
        run(Command::new("qemu-img").args(["convert", "-f", "qcow2", "-O", "raw"]).arg(&overlay).arg(&after)).await?;
        std::fs::rename(&after, &self.raw)?;
        std::fs::remove_file(&overlay)?;
        assert_sound(&self.raw, self.at).await?;
        Ok(evening.boot.report)
    }
}

/// The boot partition is a sound file system that nobody has marked as in use.
async fn assert_sound(raw: &Path, at: u64) -> anyhow::Result<()> {
    let alone = raw.with_extension("p1");
    let from = format!("driver=raw,offset={at},size={},file.driver=file,file.filename={}", 512 << 20, raw.display());
    run(Command::new("qemu-img").args(["convert", "-O", "raw", "--image-opts", &from]).arg(&alone)).await?;
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut check = Command::new("fsck.vfat");
    check.env("PATH", path).arg("-n").arg(&alone).stdout(std::process::Stdio::null());
    run(&mut check).await.context("the boot partition after the boot")?;
    std::fs::remove_file(&alone).context("removing the copy of the boot partition")
}
