//! The whole test, on QEMU's machine `virt`: the box boots from the unchanged image, two people talk through it, its power is
//! cut right after an acknowledgement, and after the next boot everything that was acknowledged is there.
//!
//! What the guest has not flushed when QEMU is killed can survive in this machine's memory: this shows that the box comes
//! up again with all it acknowledged, not that it flushed before it did.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use posthouse_client::ServerUrl;
use posthouse_protocol::{Message, Seq, Token};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::chat::{Device, Person};
use crate::damage;
use crate::dist::{Disk, Dist, run};
use crate::http;
use crate::lasting;
use crate::machine::Machine;
use crate::report;
use crate::selftest::Selftest;
use crate::storm;
use crate::tuning;

/// From power to `/healthz`; some 45 s on two idle cores, several times that on busy ones.
pub const BOOT_LIMIT: Duration = Duration::from_secs(420);

/// From `/healthz` to the end of the boot, which the report waits for.
pub const REPORT_LIMIT: Duration = Duration::from_secs(240);

/// A first boot makes p4 as long as the rest of this card.
const CARD_BYTES: u64 = 8 * 1024 * 1024 * 1024;

/// A port that nobody has a reason to open: ssh's.
const SHUT: u16 = 22;

/// A refusal comes within milliseconds, also from an emulated box.
const SILENCE: Duration = Duration::from_secs(5);

/// This machine's ports that lead to the box's.
pub struct Doors {
    /// To the server's.
    pub open: u16,
    /// To [`SHUT`].
    shut: u16,
}

/// How much is tested.
#[derive(Clone, Copy, PartialEq)]
pub enum Length {
    /// What a change has to pass.
    Short,
    /// Cards in a bad state and a very large one too; three boots more.
    Long,
}

/// What one boot showed.
pub struct Boot {
    pub report: Selftest,
    /// From the start of QEMU to the first answer of `/healthz`.
    pub power_to_healthz: Duration,
}

/// What boots: a card, and the accounts of who uses it.
pub struct Bench<'a> {
    pub disk: &'a Disk,
    pub card: PathBuf,
    accounts: PathBuf,
}

/// The first evening ends with a cut after an acknowledgement, each of `cuts` more in the middle of writing. The long test goes
/// on with other cards.
pub async fn test(dist: &Dist, disk: &Disk, cuts: u32, length: Length) -> anyhow::Result<()> {
    lasting::assert_image_is_nobody_s(dist, disk).await?;
    let people = ["anna", "ben", "carol"].map(|name| Ok(Person { name, password: password()? }));
    let people = people.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let bench = Bench::set_up(disk, &people).await?;
    let first = bench.power_on("first-boot", async |server| talk(server, &people[0], &people[1]).await).await?;
    let (tokens, sent) = first.outcome;
    lasting::assert_grown(dist, &first.boot.report, CARD_BYTES)?;
    let mut acknowledged = Vec::new();
    let mut before = first.boot.report.clone();
    for cut in 1..=cuts {
        let name = format!("cut-{cut}");
        let storm = async |server: &ServerUrl| {
            storm::verify(server, tokens[0].clone(), "carol", &acknowledged).await?;
            storm::begin(server, tokens[0].clone(), "carol", &name).await
        };
        let evening = bench.power_on(&name, storm).await?;
        assert_lasts(&evening.boot.report, &before)?;
        before = evening.boot.report;
        acknowledged.extend(evening.outcome.acknowledged().await?);
    }
    let remember = async |server: &ServerUrl| {
        storm::verify(server, tokens[0].clone(), "carol", &acknowledged).await?;
        remember(server, &tokens, &sent).await
    };
    let last = bench.power_on("last-boot", remember).await?;
    report::assert_lean(&first.boot.report)?;
    report::assert_lean(&last.boot.report)?;
    assert_lasts(&last.boot.report, &before)?;
    if length == Length::Long {
        damage::lose_superblock(dist, &bench.card).await?;
        let unharmed =
            async |server: &ServerUrl| storm::verify(server, tokens[0].clone(), "carol", &acknowledged).await;
        let repaired = bench.power_on("repaired-boot", unharmed).await?;
        assert_lasts(&repaired.boot.report, &last.boot.report)?;
        damage::assert_repaired(&disk.folder.join("repaired-boot.log"))?;
        damage::test_garbage(dist, &bench).await?;
        damage::test_large(dist, &bench).await?;
    }
    report::print(dist, &first.boot, &last.boot)?;
    report::record(dist).await
}

