//! A new box meets its owner, in a network with a neighbour: until somebody who has read its code makes it theirs, it serves what that
//! takes and nothing else. Its card bears what people put there, with mistakes; its clock is years behind, and nobody tells it the time
//! but its owner.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use posthouse_client::claim::Claiming;
use posthouse_client::{ClientError, ServerUrl};
use posthouse_protocol::appliance::Ownership;
use posthouse_protocol::{ErrorCode, Fingerprint, Message, Password, Token, Username, limits};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::card::Card;
use crate::chat::{Device, Person};
use crate::discovery::{self, Ear};
use crate::dist::Dist;
use crate::machine::Machine;
use crate::neighbours::Neighbours;
use crate::network::{self, BOX_ADDRESS, OTHER_ADDRESS};
use crate::provisioning;
use crate::rig::{Asked, Rig, SERVED};
use crate::selftest::Selftest;
use crate::virt::Length;
use crate::{http, shown};

/// What anybody may see of a box that nobody owns.
const OPEN: [&str; 14] = [
    "/",
    "/claim",
    "/claim/challenge",
    "/healthz",
    "/icon.svg",
    "/page.js",
    "/style.css",
    "/trust",
    "/trust/android",
    "/trust/ca.crt",
    "/trust/ca.mobileconfig",
    "/trust/iphone",
    "/trust/mac",
    "/trust/windows",
];

/// Methods and paths that everything else stands for; beside them, all of the schema's.
const SHUT: [(&str, &str); 12] = [
    ("GET", "/home"),
    ("GET", "/recover"),
    ("POST", "/recover"),
    ("GET", "/trusted"),
    ("GET", "/api/v1"),
    ("GET", "/api/v1/update"),
    ("POST", "/api/v1/update"),
    ("GET", "/ws"),
    ("GET", "/posthouse.redb"),
    ("GET", "/../../run/posthouse/status.json"),
    ("PUT", "/claim"),
    ("DELETE", "/"),
];

/// Every route that the server has for programs.
const SCHEMA: &str = include_str!("../../../server/protocol/schema/openapi.json");

/// Those of them by which a box is claimed.
const FOR_CLAIMING: [&str; 4] = ["/claim", "/claim/challenge", "/claim/proof", "/healthz"];

/// Until the card's report has changed, too: it is written right behind the page.
const REPORT_LIMIT: Duration = Duration::from_secs(10);

/// Until the box has set its clock, which takes a program's start.
const CLOCK_LIMIT: Duration = Duration::from_secs(60);

/// How far its clock may be from this machine's then, and must have been before, in seconds.
const CLOCK_IS_RIGHT_S: u64 = 60;
const CLOCK_IS_WRONG_S: u64 = 24 * 3_600;

/// A box that was claimed and shut down.
pub struct Claimed {
    pub card: Card,
    pub report: Selftest,
    /// The certificate of the box's authority.
    pub root: String,
    pub people: People,
}

/// Who is on it.
pub struct People {
    pub owner: Person,
    pub owner_token: Token,
    pub member: Person,
    pub member_token: Token,
    /// What they said to each other.
    pub said: Vec<Message>,
}

/// One boot. The long test has neighbours look for the box, too.
pub async fn test(dist: &Dist, rig: &Rig<'_>, passwords: [String; 2], length: Length) -> anyhow::Result<Claimed> {
    let card = Card::fresh(dist, rig, "new").await?;
    provisioning::put_files(&card).await?;
    let rig = rig.clone().without_accounts().with_stopped_clock();
    let [owner, member] = passwords;
    let (owner, member) = (Person { name: "anna", password: owner }, Person { name: "ida", password: member });
    let first_evening = async |machine: &mut Machine, _: &ServerUrl| meet(machine, owner, member, length).await;
    let evening = card.power_on(&rig, "claimed-boot", Asked::Farewell, first_evening).await?;
    let report = evening.boot.report;
    provisioning::assert_applied(&report)?;
    provisioning::assert_told_on_card(&card, "Owner: anna").await?;
    Ok(Claimed { card, report, root: evening.boot.root, people: evening.outcome })
}

