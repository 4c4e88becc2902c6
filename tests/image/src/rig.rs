//! The box on QEMU's machine `virt`: a card, the people who use it, and one boot after the other. A boot ends with a power cut.
//!
//! It never writes to the image: each card is an overlay.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use posthouse_client::ServerUrl;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::card::make_overlay;
use crate::chat::Person;
use crate::dist::Disk;
use crate::machine::Machine;
use crate::selftest::Selftest;
use crate::{file_systems, http, https, lasting, network, tuning};

/// From power to `/healthz`; some 30 s on two idle cores, several times that on busy ones.
pub const BOOT_LIMIT: Duration = Duration::from_secs(420);

/// From `/healthz` to the end of the boot, which the report waits for.
pub const REPORT_LIMIT: Duration = Duration::from_secs(240);

/// The server's port on the box.
pub const SERVED: u16 = 80;

/// Where it serves those who speak TLS.
const SECURE: u16 = 443;

/// A port that nobody has a reason to open: ssh's.
const SHUT: u16 = 22;

/// A refusal comes within milliseconds, also from an emulated box.
const SILENCE: Duration = Duration::from_secs(5);

/// Where the box's ports are reached.
pub struct Doors {
    /// The server's.
    pub open: SocketAddr,
    /// The same for who speaks TLS.
    pub secure: SocketAddr,
    /// [`SHUT`].
    shut: SocketAddr,
}

impl Doors {
    /// Ports of this machine that QEMU forwards.
    fn forwarded() -> anyhow::Result<Self> {
        Ok(Self { open: free_port()?, secure: free_port()?, shut: free_port()? })
    }
}

/// What the box's selftest is asked to do.
#[derive(Clone, Copy)]
pub enum Asked {
    Report,
    /// After the report, to say how threads are scheduled.
    Threads,
    /// After the report, to kill the server again and again. This box stands in the network with a neighbour.
    Kills,
    /// After the report, once two connections are there, to reboot; QEMU ends instead.
    Reboot,
    /// The same in the usual order, with a neighbour who hears it.
    Farewell,
    /// After the report, to say what the updater says. This box has a USB port and a neighbour.
    Updates,
}

impl Asked {
    /// As in overlays/common/usr/lib/posthouse/selftest-server.
    fn word(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Threads => "threads",
            Self::Kills => "kills",
            Self::Reboot => "reboot",
            Self::Farewell => "farewell",
            Self::Updates => "updates",
        }
    }

    fn doors(self) -> anyhow::Result<Doors> {
        match self {
            Self::Report | Self::Threads | Self::Reboot => Doors::forwarded(),
            Self::Kills | Self::Farewell | Self::Updates => {
                let [open, secure, shut] = [SERVED, SECURE, SHUT].map(network::door);
                Ok(Doors { open, secure, shut })
            }
        }
    }
}

/// What one boot showed.
pub struct Boot {
    pub report: Selftest,
    /// The certificate of the box's authority.
    pub root: String,
    /// From the start of QEMU to the first answer of `/healthz`.
    pub power_to_healthz: Duration,
}

/// A boot, and what people did while the box was on.
pub struct Evening<T> {
    pub boot: Boot,
    pub outcome: T,
}

/// What the machine's clock says when it is switched on.
#[derive(Clone, Copy)]
enum Clock {
    Right,
    /// A Pi has none.
    Stopped,
}

impl Clock {
    /// As QEMU's `-rtc` wants it. The year is before that of every systemd that an image could have.
    fn base(self) -> &'static str {
        match self {
            Self::Right => "utc",
            Self::Stopped => "2020-01-01",
        }
    }
}

/// What boots: a card, and the accounts of who uses it.
#[derive(Clone)]
pub struct Rig<'a> {
    pub disk: &'a Disk,
    pub card: PathBuf,
    /// Of a box that is given accounts.
    accounts: Option<PathBuf>,
    clock: Clock,
    /// Where QEMU logs what the card is told to write.
    log: Option<PathBuf>,
}

impl<'a> Rig<'a> {
    /// A fresh card of this size with the image on it, and the accounts as a file that QEMU hands in.
    pub async fn set_up(disk: &'a Disk, card_bytes: u64, people: &[Person]) -> anyhow::Result<Self> {
        let card = disk.folder.join("virt.qcow2");
        let accounts = disk.folder.join("accounts");
        let lines: Vec<String> = people.iter().map(|person| format!("{}:{}", person.name, person.password)).collect();
        std::fs::write(&accounts, lines.join("\n"))?;
        make_overlay(&disk.image, &card, card_bytes).await?;
        Ok(Self { disk, card, accounts: Some(accounts), clock: Clock::Right, log: None })
    }

    /// The same people with another card.
    pub fn with_card(&self, card: PathBuf) -> Self {
        Self { card, log: None, ..self.clone() }
    }

    /// The same of a box that begins with nobody.
    pub fn without_accounts(self) -> Self {
        Self { accounts: None, ..self }
    }

    /// The same card in a machine whose clock is years behind at each start.
    pub fn with_stopped_clock(self) -> Self {
        Self { clock: Clock::Stopped, ..self }
    }

