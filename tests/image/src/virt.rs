//! The whole test, on QEMU's machine `virt`: the box boots from the unchanged image, its server is killed, its ports are scanned,
//! two people talk through it, its power is cut right after an acknowledgement and again and again while somebody writes, and
//! after the last boot everything that was acknowledged is there.
//!
//! What the guest has not flushed when QEMU is killed can survive in this machine's memory: this shows that the box comes
//! up again with all it acknowledged, not that it flushed before it did. The power cuts during an update show that, too.

use anyhow::{Context, ensure};
use posthouse_client::ServerUrl;
use posthouse_protocol::{Message, Seq, Token};

use crate::chat::{Device, Person};
use crate::discovery::Ear;
use crate::dist::{Disk, Dist};
use crate::machine::Machine;
use crate::network::Network;
use crate::rig::{Asked, Rig, SERVED};
use crate::selftest::Selftest;
use crate::{
    claiming, damage, discovery, lasting, load, network, provisioning, report, scan, shown, storm, update_cuts,
    updates, visitors,
};

/// A first boot makes p4 as long as the rest of this card.
const CARD_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// How much is tested.
#[derive(Clone, Copy, PartialEq)]
pub enum Length {
    /// What a change has to pass.
    Short,
    /// Other people's programs that look for the box, more bad builds, a lost password, a factory reset, power cuts during an update,
    /// cards in a bad state and of a bad size: ten boots more, and one for each such cut.
    Long,
}

/// How often the power goes, a boot each.
#[derive(Clone, Copy)]
pub struct Cuts {
    /// Messages.
    pub while_writing: u32,
    /// Of the server, in the long test.
    pub during_update: usize,
}

/// The first evening ends with a cut after an acknowledgement, each of the cuts in the middle of writing. The long test goes
/// on with other cards.
pub async fn test(dist: &Dist, disk: &Disk, cuts: Cuts, length: Length) -> anyhow::Result<()> {
    lasting::assert_image_is_nobody_s(dist, disk).await?;
    let people = people()?;
    if length == Length::Long {
        posthouse_discovery_tests::prepare()?;
    }
    // Its DHCP server answers until the end.
    let _network = Network::set_up(&disk.folder).await?;
    let rig = Rig::set_up(disk, CARD_BYTES, &people).await?;
    let first_evening = async |machine: &mut Machine, server: &ServerUrl| {
        discovery::assert_found(discovery::NAME).await?;
        let ear = Ear::open()?;
        visitors::assert_never_refused(machine, network::door(SERVED)).await?;
        ensure!(!ear.heard_goodbye().await?, "a server that is started again says goodbye");
        discovery::assert_found(discovery::NAME).await?;
        let report = Selftest::read(&machine.console()).context("the report is gone")?;
        scan::assert_closed(network::addresses(&report)?).await?;
        talk(server, &people[0], &people[1]).await
    };
    let first = rig.power_on("first-boot", Asked::Kills, first_evening).await?;
    let (tokens, sent) = first.outcome;
    lasting::assert_grown(dist, &first.boot.report, CARD_BYTES)?;
    let rig = rig.with_stopped_clock();
    let mut acknowledged = Vec::new();
    let mut before = first.boot.report.clone();
    let root = &first.boot.root;
    for cut in 1..=cuts.while_writing {
        let name = format!("cut-{cut}");
        let storm = async |_: &mut Machine, server: &ServerUrl| {
            storm::verify(server, tokens[0].clone(), "carol", &acknowledged).await?;
            storm::begin(server, tokens[0].clone(), "carol", &name).await
        };
        let evening = rig.power_on(&name, Asked::Report, storm).await?;
        assert_lasts(&evening.boot.report, &before)?;
        ensure!(evening.boot.root == *root, "the box has another authority after a power cut");
        before = evening.boot.report;
        acknowledged.extend(evening.outcome.acknowledged().await?);
    }
    let last_evening = async |machine: &mut Machine, server: &ServerUrl| {
        storm::verify(server, tokens[0].clone(), "carol", &acknowledged).await?;
        remember(server, &tokens, &sent).await?;
        // Between two who are asked nothing later.
        load::assert_threads(machine, server, &tokens[1], &people[2]).await
    };
    let last = rig.power_on("last-boot", Asked::Threads, last_evening).await?;
    let claimed = claiming::test(dist, &rig, [password()?, password()?], length).await?;
    updates::test(dist, &rig, &people[0], length).await?;
    report::assert_lean(&first.boot.report)?;
    report::assert_lean(&last.boot.report)?;
    assert_lasts(&last.boot.report, &before)?;
    ensure!(last.boot.root == *root, "the box has another authority after a power cut");
    let said = last.boot.report.status()?;
    shown::assert_on_console(&disk.folder.join("last-boot.log"), &said)?;
    shown::assert_on_card(dist, &rig.card, &said).await?;
    if length == Length::Long {
        provisioning::test(&rig, claimed, password()?).await?;
        update_cuts::test(dist, &rig, &people[0], cuts.during_update).await?;
        damage::lose_superblock(dist, &rig.card).await?;
        let unharmed = async |_: &mut Machine, server: &ServerUrl| {
            storm::verify(server, tokens[0].clone(), "carol", &acknowledged).await
        };
        let repaired = rig.power_on("repaired-boot", Asked::Report, unharmed).await?;
        assert_lasts(&repaired.boot.report, &last.boot.report)?;
        damage::assert_repaired(&disk.folder.join("repaired-boot.log"))?;
        bad_cards(dist, &rig, &people[1]).await?;
    }
    report::print(dist, &first.boot, &last.boot)?;
    report::record(dist).await
}