/// The whole evening, to the box's goodbye.
async fn meet(machine: &mut Machine, owner: Person, member: Person, length: Length) -> anyhow::Result<People> {
    let door = network::door(SERVED);
    discovery::assert_found(provisioning::NAME).await?;
    let (code, fingerprint) = machine
        .wait_for("code and fingerprint on the console", shown::LIMIT, async |console| read(&shown::page(console)?))
        .await?;
    let report = Selftest::read(&machine.console()).context("the report is gone")?;
    let status = report.status()?;
    ensure!(status.ownership == (Ownership::Unclaimed { code: code.clone() }), "it says {:?}", status.ownership);
    let secure: ServerUrl = format!("https://{BOX_ADDRESS}").parse()?;
    let secure = secure.pinned(fingerprint);
    assert_shut(door, &secure, &code).await?;
    assert_locks(door, &code).await?;
    let behind = clock_error_s(door).await?;
    ensure!(behind > CLOCK_IS_WRONG_S, "the box's clock is {behind} s off already: there is nothing to set");
    let owner_token = claim(&secure, &code, &owner).await?;
    assert_clock(machine, door).await?;
    let people = talk(&secure, owner, owner_token, member).await?;
    discovery::assert_found(provisioning::NAME).await?;
    let is_shown = async |console: &str| shown::page(console).filter(|page| page.contains("Owner: anna"));
    machine.wait_for("the owner in the code's place on the console", shown::LIMIT, is_shown).await?;
    tokio::time::sleep(REPORT_LIMIT).await;
    let ear = Ear::open()?;
    let neighbours = if length == Length::Long { Some(Neighbours::find(provisioning::NAME)?) } else { None };
    // The sign by which this box shuts down.
    let _two = [TcpStream::connect(door).await?, TcpStream::connect(door).await?];
    ear.assert_goodbye(machine).await?;
    neighbours.as_ref().map_or(Ok(()), Neighbours::assert_lost)?;
    Ok(people)
}

/// What somebody in front of the console writes down: the code, and the fingerprint.
fn read(page: &str) -> Option<(String, Fingerprint)> {
    let below = |heading: &str| page.split_once(heading).map(|(_, rest)| rest);
    let code =
        below("Claim code:")?.split_whitespace().find(|word| word.len() == 14 && word.matches('-').count() == 2)?;
    let is_group = |word: &&str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups: Vec<&str> = below("Fingerprint")?.split_whitespace().filter(is_group).take(16).collect();
    Some((code.to_owned(), groups.concat().parse().ok()?))
}

/// Nothing but what is open is served, by either way in, and nothing tells the code.
async fn assert_shut(door: SocketAddr, secure: &ServerUrl, code: &str) -> anyhow::Result<()> {
    for path in OPEN {
        let answer = http::get(door, path).await.with_context(|| format!("{path}: no answer"))?;
        ensure!(answer.status == 200, "an unclaimed box answers {} at {path}", answer.status);
        ensure!(!answer.body.contains(code), "{path} tells the claim code");
    }
    let schema: serde_json::Value = serde_json::from_str(SCHEMA)?;
    let paths = schema["paths"].as_object().context("a schema without paths")?;
    let routes = paths.iter().filter(|(path, _)| !FOR_CLAIMING.contains(&path.as_str()));
    let methods = |(path, methods): (&String, &serde_json::Value)| {
        let methods: Vec<String> =
            methods.as_object().into_iter().flatten().map(|(name, _)| name.to_uppercase()).collect();
        methods.into_iter().map(move |method| (method, path.clone())).collect::<Vec<_>>()
    };
    let known = SHUT.map(|(method, path)| (method.to_owned(), path.to_owned()));
    let all: Vec<(String, String)> = routes.flat_map(methods).chain(known).collect();
    for (method, path) in &all {
        let head = format!("{method} {path} HTTP/1.1\r\nContent-Type: application/json\r\n");
        let answer = http::ask(door, None, &head, "").await.with_context(|| format!("{path}: no answer"))?;
        let is_led_away = answer.status == 303 && answer.header("location") == Some("/claim");
        ensure!(is_led_away || (400..500).contains(&answer.status), "{method} {path} is answered: {}", answer.status);
        ensure!(!answer.body.contains(code), "{path} tells the claim code");
    }
    let stranger = Device::come_back(secure, Token("0".repeat(64))).await.map(drop);
    ensure!(is_unclaimed(&stranger), "a session by TLS: {stranger:?}");
    println!("test-image: unclaimed it serves {} pages and refuses {} other requests", OPEN.len(), all.len());
    Ok(())
}

/// Wrong codes lock the address that they come from, also for the right one, and no other.
async fn assert_locks(door: SocketAddr, code: &str) -> anyhow::Result<()> {
    let other: IpAddr = OTHER_ADDRESS.into();
    let attempt = async |code: &str| {
        let form = [("code", code), ("username", "eve"), ("password", "a horse of hers"), ("again", "a horse of hers")];
        http::post_form(door, Some(other), "/claim", &form).await.map(|answer| answer.status)
    };
    for _ in 0..limits::ADDRESS_CODES_WRONG_MAX {
        let wrong = attempt("AAAA-BBBB-CCCC").await;
        ensure!(wrong == Some(403), "a wrong code is answered {wrong:?}");
    }
    let locked = attempt(code).await;
    ensure!(
        locked == Some(429),
        "after {} wrong codes the next is answered {locked:?}",
        limits::ADDRESS_CODES_WRONG_MAX
    );
    Ok(())
}

