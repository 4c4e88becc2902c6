//! Updates in the booted box, under the real systemd: bundles come on USB sticks that are plugged in one after the other. A good build is
//! confirmed; bad ones are given up for it, in time, and whoever knocks at the door meanwhile is never refused.
//!
//! A build is a script that becomes the box's own server, or something worse: its hash is its own, and none has to be compiled.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use posthouse_client::ServerUrl;
use posthouse_protocol::Token;
use posthouse_protocol::update::{UpdateOutcome, UpdateState};
use posthouse_updater::{Bundle, Release, Root, SecretKey, SignedDocument, Version, pack};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;

use crate::card::Card;
use crate::chat::{Device, Person};
use crate::dist::{Dist, run};
use crate::machine::Machine;
use crate::network;
use crate::rig::{self, Asked, Rig, SERVED};
use crate::virt::Length;
use crate::visitors::Visitors;

/// Within which the version before is back, from the moment that a bad one is tried.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// Until a stick is found, read, verified and tried, or a trial has ended well: an emulated box takes its time.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Large enough for a FAT file system of 16 bits.
const STICK_BYTES: u64 = 32 * 1024 * 1024;

/// The formats of databases that the box's server says it writes, and lets others read (`posthoused --selfcheck`).
const SCHEMA: u32 = 2;
const MIN_READER: u32 = 2;