    /// The same, and QEMU logs there what the card is told to write.
    pub fn with_log(self, log: PathBuf) -> Self {
        Self { log: Some(log), ..self }
    }

    /// Boots, waits until the box serves and has told how the boot went, lets `people` do theirs, cuts the power, and looks at
    /// what the cut left on the card.
    pub async fn power_on<T>(
        &self,
        name: &str,
        asked: Asked,
        people: impl AsyncFnOnce(&mut Machine, &ServerUrl) -> anyhow::Result<T>,
    ) -> anyhow::Result<Evening<T>> {
        let evening = async |machine: &mut Machine, doors: &Doors| self.evening(machine, doors, people).await;
        let evening = self.boot(name, asked, evening).await?;
        file_systems::assert_clean(&self.card).await.with_context(|| name.to_owned())?;
        Ok(evening)
    }

    /// Switches on, lets `watch` do its part, and cuts the power.
    pub async fn boot<T>(
        &self,
        name: &str,
        asked: Asked,
        watch: impl AsyncFnOnce(&mut Machine, &Doors) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let doors = asked.doors()?;
        let log = self.disk.folder.join(format!("{name}.log"));
        let mut machine = Machine::start(&self.arguments(&doors, asked)?, &log)?;
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
        people: impl AsyncFnOnce(&mut Machine, &ServerUrl) -> anyhow::Result<T>,
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
        tuning::assert_never_given_up(&report)?;
        assert_silent(doors.shut).await?;
        let name = format!("{}.local", report.text("host_name")?.to_lowercase());
        let root = https::assert_trusted(doors.secure, &name, &self.disk.folder).await?;
        let server = format!("http://{}", doors.open).parse()?;
        let outcome = people(machine, &server).await?;
        Ok(Evening { boot: Boot { report, root, power_to_healthz }, outcome })
    }

    fn arguments(&self, doors: &Doors, asked: Asked) -> anyhow::Result<Vec<String>> {
        let netdev = match asked {
            Asked::Report | Asked::Threads | Asked::Reboot => format!(
                "user,id=net,restrict=on,hostfwd=tcp:{}-:{SERVED},hostfwd=tcp:{}-:{SECURE},hostfwd=tcp:{}-:{SHUT}",
                doors.open, doors.secure, doors.shut
            ),
            Asked::Kills | Asked::Farewell | Asked::Updates => network::arguments(),
        };
        let credential = |name: &str| format!("name=opt/io.systemd.credentials/{name}");
        let arguments = [
            ("-machine", "virt".to_owned()),
            ("-cpu", "cortex-a72".to_owned()),
            ("-smp", "2".to_owned()),
            ("-m", "2048".to_owned()),
            ("-rtc", format!("base={}", self.clock.base())),
            ("-kernel", self.disk.boot_file("vmlinuz")?),
            ("-initrd", self.disk.boot_file("initrd.img")?),
            ("-append", format!("{} console=ttyAMA0", self.disk.cmdline)),
            self.card_argument(),
            ("-device", "virtio-blk-pci,drive=card".to_owned()),
            ("-netdev", netdev),
            ("-device", "virtio-net-pci,romfile=,netdev=net".to_owned()),
            ("-fw_cfg", format!("{},string={}", credential("posthouse.selftest"), asked.word())),
        ];
        let monitor = format!("unix:{},server=on,wait=off", monitor().display());
        let port = [("-device", "qemu-xhci".to_owned()), ("-qmp", monitor)];
        let port = port.into_iter().filter(|_| matches!(asked, Asked::Updates));
        let accounts = self
            .accounts
            .iter()
            .map(|file| ("-fw_cfg", format!("{},file={}", credential("posthouse.accounts"), file.display())));
        Ok(arguments
            .into_iter()
            .chain(port)
            .chain(accounts)
            .flat_map(|(option, value)| [option.to_owned(), value])
            .collect())
    }

    fn card_argument(&self) -> (&'static str, String) {
        let card = self.card.display();
        let Some(log) = &self.log else { return ("-drive", format!("if=none,id=card,format=qcow2,file={card}")) };
        let log = format!("log.driver=file,log.filename={},log.cache.no-flush=on", log.display());
        let file = format!("file.driver=qcow2,file.file.driver=file,file.file.filename={card}");
        ("-blockdev", format!("driver=blklogwrites,node-name=card,log-sector-size=512,{log},{file}"))
    }
}

/// Where QEMU's monitor is reached, for a machine that has one. The path of a socket has at most 107 bytes, whatever the path of the
/// clone.
pub fn monitor() -> PathBuf {
    std::env::temp_dir().join(format!("posthouse-qemu-{}", std::process::id()))
}

/// A port that nobody listens on says nothing: the firewall drops what comes there. Without it the box would refuse, and so
/// would QEMU's forwarder, which connects first and asks then.
async fn assert_silent(door: SocketAddr) -> anyhow::Result<()> {
    let knock = async { TcpStream::connect(door).await?.read(&mut [0; 1]).await };
    let heard = tokio::time::timeout(SILENCE, knock).await;
    ensure!(heard.is_err(), "the box answers on port {SHUT} ({heard:?}): the firewall is not in force");
    Ok(())
}

/// A port of this machine that nobody uses.
pub fn free_port() -> anyhow::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("looking for a free port")
}
