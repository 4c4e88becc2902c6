//! `make bench-boot`: how long the box takes from power to serving, beside an untrimmed Debian with the same kernel in the same
//! QEMU. The two take turns, so that what else this machine is at meets both. It judges nothing; it measures.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use posthouse_bench::Figure;

use crate::card::make_overlay;
use crate::dist::Disk;
use crate::http;
use crate::machine::Machine;
use crate::rig::free_port;

/// From power to serving; an untrimmed Debian takes a minute on two idle cores, several times that on busy ones.
const BOOT_LIMIT: Duration = Duration::from_secs(600);

/// How long a first boot goes on before its power is cut, so that what it does once is done.
const FIRST_BOOT_REST: Duration = Duration::from_secs(30);

/// How long a question waits. QEMU takes a connection before the guest has a network, and asks the guest again after 6 s only: a new
/// question is heard at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// Both get a card of the same size.
const CARD_BYTES: u64 = 8 * 1024 * 1024 * 1024;

#[derive(Args)]
pub struct Comparison {
    /// Instead of testing the image, measure its boot beside the untrimmed Debian in this folder.
    #[arg(long)]
    untrimmed: Option<PathBuf>,
    /// How often each of the two boots.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Where the figures go.
    #[arg(long, default_value = "target/bench/boot.json")]
    figures: PathBuf,
}

impl Comparison {
    pub fn wanted(&self) -> Option<&Path> {
        self.untrimmed.as_deref()
    }
}

/// One of the two that are compared.
struct Contestant {
    name: &'static str,
    kernel: String,
    initrd: String,
    command_line: String,
    overlay: PathBuf,
    log: PathBuf,
    goal: Goal,
}

/// What counts as serving.
enum Goal {
    /// The server answers from outside that messages can become durable.
    Healthz,
    /// Somebody could log in on the console.
    LoginPrompt,
}

/// Boots both once for what a first boot does, then in turns, and writes down how long each took.
pub async fn compare(disk: &Disk, untrimmed: &Path, comparison: &Comparison) -> anyhow::Result<()> {
    let ours = ours(disk).await?;
    let other = other(disk, untrimmed).await?;
    ensure!(
        std::fs::read(&ours.kernel)? == std::fs::read(&other.kernel)?,
        "{} is not the image's kernel: the two would not be comparable",
        other.kernel
    );
    let mut figures = Vec::new();
    for (name, contestant) in [("boot_first_posthouse", &ours), ("boot_first_untrimmed", &other)] {
        figures.push(figure(name, &[contestant.boot(FIRST_BOOT_REST).await?]));
    }
    let (mut our_times, mut other_times) = (Vec::new(), Vec::new());
    for _ in 0..comparison.rounds {
        our_times.push(ours.boot(Duration::ZERO).await?);
        other_times.push(other.boot(Duration::ZERO).await?);
    }
    figures.push(figure("boot_posthouse", &our_times));
    figures.push(figure("boot_untrimmed", &other_times));
    for figure in &figures {
        println!("{figure}");
    }
    println!("  posthouse takes {:.2} of the untrimmed one's time", figures[2].value / figures[3].value);
    posthouse_bench::write(&comparison.figures, &figures)?;
    println!("bench-boot: figures in {}", comparison.figures.display());
    Ok(())
}

async fn ours(disk: &Disk) -> anyhow::Result<Contestant> {
    let overlay = disk.folder.join("bench-posthouse.qcow2");
    make_overlay(&disk.image, &overlay, CARD_BYTES).await?;
    Ok(Contestant {
        name: "posthouse",
        kernel: disk.boot_file("vmlinuz")?,
        initrd: disk.boot_file("initrd.img")?,
        command_line: disk.cmdline.clone(),
        overlay,
        log: disk.folder.join("bench-posthouse.log"),
        goal: Goal::Healthz,
    })
}

async fn other(disk: &Disk, untrimmed: &Path) -> anyhow::Result<Contestant> {
    let overlay = disk.folder.join("bench-untrimmed.qcow2");
    make_overlay(&untrimmed.join("disk.img"), &overlay, CARD_BYTES).await?;
    let file = |name: &str| untrimmed.join(name).display().to_string();
    Ok(Contestant {
        name: "untrimmed",
        kernel: file("vmlinuz"),
        initrd: file("initrd.img"),
        // As Debian's installer leaves it.
        command_line: "root=LABEL=untrimmed ro quiet".to_owned(),
        overlay,
        log: disk.folder.join("bench-untrimmed.log"),
        goal: Goal::LoginPrompt,
    })
}

impl Contestant {
    /// Power on, wait for the goal, a rest, power off. How long it took to the goal, counted from the start of QEMU, which starts
    /// the kernel at once.
    async fn boot(&self, rest: Duration) -> anyhow::Result<Duration> {
        let door = free_port()?;
        let mut machine = Machine::start(&self.arguments(door), &self.log)?;
        let reached = async |console: &str| match self.goal {
            Goal::Healthz => {
                let asked = tokio::time::timeout(PATIENCE, http::get(door, "/healthz")).await.ok().flatten();
                asked.filter(|answer| answer.status == 200).map(|_| ())
            }
            Goal::LoginPrompt => console.contains(" login: ").then_some(()),
        };
        machine
            .wait_for("the end of its boot", BOOT_LIMIT, reached)
            .await
            .with_context(|| self.name)
            .inspect_err(|_| crate::console::show_end(&self.log))?;
        let took = machine.running_for();
        println!("bench-boot: {}: {:.1} s", self.name, took.as_secs_f64());
        tokio::time::sleep(rest).await;
        machine.cut_power().await?;
        Ok(took)
    }

    /// The same machine for both, with a serial console.
    fn arguments(&self, door: SocketAddr) -> Vec<String> {
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
            &self.kernel,
            "-initrd",
            &self.initrd,
            "-append",
            &format!("{} console=ttyAMA0", self.command_line),
            "-drive",
            &format!("if=none,id=card,format=qcow2,file={}", self.overlay.display()),
            "-device",
            "virtio-blk-pci,drive=card",
            "-netdev",
            &format!("user,id=net,restrict=on,hostfwd=tcp:{door}-:80"),
            "-device",
            "virtio-net-pci,romfile=,netdev=net",
        ];
        arguments.map(str::to_owned).to_vec()
    }
}

/// Of some boots, in seconds.
fn figure(name: &str, times: &[Duration]) -> Figure {
    let seconds: Vec<f64> = times.iter().map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0).collect();
    Figure::new(name, "s", &seconds)
}
