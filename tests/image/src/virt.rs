//! The whole test, on QEMU's machine `virt`: the box boots from the unchanged image, its server is killed, its ports are scanned,
//! two people talk through it, its power is cut right after an acknowledgement and again and again while somebody writes, and
//! after the last boot everything that was acknowledged is there.
//!
//! What the guest has not flushed when QEMU is killed can survive in this machine's memory: this shows that the box comes
//! up again with all it acknowledged, not that it flushed before it did.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use posthouse_client::ServerUrl;
use posthouse_protocol::{Message, Seq, Token};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::chat::{Device, Person};
use crate::dist::{Disk, Dist, run};
use crate::machine::Machine;
use crate::network::Network;
use crate::selftest::Selftest;
use crate::{file_systems, load, network, report, scan, storm, tuning, visitors};

/// From power to `/healthz`; some 45 s on two idle cores, several times that on busy ones.
const BOOT_LIMIT: Duration = Duration::from_secs(420);

/// From `/healthz` to the end of the boot, which the report waits for.
const REPORT_LIMIT: Duration = Duration::from_secs(240);

/// A first boot makes p4 as long as the rest of this card.
const CARD_SIZE: &str = "8G";

/// The server's port on the box.
const SERVED: u16 = 80;

/// A port that nobody has a reason to open: ssh's.
const SHUT: u16 = 22;

/// A refusal comes within milliseconds, also from an emulated box.
const SILENCE: Duration = Duration::from_secs(5);

/// Where the box's ports are reached.
struct Doors {
    /// The server's.
    open: SocketAddr,
    /// [`SHUT`].
    shut: SocketAddr,
}

impl Doors {
    /// Ports of this machine that QEMU forwards.
    fn forwarded() -> anyhow::Result<Self> {
        Ok(Self { open: free_port()?, shut: free_port()? })
    }
}

/// What the box's selftest is asked to do.
#[derive(Clone, Copy)]
enum Asked {
    Report,
    /// After the report, to say how threads are scheduled.
    Threads,
    /// After the report, to kill the server again and again. This box stands in the network with a neighbour.
    Kills,
}

impl Asked {
    /// As in overlays/common/usr/lib/posthouse/selftest-server.
    fn word(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Threads => "threads",
            Self::Kills => "kills",
        }
    }
}

/// What one boot showed.
pub struct Boot {
    pub report: Selftest,
    /// From the start of QEMU to the first answer of `/healthz`.
    pub power_to_healthz: Duration,
}

struct Bench<'a> {
    disk: &'a Disk,
    overlay: PathBuf,
    accounts: PathBuf,
}