/// It is the same box as before the power cut, and its log goes on.
fn assert_lasts(report: &Selftest, before: &Selftest) -> anyhow::Result<()> {
    report.assert_same_box(before)?;
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

struct Evening<T> {
    boot: Boot,
    outcome: T,
}

impl<'a> Bench<'a> {
    /// A fresh card with the image on it, and the accounts as a file that QEMU hands in.
    async fn set_up(disk: &'a Disk, people: &[Person]) -> anyhow::Result<Self> {
        let card = disk.folder.join("virt.qcow2");
        let accounts = disk.folder.join("accounts");
        let lines: Vec<String> = people.iter().map(|person| format!("{}:{}", person.name, person.password)).collect();
        std::fs::write(&accounts, lines.join("\n"))?;
        make_overlay(&disk.image, &card, CARD_BYTES).await?;
        Ok(Self { disk, card, accounts })
    }

    /// The same people with another card.
    pub fn with_card(&self, card: PathBuf) -> Self {
        Self { disk: self.disk, card, accounts: self.accounts.clone() }
    }

    /// Boots, waits until the box serves and has told how the boot went, lets `people` do theirs, and cuts the power.
    async fn power_on<T>(
        &self,
        name: &str,
        people: impl AsyncFnOnce(&ServerUrl) -> anyhow::Result<T>,
    ) -> anyhow::Result<Evening<T>> {
        self.boot(name, async |machine, doors| self.evening(machine, doors, people).await).await
    }

    /// Switches on, lets `watch` do its part, and cuts the power.
    pub async fn boot<T>(
        &self,
        name: &str,
        watch: impl AsyncFnOnce(&mut Machine, &Doors) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let doors = Doors { open: free_port()?, shut: free_port()? };
        let log = self.disk.folder.join(format!("{name}.log"));
        let mut machine = Machine::start(&self.arguments(&doors)?, &log)?;
        println!("test-image: {name}: console in {}", log.display());
        let outcome = watch(&mut machine, &doors).await;
        let outcome = outcome.with_context(|| name.to_owned()).inspect_err(|_| crate::console::show_end(&log));
        machine.cut_power().await?;
        outcome
    }

    async fn evening<T>(
        &self,
        machine: &mut Machine,
        doors: &Doors,
        people: impl AsyncFnOnce(&ServerUrl) -> anyhow::Result<T>,
    ) -> anyhow::Result<Evening<T>> {
        machine
            .wait_for("/healthz", BOOT_LIMIT, async |_| {
                http::get(doors.open, "/healthz").await.filter(|answer| answer.status == 200)
            })
            .await?;
        let power_to_healthz = machine.running_for();
        let report = machine
            .wait_for("the box's report on its boot", REPORT_LIMIT, async |console| Selftest::read(console))
            .await?;
        report.assert_healthy()?;
        report.assert_data_partition("vda")?;
        report.assert_root_is_read_only()?;
        lasting::assert_kept(&report, "/dev/vda4")?;
        tuning::assert_sysctls(&report)?;
        tuning::assert_threads(&report)?;
        tuning::assert_ports(&report)?;
        assert_silent(doors.shut).await?;
        let server = format!("http://127.0.0.1:{}", doors.open).parse()?;
        let outcome = people(&server).await?;
        Ok(Evening { boot: Boot { report, power_to_healthz }, outcome })
    }

    fn arguments(&self, doors: &Doors) -> anyhow::Result<Vec<String>> {
        let credential = |name: &str| format!("name=opt/io.systemd.credentials/{name}");
        let arguments = [
            "-machine",
            "virt",
            "-cpu",
            "cortex-a72",
            "-smp",
            "2",
            "-m",
            "2048",
            "-kernel",
            &self.disk.boot_file("vmlinuz")?,
            "-initrd",
            &self.disk.boot_file("initrd.img")?,
            "-append",
            &format!("{} console=ttyAMA0", self.disk.cmdline),
            "-drive",
            &format!("if=none,id=card,format=qcow2,file={}", self.card.display()),
            "-device",
            "virtio-blk-pci,drive=card",
            "-netdev",
            &format!(
                "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{}-:80,hostfwd=tcp:127.0.0.1:{}-:{SHUT}",
                doors.open, doors.shut
            ),
            "-device",
            "virtio-net-pci,romfile=,netdev=net",
            "-fw_cfg",
            &format!("{},file={}", credential("posthouse.accounts"), self.accounts.display()),
            "-fw_cfg",
            &format!("{},string=1", credential("posthouse.selftest")),
        ];
        Ok(arguments.map(str::to_owned).to_vec())
    }
}

/// A port that nobody listens on says nothing: the firewall drops what comes there. Without it the box would refuse, and QEMU
/// would end the connection.
async fn assert_silent(port: u16) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("connecting to QEMU's forwarded port")?;
    let heard = tokio::time::timeout(SILENCE, stream.read(&mut [0; 1])).await;
    ensure!(heard.is_err(), "the box answers on port {SHUT} ({heard:?}): the firewall is not in force");
    Ok(())
}

/// A card that begins as an image's copy; what a boot writes to it goes into a file of its own.
pub async fn make_overlay(image: &Path, card: &Path, bytes: u64) -> anyhow::Result<()> {
    let mut create = Command::new("qemu-img");
    create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(image).arg(card).arg(bytes.to_string());
    run(&mut create).await
}

pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("looking for a free port")?.local_addr()?.port())
}

fn password() -> anyhow::Result<String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
