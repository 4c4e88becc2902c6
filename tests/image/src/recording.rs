//! An update of the server in a booted box, recorded: its owner brings a good build, somebody sends messages all the while, QEMU logs what the card is told to write,
//! and how long the log was is noted whenever something is acknowledged, so that what must be there after a cut is known.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use posthouse_client::{Login, Piece, ServerUrl, Updates};
use posthouse_protocol::Token;
use posthouse_protocol::update::UpdateOutcome;
use posthouse_updater::Sha256;
use tokio::process::Command;

use crate::card::{CARD_BYTES, make_overlay};
use crate::chat::{Device, Person};
use crate::dist::run;
use crate::machine::Machine;
use crate::rig::{self, Asked, Rig};
use crate::storm::Persistent;
use crate::updates::{Keys, Monitor, PATIENCE, state};
use crate::writes_log::WritesLog;

/// The new build's.
pub const VERSION: &str = "0.9.9";
pub const SEQ: u64 = 1;

/// Who gets the messages.
pub const TO: &str = "ben";

/// What it does, once it is not asked what it is.
const BUILD: &str = "exec /usr/lib/posthouse/posthoused \"$@\"";

/// How much longer it is made, so that its files take more than one write, in bytes. It does not become shorter in its bundle.
const MORE_BYTES: usize = 3 * 1024 * 1024;

/// So many are acknowledged before the bundle comes, and so many again when the update is through.
const ACKNOWLEDGED_AROUND: usize = 20;

/// For the writes that are under way when QEMU is told to end.
const END_LIMIT: Duration = Duration::from_secs(60);

pub struct Recording {
    pub log: WritesLog,
    pub token: Token,
    /// The log's entries from the moment that the bundle comes until the update is through for a while.
    pub during: Range<usize>,
    /// From here on the new build has been told to be on trial, and to be confirmed.
    tried: usize,
    confirmed: usize,
    /// Texts, and from which entry on each was acknowledged.
    acknowledged: Vec<(usize, String)>,
    path: PathBuf,
    /// The card when it was over.
    card: PathBuf,
}

/// How far the update has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reached {
    Nothing,
    Trial,
    Confirmed,
}

/// Lengths of the log at moments, in bytes.
struct Marks {
    bundle_comes: u64,
    tried: u64,
    confirmed: u64,
    over: u64,
    acknowledged: Vec<(u64, String)>,
}

impl Recording {
    /// One boot.
    pub async fn make(rig: &Rig<'_>, person: &Person) -> anyhow::Result<Self> {
        let folder = &rig.disk.folder;
        let (card, path) = (folder.join("recorded.qcow2"), folder.join("recorded.writes"));
        make_overlay(&rig.disk.image, &card, CARD_BYTES).await?;
        std::fs::File::create(&path).context("making the log of writes")?;
        let bundle = bundle()?;
        let evening = async |machine: &mut Machine, server: &ServerUrl| {
            let anna = Device::log_in(server, person).await?;
            let owner = Login { server: server.clone(), username: person.name.parse()?, token: anna.token.clone() };
            let marks = update(machine, owner, bundle, &path).await?;
            Ok((anna.token, marks))
        };
        let rig = rig.with_card(card.clone()).with_log(path.clone());
        let (token, marks) = rig.power_on("recorded-boot", Asked::Updates, evening).await?.outcome;
        let log = WritesLog::open(&path)?;
        let [bundle_comes, tried, confirmed, over] =
            [marks.bundle_comes, marks.tried, marks.confirmed, marks.over].map(|len| log.count_within(len));
        let acknowledged = marks.acknowledged.into_iter().map(|(len, text)| (log.count_within(len), text)).collect();
        Ok(Self { log, token, during: bundle_comes..over, tried, confirmed, acknowledged, path, card })
    }

    /// How far the box has said that the update has come when the log had so many entries.
    pub fn reached(&self, entry: usize) -> Reached {
        if entry >= self.confirmed {
            Reached::Confirmed
        } else if entry >= self.tried {
            Reached::Trial
        } else {
            Reached::Nothing
        }
    }

    /// What had been acknowledged when the log had so many entries.
    pub fn acknowledged(&self, entry: usize) -> Vec<String> {
        let before = self.acknowledged.iter().filter(|(from, _)| *from <= entry);
        before.map(|(_, text)| text.clone()).collect()
    }

    /// The log tells the whole story: with all of it written, this card is as QEMU has left its own.
    pub async fn assert_told_on(&self, card: &Path) -> anyhow::Result<()> {
        let mut compare = Command::new("qemu-img");
        compare.args(["compare", "-q", "-f", "raw", "-F", "qcow2"]).arg(card).arg(&self.card);
        run(&mut compare).await.context("the card that was made from the log is not the one that was logged")
    }

    /// It is of no more use.
    pub fn throw_away(self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.path)
            .and_then(|()| std::fs::remove_file(&self.card))
            .context("removing the recording")
    }
}

/// Until the box is switched off.
async fn update(machine: &mut Machine, owner: Login, bundle: Vec<u8>, log: &Path) -> anyhow::Result<Marks> {
    let len = {
        let log = log.to_owned();
        move || std::fs::metadata(&log).map_or(0, |log| log.len())
    };
    let storm = Persistent::begin(&owner.server, owner.token.clone(), TO, len.clone());
    storm.acknowledge(ACKNOWLEDGED_AROUND).await?;
    let bundle_comes = len();
    install(owner, bundle).await?;
    let is_tried = async |console: &str| state(console).filter(|state| state.trial.is_some() || state.last.is_some());
    machine.wait_for("the trial", PATIENCE, is_tried).await?;
    let tried = len();
    let ended = async |console: &str| state(console)?.last.filter(|last| last.version.as_deref() == Some(VERSION));
    let last = machine.wait_for("the end of the trial", PATIENCE, ended).await?;
    let confirmed = len();
    ensure!(last.outcome == UpdateOutcome::Confirmed, "a good build ended so: {last:?}");
    storm.acknowledge(ACKNOWLEDGED_AROUND).await?;
    let over = len();
    let acknowledged = storm.end().await?;
    let during = acknowledged.iter().filter(|(len, _)| (bundle_comes..confirmed).contains(len)).count();
    ensure!(during > ACKNOWLEDGED_AROUND, "only {during} messages were acknowledged during the update");
    println!("test-image: recorded an update, {during} messages acknowledged meanwhile");
    Monitor::open(&rig::monitor()).await?.quit().await?;
    machine.wait_for_end(END_LIMIT).await?;
    Ok(Marks { bundle_comes, tried, confirmed, over, acknowledged })
}

/// Brings it to the box, and has it installed.
async fn install(owner: Login, bundle: Vec<u8>) -> anyhow::Result<()> {
    let (hash, updates) = (Sha256::of(&bundle).to_string(), Updates::new(owner));
    let piece = Piece { bundle: &hash, offset: 0, length: bundle.len() as u64, bytes: bundle.into() };
    let held = updates.send(&piece).await.context("bringing the bundle")?;
    ensure!(held.is_complete, "the box has {} of {} bytes", held.offset, piece.length);
    updates.apply(Some(hash.clone())).await.context("having the bundle installed")?;
    Ok(())
}

fn bundle() -> anyhow::Result<Vec<u8>> {
    let mut random = vec![0; MORE_BYTES / 2];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let more: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Keys::of_builder()?.bundle(SEQ, VERSION, &format!("{BUILD}\n# {more}"))
}