/// Of all this the updates of the server only.
pub async fn test_updates(dist: &Dist, disk: &Disk, length: Length) -> anyhow::Result<()> {
    let people = people()?;
    let _network = Network::set_up(&disk.folder).await?;
    let rig = Rig::set_up(disk, CARD_BYTES, &people).await?;
    updates::test(dist, &rig, &people[0], length).await
}

/// Cards with garbage, very small and very large ones only.
pub async fn test_bad_cards(dist: &Dist, disk: &Disk) -> anyhow::Result<()> {
    let people = people()?;
    let _network = Network::set_up(&disk.folder).await?;
    let rig = Rig::set_up(disk, CARD_BYTES, &people).await?.with_stopped_clock();
    bad_cards(dist, &rig, &people[1]).await
}

async fn bad_cards(dist: &Dist, rig: &Rig<'_>, person: &Person) -> anyhow::Result<()> {
    damage::test_garbage(dist, rig).await?;
    damage::test_cut(rig).await?;
    damage::test_tight(rig).await?;
    damage::test_large(dist, rig, person).await
}

/// Power cuts during an update only.
pub async fn test_update_cuts(dist: &Dist, disk: &Disk, count: usize) -> anyhow::Result<()> {
    let people = people()?;
    let _network = Network::set_up(&disk.folder).await?;
    let rig = Rig::set_up(disk, CARD_BYTES, &people).await?.with_stopped_clock();
    update_cuts::test(dist, &rig, &people[0], count).await
}

/// Three who have an account.
fn people() -> anyhow::Result<Vec<Person>> {
    ["anna", "ben", "carol"].map(|name| Ok(Person { name, password: password()? })).into_iter().collect()
}

/// It is the same box as before the power cut, and its time and its log go on.
fn assert_lasts(report: &Selftest, before: &Selftest) -> anyhow::Result<()> {
    report.assert_same_box(before)?;
    lasting::assert_time_goes_on(report, before)?;
    lasting::assert_log_goes_on(report, before)
}

/// The first evening: both log in, talk both ways, and the power goes right after an acknowledgement.
async fn talk(server: &ServerUrl, anna: &Person, ben: &Person) -> anyhow::Result<([Token; 2], Vec<Message>)> {
    let mut anna = Device::log_in(server, anna).await?;
    let mut ben = Device::log_in(server, ben).await?;
    let mut sent = Vec::new();
    let acknowledged = anna.send("ben", "Are the horses ready?").await?;
    sent.push(ben.receive().await?);
    ensure!(
        sent[0].seq == acknowledged.seq && sent[0].text() == Some("Are the horses ready?"),
        "ben received something else than anna sent"
    );
    let answered = ben.send("anna", "They are.").await?;
    // Anna hears her own message and then the answer, as all her devices do.
    sent.push(anna.receive_from(answered.seq).await?);
    let last = anna.send("ben", "Then I leave at dawn.").await?;
    sent.push(ben.receive_from(last.seq).await?);
    Ok(([anna.token, ben.token], sent))
}

/// The morning after: the old log-ins hold, and each keeps the same messages in the same order; new ones continue behind.
async fn remember(server: &ServerUrl, tokens: &[Token; 2], sent: &[Message]) -> anyhow::Result<()> {
    let anna =
        Device::come_back(server, tokens[0].clone()).await.context("anna's log-in did not survive the power cut")?;
    let ben =
        Device::come_back(server, tokens[1].clone()).await.context("ben's log-in did not survive the power cut")?;
    ensure!(
        anna.history("ben").await? == sent,
        "anna's messages are not those that were acknowledged before the power cut"
    );
    ensure!(
        ben.history("anna").await? == sent,
        "ben's messages are not those that were acknowledged before the power cut"
    );
    let next = ben.send("anna", "Good road!").await?;
    ensure!(
        next.seq == Seq(sent.len() as u64 + 1),
        "the message after the power cut has seq {}, which leaves a hole",
        next.seq
    );
    Ok(())
}

fn password() -> anyhow::Result<String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
