//! The records, under one lock: read together, changed by one durable step, told to the world.
//!
//! Opening never fails: whatever is wrong is told, and the server that came with the image is then what runs. Steps that an
//! earlier program did not come to are made up for as soon as the records are open.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use posthouse_protocol::update::HistoryEntry;
use posthouse_updater::{ImageRelease, Installed, Ratchet, Record, RecordError, SignedDocument, Slot, Trust, Verdict};
use serde::de::DeserializeOwned;

use crate::audit::Audit;
use crate::failpoints::reach;
use crate::kept::{Kept, now_ms};
use crate::paths::Paths;
use crate::{files, kept, say, slots, status};

/// Others hold the lock for some syncs of a card, and while the authority is asked: one that takes longer is not waited for.
pub const LOCK_WAIT: Duration = Duration::from_secs(20);

/// Longest file of the image's that is read, in bytes: JSON of a root and its signatures.
const IMAGE_FILE_LEN_MAX: u64 = 256 * 1024;

/// All that lasts.
pub struct Records {
    pub paths: Paths,
    /// The records as they are, and as they are written by [`Records::commit`].
    pub kept: Kept,
    /// Whom to trust, or why nobody.
    pub trust: Result<Trust, String>,
    /// Where the image's own server stands among the releases, if it does.
    pub image: Option<Installed>,
    /// Whether a request is being carried out.
    pub is_busy: bool,
    /// Whether `kept` is what was kept. Where it is not, nobody knows which slots are needed.
    pub is_known: bool,
    /// Nobody else changes them meanwhile.
    lock: Option<File>,
    state_record: Record<Kept>,
    trust_record: Record<Trust>,
    audit: Audit,
    troubles: Vec<String>,
}

/// A change of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// A start of what is tried is counted.
    Start,
    /// A crash of it is counted.
    Crash,
    /// Something is to be tried.
    Stage,
    /// It has proved itself.
    Confirm,
    /// It has not.
    GiveUp,
    /// Somebody wants the version before.
    GoBack,
    /// A request is refused.
    Refuse,
    /// The card has lost what was installed.
    Lose,
}

impl Records {
    /// Reads all of it.
    pub fn open(paths: &Paths, wait: Duration) -> Self {
        let mut troubles = Vec::new();
        let mut lock = lock(&paths.state_dir.join("lock"), wait)
            .inspect_err(|error| troubles.push(format!("nothing can be installed: {error:#}")))
            .ok();
        let mut is_known = true;
        let (state_record, kept) = Record::open(&paths.state_dir, kept::NAME).unwrap_or_else(|error| {
            troubles.push(format!("{error}; the server that came with the image runs"));
            // What can't be read today may be read tomorrow: it is not written over.
            lock = lock.take().filter(|_| matches!(error, RecordError::Damaged { .. }));
            is_known = false;
            (Record::anew(&paths.state_dir, kept::NAME), None)
        });
        let (trust_record, trust) = Record::open(&paths.state_dir, "trust").unwrap_or_else(|error| {
            troubles.push(format!("{error}; whom to trust is what the image says"));
            (Record::anew(&paths.state_dir, "trust"), None)
        });
        let audit = Audit::open(&paths.state_dir);
        let trust_before: Option<Trust> = trust;
        let image = image_release(&paths.factory_release, &mut troubles);
        let trust = trusted(&paths.root, trust_before.clone(), &mut troubles);
        let trust = trust.map(|trust| image.map_or(trust.clone(), |image| trust.with_image_release(image)));
        let kept: Kept = kept.unwrap_or_default();
        let paths = paths.clone();
        let mut records = Self {
            paths,
            kept,
            trust,
            image,
            is_busy: false,
            is_known,
            lock,
            state_record,
            trust_record,
            audit,
            troubles,
        };
        if records.lock.is_some() {
            records.settle(trust_before.as_ref());
        }
        records
    }

    /// Makes this the state, durably, and tells it: the audit, the status. What fails behind the record is made up for later.
    ///
    /// # Errors
    /// When it can't be written. Then nothing has changed.
    pub fn commit(&mut self, transition: Transition, next: Kept) -> anyhow::Result<()> {
        if self.lock.is_none() {
            bail!("nothing can be written: {}", self.troubles.join("; "));
        }
        let [before, recorded, audited, told] = transition.places();
        reach(before);
        self.state_record.write(&next)?;
        (self.kept, self.is_known) = (next, true);
        reach(recorded);
        if transition == Transition::Confirm {
            self.move_ratchet();
            reach("confirm.trusted");
        }
        self.append_audit();
        reach(audited);
        self.tell();
        reach(told);
        Ok(())
    }

    /// As [`Records::commit`], for a change by which `state.last` came about: that is an event, by somebody or by itself.
    ///
    /// # Errors
    /// When it can't be written. Then nothing has changed.
    pub fn end(&mut self, transition: Transition, mut next: Kept, by: Option<&str>) -> anyhow::Result<()> {
        next.last_at_ms = now_ms();
        next.baseline = None;
        let (what, version, reason) = match &next.state.last {
            Some(Verdict::Confirmed { version }) => ("confirmed", Some(version.to_string()), None),
            Some(Verdict::RolledBack { version, reason }) => {
                say(&format!("version {version} is given up: {reason}"));
                ("rolled_back", Some(version.to_string()), Some(reason.clone()))
            }
            Some(Verdict::WentBack) | None => ("went_back", None, None),
        };
        next.note(self.audit.last(), what, version, by, reason.as_deref());
        self.commit(transition, next)
    }