/// The first evening ends with a cut after an acknowledgement, each of `cuts` more in the middle of writing.
pub async fn test(dist: &Dist, disk: &Disk, cuts: u32) -> anyhow::Result<()> {
    let people = ["anna", "ben", "carol"].map(|name| Ok(Person { name, password: password()? }));
    let people = people.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    // Its DHCP server answers until the end.
    let _network = Network::set_up(&disk.folder).await?;
    let bench = Bench::set_up(disk, &people).await?;
    let first_evening = async |machine: &mut Machine, server: &ServerUrl| {
        visitors::assert_never_refused(machine, network::door(SERVED)).await?;
        let report = Selftest::read(&machine.console()).context("the report is gone")?;
        scan::assert_closed(network::addresses(&report)?).await?;
        talk(server, &people[0], &people[1]).await
    };
    let first = bench.power_on("first-boot", Asked::Kills, first_evening).await?;
    let (tokens, sent) = first.outcome;
    let mut acknowledged = Vec::new();
    for cut in 1..=cuts {
        let name = format!("cut-{cut}");
        let storm = async |_: &mut Machine, server: &ServerUrl| {
            storm::verify(server, tokens[0].clone(), "carol", &acknowledged).await?;
            storm::begin(server, tokens[0].clone(), "carol", &name).await
        };
        let evening = bench.power_on(&name, Asked::Report, storm).await?;
        evening.boot.report.assert_same_box(&first.boot.report)?;
        acknowledged.extend(evening.outcome.acknowledged().await?);
    }
    let last_evening = async |machine: &mut Machine, server: &ServerUrl| {
        storm::verify(server, tokens[0].clone(), "carol", &acknowledged).await?;
        remember(server, &tokens, &sent).await?;
        // Between two who are asked nothing later.
        load::assert_threads(machine, server, &tokens[1], &people[2]).await
    };
    let last = bench.power_on("last-boot", Asked::Threads, last_evening).await?;
    last.boot.report.assert_same_box(&first.boot.report)?;
    report::print(dist, &first.boot, &last.boot)?;
    report::record(dist).await
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
        let overlay = disk.folder.join("virt.qcow2");
        let accounts = disk.folder.join("accounts");
        let lines: Vec<String> = people.iter().map(|person| format!("{}:{}", person.name, person.password)).collect();
        std::fs::write(&accounts, lines.join("\n"))?;
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"]).arg(&disk.image).arg(&overlay).arg(CARD_SIZE);
        run(&mut create).await?;
        Ok(Self { disk, overlay, accounts })
    }

    /// Boots, waits until the box serves and has told how the boot went, lets `people` do theirs, cuts the power, and looks at
    /// what the cut left on the card.
    async fn power_on<T>(
        &self,
        name: &str,
        asked: Asked,
        people: impl AsyncFnOnce(&mut Machine, &ServerUrl) -> anyhow::Result<T>,
    ) -> anyhow::Result<Evening<T>> {
        let doors = match asked {
            Asked::Report | Asked::Threads => Doors::forwarded()?,
            Asked::Kills => Doors { open: network::door(SERVED), shut: network::door(SHUT) },
        };
        let log = self.disk.folder.join(format!("{name}.log"));
        let mut machine = Machine::start(&self.arguments(&doors, asked)?, &log)?;
        println!("test-image: {name}: console in {}", log.display());
        let evening = self.evening(&mut machine, &doors, people).await;
        let evening = evening.with_context(|| name.to_owned()).inspect_err(|_| crate::console::show_end(&log));
        machine.cut_power().await?;
        let evening = evening?;
        file_systems::assert_clean(&self.overlay).await.with_context(|| name.to_owned())?;
        Ok(evening)
    }

    async fn evening<T>(
        &self,
        machine: &mut Machine,
        doors: &Doors,
        people: impl AsyncFnOnce(&mut Machine, &ServerUrl) -> anyhow::Result<T>,
    ) -> anyhow::Result<Evening<T>> {
        machine.wait_for("/healthz", BOOT_LIMIT, async |_| health(doors.open).await).await?;
        let power_to_healthz = machine.running_for();
        let report = machine
            .wait_for("the box's report on its boot", REPORT_LIMIT, async |console| Selftest::read(console))
            .await?;
        report.assert_healthy()?;
        report.assert_data_partition("vda")?;
        report.assert_root_is_read_only()?;
        tuning::assert_sysctls(&report)?;
        tuning::assert_threads(&report)?;
        tuning::assert_ports(&report)?;
        assert_silent(doors.shut).await?;
        let server = format!("http://{}", doors.open).parse()?;
        let outcome = people(machine, &server).await?;
        Ok(Evening { boot: Boot { report, power_to_healthz }, outcome })
    }

    fn arguments(&self, doors: &Doors, asked: Asked) -> anyhow::Result<Vec<String>> {
        let netdev = match asked {
            Asked::Report | Asked::Threads => format!(
                "user,id=net,restrict=on,hostfwd=tcp:{}-:{SERVED},hostfwd=tcp:{}-:{SHUT}",
                doors.open, doors.shut
            ),
            Asked::Kills => network::arguments(),
        };
        let credential = |name: &str| format!("name=opt/io.systemd.credentials/{name}");
        let arguments = [
            ("-machine", "virt".to_owned()),
            ("-cpu", "cortex-a72".to_owned()),
            ("-smp", "2".to_owned()),
            ("-m", "2048".to_owned()),
            ("-kernel", self.disk.boot_file("vmlinuz")?),
            ("-initrd", self.disk.boot_file("initrd.img")?),
            ("-append", format!("{} console=ttyAMA0", self.disk.cmdline)),
            ("-drive", format!("if=none,id=card,format=qcow2,file={}", self.overlay.display())),
            ("-device", "virtio-blk-pci,drive=card".to_owned()),
            ("-netdev", netdev),
            ("-device", "virtio-net-pci,romfile=,netdev=net".to_owned()),
            ("-fw_cfg", format!("{},file={}", credential("posthouse.accounts"), self.accounts.display())),
            ("-fw_cfg", format!("{},string={}", credential("posthouse.selftest"), asked.word())),
        ];
        Ok(arguments.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect())
    }
}

/// A port that nobody listens on says nothing: the firewall drops what comes there. Without it the box would refuse, and so
/// would QEMU's forwarder, which connects first and asks then.
async fn assert_silent(door: SocketAddr) -> anyhow::Result<()> {
    let knock = async { TcpStream::connect(door).await?.read(&mut [0; 1]).await };
    let heard = tokio::time::timeout(SILENCE, knock).await;
    ensure!(heard.is_err(), "the box answers on port {SHUT} ({heard:?}): the firewall is not in force");
    Ok(())
}

/// Something when the box says that messages can become durable.
async fn health(door: SocketAddr) -> Option<()> {
    let ask = async {
        let mut stream = TcpStream::connect(door).await.ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: posthouse.local\r\nConnection: close\r\n\r\n").await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        answer.starts_with(b"HTTP/1.1 200 ").then_some(())
    };
    // QEMU takes the connection before anybody in the guest does.
    tokio::time::timeout(Duration::from_secs(10), ask).await.ok()?
}

fn free_port() -> anyhow::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("looking for a free port")
}

fn password() -> anyhow::Result<String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