/// Of a script: it says that it is ready, by a program that takes its place and starts it again.
macro_rules! is_ready {
    () => {
        "if [[ ! ${READY-} ]]; then
  READY=$(printf '%q ' \"$@\") exec systemd-notify --ready --exec ';' bash \"$0\"
fi
eval \"set -- $READY\"
"
    };
}

/// Of a script: the box's server serves beside it.
macro_rules! serves {
    () => {
        "(export LISTEN_PID=$BASHPID; unset NOTIFY_SOCKET WATCHDOG_USEC; exec /usr/lib/posthouse/posthoused \"$@\") &
"
    };
}

/// A build's name, what its script does once it is not asked what it is, and how it ends.
const BUILDS: [(&str, &str, UpdateOutcome); 4] = [
    ("crashes-at-once", "kill -SEGV $$", UpdateOutcome::RolledBack),
    ("ready-then-deaf", "exec systemd-notify --ready --exec ';' sleep infinity", UpdateOutcome::RolledBack),
    (
        "lets-nobody-in",
        "for ((at = 1; at < $#; at++)); do [[ ${!at} != --probe-secret ]] || set -- \"${@:1:at}\" /nowhere \"${@:at+2}\"; done
exec /usr/lib/posthouse/posthoused \"$@\"",
        UpdateOutcome::RolledBack,
    ),
    ("good", "exec /usr/lib/posthouse/posthoused \"$@\"", UpdateOutcome::Confirmed),
];

/// Those that the long test has before them. None computes without end: no core of an emulated box is its own for so long that this
/// would be seen; tests/updates has one.
const MORE_BUILDS: [(&str, &str, UpdateOutcome); 3] = [
    ("hangs-before-ready", "exec sleep infinity", UpdateOutcome::RolledBack),
    ("crashes-when-ready", concat!(is_ready!(), "sleep 5; kill -SEGV $$"), UpdateOutcome::RolledBack),
    (
        "leaks",
        concat!(is_ready!(), serves!(), "exec tail < <(while head --bytes=16M /dev/zero; do sleep 0.2; done)"),
        UpdateOutcome::RolledBack,
    ),
];

/// A program of any machine that is Linux: what is wrong with it is done to its head (elf(5)).
const PROGRAM: &str = "/usr/bin/true";

/// Where that says of which machine it is; this one is nobody's box, and that one is a box's.
const ELF_MACHINE: usize = 18;
const EM_S390: u8 = 22;
const EM_AARCH64: u8 = 183;

/// One boot.
pub async fn test(dist: &Dist, rig: &Rig<'_>, person: &Person, length: Length) -> anyhow::Result<()> {
    let card = Card::fresh(dist, rig, "updated").await?;
    let keys = Keys::of_builder()?;
    let folder = rig.disk.folder.clone();
    let monitor = rig::monitor();
    let trials = async |machine: &mut Machine, server: &ServerUrl| {
        let anna = Device::log_in(server, person).await?;
        let token = anna.token.clone();
        anna.send("ben", "Before the update.").await?;
        let visitors = Visitors::begin(network::door(SERVED));
        let mut seqs = 1..;
        if length == Length::Long {
            for (name, program, words) in cannot_run()? {
                let seq = seqs.next().context("there are numbers enough")?;
                assert_refused(machine, &monitor, &folder, (name, keys.signed(seq, &version(seq), &program)?), words)
                    .await
                    .context(name)?;
            }
        }
        let more = if length == Length::Long { &MORE_BUILDS[..] } else { &[] };
        for (seq, build) in seqs.zip(more.iter().chain(&BUILDS)) {
            try_out(machine, &monitor, &folder, &keys, seq, *build).await.with_context(|| build.0)?;
            assert_kept(server, token.clone()).await.with_context(|| build.0)?;
        }
        let (visits, answered) = visitors.end().await?;
        println!("test-image: updates: {visits} visits meanwhile, {answered} answered, nobody refused");
        Ok(())
    };
    card.power_on(rig, "updated-boot", Asked::Updates, trials).await?;
    card.throw_away()
}

/// Plugs a stick in, waits for the end of its trial, and pulls it.
async fn try_out(
    machine: &mut Machine,
    monitor: &Path,
    folder: &Path,
    keys: &Keys,
    seq: u64,
    (name, script, outcome): (&str, &str, UpdateOutcome),
) -> anyhow::Result<()> {
    let version = version(seq);
    let stick = make_stick(folder, name, &keys.bundle(seq, &version, script)?).await?;
    let mut monitor = Monitor::open(monitor).await?;
    monitor.plug(&stick).await?;
    let is_tried = |state: &UpdateState| state.trial.as_ref().is_some_and(|trial| trial.slot.version == version);
    let is_ended =
        |state: &UpdateState| state.last.as_ref().is_some_and(|last| last.version.as_deref() == Some(&version));
    let tried = async |console: &str| state(console).filter(|state| is_tried(state) || is_ended(state));
    machine.wait_for("its trial", PATIENCE, tried).await?;
    let began = Instant::now();
    let limit = if outcome == UpdateOutcome::Confirmed { PATIENCE } else { BACK_WITHIN };
    let ended = async |console: &str| state(console).filter(|state| is_ended(state) && state.trial.is_none());
    let ended = machine.wait_for("the end of its trial", limit, ended).await?;
    let last = ended.last.context("no verdict")?;
    ensure!(last.outcome == outcome, "it ended so: {last:?}");
    let is_current = ended.current.version == version;
    ensure!(is_current == (outcome == UpdateOutcome::Confirmed), "the box runs {}", ended.current.version);
    let (took, reason) = (began.elapsed().as_secs_f64(), last.reason.unwrap_or_default());
    println!("test-image: update {name}: {outcome:?} after {took:.1} s {reason}");
    monitor.pull().await?;
    std::fs::remove_file(stick).context("removing the stick")
}

fn version(seq: u64) -> String {
    format!("0.9.{seq}")
}

/// Programs that no box can run, each with what is said of it.
fn cannot_run() -> anyhow::Result<[(&'static str, Vec<u8>, &'static str); 2]> {
    let mut program = std::fs::read(PROGRAM).with_context(|| format!("reading {PROGRAM}"))?;
    let head = program.get_mut(ELF_MACHINE..ELF_MACHINE + 2).with_context(|| format!("{PROGRAM} is no program"))?;
    head.copy_from_slice(&[EM_S390, 0]);
    let for_another_machine = program.clone();
    program[ELF_MACHINE] = EM_AARCH64;
    program.truncate(program.len() / 2);
    Ok([
        ("wrong-architecture", for_another_machine, "it is made for another kind of machine"),
        ("truncated", program, "it is cut off"),
    ])
}

/// Plugs a stick in whose bundle is refused before it is tried, and pulls it.
async fn assert_refused(
    machine: &mut Machine,
    monitor: &Path,
    folder: &Path,
    (name, bundle): (&str, Vec<u8>),
    words: &str,
) -> anyhow::Result<()> {
    let stick = make_stick(folder, name, &bundle).await?;
    let mut monitor = Monitor::open(monitor).await?;
    monitor.plug(&stick).await?;
    let refused = async |console: &str| {
        let state = state(console)?;
        let reason = state.refused.as_ref()?.reason.clone();
        reason.contains(words).then_some((state, reason))
    };
    let (state, reason) = machine.wait_for("its refusal", PATIENCE, refused).await?;
    ensure!(state.trial.is_none() && state.last.is_none(), "it was tried: {state:?}");
    println!("test-image: update {name}: refused, {reason}");
    monitor.pull().await?;
    std::fs::remove_file(stick).context("removing the stick")
}

/// What was acknowledged before is there, and the log-in holds.
async fn assert_kept(server: &ServerUrl, token: Token) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        // A server that is started again keeps its visitors waiting; one that goes down sends them away.
        match Device::come_back(server, token.clone()).await {
            Ok(anna) => {
                let said = anna.history("ben").await?;
                ensure!(said.len() == 1 && said[0].text() == Some("Before the update."), "what was said is {said:?}");
                return Ok(());
            }
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

/// What the updater has said last, by the box's selftest.
pub fn state(console: &str) -> Option<UpdateState> {
    let said = console.lines().rev().find_map(|line| line.trim_end().strip_prefix("posthouse-selftest: update="))?;
    serde_json::from_str(said).ok()
}

/// A FAT stick with one file, as a PC writes it.
pub async fn make_stick(folder: &Path, name: &str, bundle: &[u8]) -> anyhow::Result<PathBuf> {
    let (stick, file) = (folder.join(format!("{name}.stick")), folder.join(format!("{name}.phb")));
    std::fs::File::create(&stick)?.set_len(STICK_BYTES)?;
    std::fs::write(&file, bundle)?;
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    run(Command::new("mkfs.vfat").env("PATH", path).arg(&stick).stdout(std::process::Stdio::null())).await?;
    run(Command::new("mcopy").arg("-i").arg(&stick).arg(&file).arg("::")).await?;
    std::fs::remove_file(file)?;
    Ok(stick)
}

/// The keys that the image was built for: the builder's own.
pub struct Keys {
    root: SignedDocument,
    secrets: Vec<SecretKey>,
}

impl Keys {
    pub fn of_builder() -> anyhow::Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let folder = folder.context("neither XDG_CONFIG_HOME nor HOME is set")?.join("posthouse/release");
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path)
                .with_context(|| format!("reading {}, of who built the image", path.display()))
        };
        let root: SignedDocument = serde_json::from_str(&read("root.json")?).context("the builder's root")?;
        let passphrase = read("passphrase")?;
        let threshold = Root::of_image(&root)?.threshold;
        let names = ["first.key", "second.key", "third.key"];
        let keys = names.iter().take(threshold).map(|name| Ok(SecretKey::from_pem(&read(name)?, passphrase.trim())?));
        let secrets = keys.collect::<anyhow::Result<_>>()?;
        Ok(Self { root, secrets })
    }

    /// A signed bundle of a script, which says of itself what is signed.
    pub fn bundle(&self, seq: u64, version: &str, script: &str) -> anyhow::Result<Vec<u8>> {
        let says = json!({"version": version, "arch": "aarch64", "schema": SCHEMA, "min_reader": MIN_READER});
        let script =
            format!("#!/bin/bash\nif [[ ${{1-}} == --selfcheck ]]; then\n  echo '{says}'\n  exit\nfi\n{script}\n");
        self.signed(seq, version, script.as_bytes())
    }

    /// A signed bundle of any program.
    fn signed(&self, seq: u64, version: &str, program: &[u8]) -> anyhow::Result<Vec<u8>> {
        let packed = pack(program)?;
        let today = u32::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_secs() / 86_400)?;
        let version = Version::try_from(version.to_owned()).map_err(anyhow::Error::msg)?;
        let release = Release {
            arch: "aarch64".to_owned(),
            schema: SCHEMA,
            min_reader: MIN_READER,
            ..Release::of(version, seq, today, program, &packed)
        };
        Ok(Bundle::file(vec![self.root.clone()], &release, &packed, &self.secrets)?)
    }
}