    /// Notes an event of a change that is to be committed.
    pub fn note(&self, next: &mut Kept, what: &str, version: Option<String>, by: Option<&str>, reason: Option<&str>) {
        next.note(self.audit.last(), what, version, by, reason);
    }

    /// Whether something can be changed.
    pub fn is_writable(&self) -> bool {
        self.lock.is_some()
    }

    /// The newest events, the newest first.
    pub fn history(&self) -> Vec<HistoryEntry> {
        let missing = self.kept.events.iter().filter(|event| event.n > self.audit.last());
        missing.rev().map(|event| event.entry.clone()).chain(self.audit.newest()).collect()
    }

    /// What is wrong, for people.
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.iter().cloned().chain(self.audit.damage.clone()).collect()
    }

    /// Something is wrong.
    pub fn trouble(&mut self, what: String) {
        say(&what);
        self.troubles.push(what);
    }

    /// Writes the status.
    pub fn tell(&self) {
        if let Err(error) = status::write(self) {
            say(&format!("cannot tell the status: {error:#}"));
        }
    }

    /// What an earlier program did not come to: the power went, or the disk was full.
    fn settle(&mut self, trust_before: Option<&Trust>) {
        let needs = match (&self.kept.state.current, &self.trust) {
            (Slot::Installed(slot), Ok(trust)) => trust.reached(slot.place, slot.min_seq).ratchet() != trust.ratchet(),
            _ => false,
        };
        let image_counts = self.trust.as_ref().is_ok_and(|trust| trust_before.is_some_and(|before| before != trust));
        if needs || image_counts {
            self.move_ratchet();
        }
        self.append_audit();
    }

    /// The ratchet and the root follow what is current. The roots of its bundle stand in its slot.
    fn move_ratchet(&mut self) {
        let Ok(trust) = &self.trust else { return };
        let mut moved = trust.clone();
        if let Slot::Installed(slot) = &self.kept.state.current {
            if let Ok(head) = slots::head(&self.paths, slot.sha256) {
                moved = moved.follow(head.roots()).unwrap_or(moved);
            }
            moved = moved.reached(slot.place, slot.min_seq);
        }
        match self.trust_record.write(&moved) {
            Ok(()) => self.trust = Ok(moved),
            Err(error) => self.trouble(format!("cannot keep whom to trust: {error}")),
        }
    }

    fn append_audit(&mut self) {
        if let Err(error) = self.audit.append(&self.kept.events) {
            self.trouble(format!("the audit takes no entries: {error}"));
        }
    }
}

impl Transition {
    /// Places for tests: before it, behind its record, its audit, its status.
    fn places(self) -> [&'static str; 4] {
        match self {
            Self::Start => ["start.before", "start.recorded", "start.audited", "start.told"],
            Self::Crash => ["crash.before", "crash.recorded", "crash.audited", "crash.told"],
            Self::Stage => ["stage.before", "stage.recorded", "stage.audited", "stage.told"],
            Self::Confirm => ["confirm.before", "confirm.recorded", "confirm.audited", "confirm.told"],
            Self::GiveUp => ["give_up.before", "give_up.recorded", "give_up.audited", "give_up.told"],
            Self::GoBack => ["go_back.before", "go_back.recorded", "go_back.audited", "go_back.told"],
            Self::Refuse => ["refuse.before", "refuse.recorded", "refuse.audited", "refuse.told"],
            Self::Lose => ["lose.before", "lose.recorded", "lose.audited", "lose.told"],
        }
    }
}

fn lock(path: &Path, wait: Duration) -> anyhow::Result<File> {
    let open = || OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(path);
    let file = open().with_context(|| format!("cannot use {}", path.display()))?;
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the records"),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => bail!("another updater holds the records"),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Whom to trust: what is kept, and the image's root.
fn trusted(root: &Path, kept: Option<Trust>, troubles: &mut Vec<String>) -> Result<Trust, String> {
    let image =
        read_image::<SignedDocument>(root).map_err(|error| format!("cannot read the root {}: {error}", root.display()));
    let trust = match (kept, image) {
        (Some(kept), Ok(image)) => kept.with_image(&image).unwrap_or_else(|error| {
            troubles.push(format!("the image's root does not count beside the one that is kept: {error}"));
            kept
        }),
        (Some(kept), Err(_)) => kept,
        (None, Ok(image)) => Trust::of_image(&image, Ratchet::default()).map_err(|error| error.to_string())?,
        (None, Err(error)) => return Err(error),
    };
    if trust.root().test && !cfg!(feature = "test-keys") {
        return Err("the root is one of test keys, whose signatures do not count here".to_owned());
    }
    Ok(trust)
}

/// Where the image's own server stands. Images of before there was such a file have none.
fn image_release(path: &Path, troubles: &mut Vec<String>) -> Option<Installed> {
    match read_image::<ImageRelease>(path) {
        Ok(release) => release.place(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            troubles.push(format!("cannot read which release the image has, {}: {error}", path.display()));
            None
        }
    }
}

fn read_image<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let bytes = files::read(path, IMAGE_FILE_LEN_MAX)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}
