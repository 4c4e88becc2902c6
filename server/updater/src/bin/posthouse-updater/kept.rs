//! What `state.a` and `state.b` hold: the state of the slots, and what belongs to its last change.

use std::time::{SystemTime, UNIX_EPOCH};

use posthouse_protocol::update::{HistoryEntry, UpdateRefusal};
use posthouse_updater::{InstalledSlot, Record, RecordError, Sha256, State};
use serde::{Deserialize, Serialize};

use crate::measure::Baseline;
use crate::paths::Paths;

/// Names its two files.
pub const NAME: &str = "state";

/// Events that the audit has not taken yet, the oldest forgotten first: the disk is full.
const EVENTS_MAX: usize = 32;

/// Longest text of somebody else's in an event, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// One record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    /// Of the slots.
    #[serde(flatten)]
    pub state: State,
    /// When the last change ended, by the box's clock.
    #[serde(default)]
    pub last_at_ms: Option<u64>,
    /// The last request that was refused, until another one is carried out.
    #[serde(default)]
    pub refused: Option<UpdateRefusal>,
    /// The last request that has been answered, so that a power cut does not have it carried out twice.
    #[serde(default)]
    pub answered: Option<Sha256>,
    /// What the server took before the trial.
    #[serde(default)]
    pub baseline: Option<Baseline>,
    /// Events that may not be in the audit yet.
    #[serde(default)]
    pub events: Vec<Event>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1.
    pub n: u64,
    /// As it is shown.
    #[serde(flatten)]
    pub entry: HistoryEntry,
}

impl Kept {
    /// Reads the record and nothing else, without waiting for whoever changes it: as it was, or as it will be.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(paths: &Paths) -> Result<Self, RecordError> {
        Record::open(&paths.state_dir, NAME).map(|(_, kept)| kept.unwrap_or_default())
    }

    /// Whether this is what is tried.
    pub fn tries(&self, slot: &InstalledSlot) -> bool {
        self.state.trial.as_ref().is_some_and(|trial| trial.slot.sha256 == slot.sha256)
    }

    /// Notes what happens by this change; `last` is the number of the event before it.
    pub fn note(&mut self, last: u64, what: &str, version: Option<String>, by: Option<&str>, reason: Option<&str>) {
        let last = self.events.last().map_or(last, |event| event.n.max(last));
        if self.events.len() == EVENTS_MAX {
            self.events.remove(0);
        }
        let entry = HistoryEntry {
            at_ms: now_ms(),
            what: what.to_owned(),
            version,
            by: by.map(short),
            reason: reason.map(short),
        };
        self.events.push(Event { n: last + 1, entry });
    }
}

/// Somebody else's text as one line of bounded length.
pub fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}

/// The box's clock; none where it shows a time before this program was built. Nothing is decided by it.
pub fn now_ms() -> Option<u64> {
    let program = std::env::current_exe().and_then(std::fs::metadata).and_then(|file| file.modified());
    let now = SystemTime::now();
    if program.is_ok_and(|built| now < built) {
        return None;
    }
    now.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok())
}