/// QEMU's monitor (QMP), by which hardware comes and goes.
pub struct Monitor(BufReader<UnixStream>);

impl Monitor {
    pub async fn open(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).await.context("opening QEMU's monitor")?;
        let mut monitor = Self(BufReader::new(stream));
        monitor.ask("qmp_capabilities", json!({})).await?;
        Ok(monitor)
    }

    pub async fn plug(&mut self, stick: &Path) -> anyhow::Result<()> {
        let file = json!({"driver": "file", "filename": stick, "read-only": true});
        let node = json!({"node-name": "stick", "driver": "raw", "read-only": true, "file": file});
        self.ask("blockdev-add", node).await?;
        self.ask("device_add", json!({"driver": "usb-storage", "id": "stick", "drive": "stick", "removable": true}))
            .await
    }

    async fn pull(&mut self) -> anyhow::Result<()> {
        self.ask("device_del", json!({"id": "stick"})).await?;
        self.until(|said| said["event"] == "DEVICE_DELETED" && said["data"]["device"] == "stick").await?;
        self.ask("blockdev-del", json!({"node-name": "stick"})).await
    }

    /// Ends the machine as its power switch does, with what QEMU has under way done.
    pub async fn quit(&mut self) -> anyhow::Result<()> {
        self.ask("quit", json!({})).await
    }

    async fn ask(&mut self, command: &str, arguments: Value) -> anyhow::Result<()> {
        let line = json!({"execute": command, "arguments": arguments}).to_string();
        self.0.write_all(format!("{line}\n").as_bytes()).await?;
        let said = self.until(|said| said.get("return").is_some() || said.get("error").is_some()).await?;
        ensure!(said.get("error").is_none(), "QEMU: {command}: {said}");
        Ok(())
    }

    async fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let read = async {
            loop {
                let mut line = String::new();
                ensure!(self.0.read_line(&mut line).await? > 0, "QEMU has closed its monitor");
                let said: Value = serde_json::from_str(&line).context("QEMU's monitor")?;
                if is_it(&said) {
                    return Ok(said);
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.context("QEMU's monitor says nothing")?
    }
}