/// With what the console shows, and nothing else that is known of the box, somebody becomes its owner.
async fn claim(secure: &ServerUrl, code: &str, owner: &Person) -> anyhow::Result<Token> {
    let wrong = Claiming::begin(secure, "AAAA-BBBB-CCCC").await.map(drop);
    ensure!(matches!(&wrong, Err(ClientError::Refused(error)) if error.code == ErrorCode::CodeWrong), "{wrong:?}");
    let claiming = Claiming::begin(secure, code).await.context("the code off the console")?;
    let (username, password) = (Username::new(owner.name)?, Password(owner.password.clone()));
    let claimed = claiming.finish(username, password, "boot-test".to_owned()).await.context("claiming the box")?;
    ensure!(claimed.sheet.fingerprint == secure.pin(), "the sheet has another fingerprint than the console");
    println!("test-image: the code off the serial console makes {} the owner, over TLS", owner.name);
    Ok(claimed.token)
}

/// Nobody but the owner's device could tell the box what time it is.
async fn assert_clock(machine: &mut Machine, door: SocketAddr) -> anyhow::Result<()> {
    let is_right = async |_: &str| clock_error_s(door).await.ok().filter(|error| *error < CLOCK_IS_RIGHT_S);
    let error = machine.wait_for("the owner's time on the box's clock", CLOCK_LIMIT, is_right).await?;
    println!("test-image: the box's clock is set by the owner's device, {error} s off");
    Ok(())
}

/// How far the box's clock is from this machine's: each answer bears its time.
async fn clock_error_s(door: SocketAddr) -> anyhow::Result<u64> {
    let answer = http::get(door, "/healthz").await.context("/healthz: no answer")?;
    let date = answer.header("date").context("an answer without its time")?.to_owned();
    let output = Command::new("date").args(["--date", &date, "+%s"]).output().await.context("starting date")?;
    let there: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().with_context(|| format!("{date:?}"))?;
    let here = SystemTime::UNIX_EPOCH.elapsed().context("this machine's clock")?.as_secs();
    Ok(here.abs_diff(there))
}

/// The owner has somebody in, and they talk.
async fn talk(secure: &ServerUrl, owner: Person, owner_token: Token, member: Person) -> anyhow::Result<People> {
    let anna = Device::come_back(secure, owner_token.clone()).await?;
    anna.admit(&member).await?;
    let ida = Device::log_in(secure, &member).await?;
    ida.send(owner.name, "A fine house.").await?;
    let said = anna.history(member.name).await?;
    Ok(People { owner, owner_token, member, member_token: ida.token, said })
}

/// Whether the box lets nobody in because nobody owns it.
pub fn is_unclaimed<T>(outcome: &anyhow::Result<T>) -> bool {
    outcome.as_ref().is_err_and(|error| format!("{error:#}").contains("has to be claimed first"))
}

/// What the box refuses something with.
pub fn refusal<T>(outcome: &anyhow::Result<T>) -> Option<ErrorCode> {
    match outcome.as_ref().err()?.downcast_ref::<ClientError>()? {
        ClientError::Refused(error) => Some(error.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    const PAGE: &str = "Nobody owns this box yet. Claim code:         █▀▀▀▀▀█\n  Z1Q5-FMCG-ZJQM      █ ███ █\n\n\
        Fingerprint, the same on every device:        ▀▀▀▀▀▀▀ ▀\n  02ef 4854 3328 d3be ea10 2d47 e81b 5db4\n  \
        b9e8 1a78 888a 4799 e5ce a234 3e17 644d\n\nClients: 0  Free: 0.4 GB\n";

    #[test]
    fn code_and_fingerprint_are_read_off_a_page_that_has_both() {
        let (code, fingerprint) = read(PAGE).expect("both");
        assert_eq!(code, "Z1Q5-FMCG-ZJQM");
        assert!(fingerprint.to_string().replace(' ', "").starts_with("02ef48543328"), "{fingerprint}");
        for lacking in ["Z1Q5-FMCG-ZJQM", "644d", "Fingerprint"] {
            assert!(read(&PAGE.replace(lacking, "")).is_none(), "{lacking}");
        }
    }
}
