//! What a box has installed and what it is trying: a state, and its changes, as pure code.
//!
//! ```text
//!            stage                  pick (each start)             confirm
//! current ─────────► staged trial ─────────────────► running ─────────────► current, the old one previous
//!                                                       │ crashes or starts used up, probe failed
//!                                                       └──────────────────► rolled back: current as before, quarantined
//! ```
//! Each arrow is one record on the disk, written before anything is run by it. Starts are counted before the server runs, so
//! that what takes the whole box down is counted, too; crashes are counted apart, so that power cuts don't condemn a good build.

use serde::{Deserialize, Serialize};

use crate::{Installed, Release, Sha256, Trust, Version};

/// Starts that a trial has, crashed or not: a box whose plug is pulled a few times still gets to try.
pub const TRIAL_STARTS: u8 = 6;

/// Crashes that end a trial.
pub const TRIAL_CRASHES: u8 = 2;

/// Refused hashes that are remembered, the oldest forgotten first.
const QUARANTINED_MAX: usize = 32;

/// Longest reason that is kept, in characters.
const REASON_CHARS_MAX: usize = 300;

/// A binary that a box can run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Slot {
    /// The one on the read-only root, which came with the image.
    Factory,
    /// One that was installed.
    Installed(InstalledSlot),
}

/// What is known of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledSlot {
    /// Names its folder.
    pub sha256: Sha256,
    /// For people.
    pub version: Version,
    /// For the ratchet.
    #[serde(flatten)]
    pub place: Installed,
    /// The schema that it writes.
    pub schema: u32,
    /// Below which no schema reads what it writes while it is on trial.
    pub min_reader: u32,
    /// Once it is confirmed, nothing below this seq is installed or gone back to.
    #[serde(default)]
    pub min_seq: u64,
    /// Names of the keys that had signed it when it was installed.
    #[serde(default)]
    pub signed_by: Vec<String>,
}

impl InstalledSlot {
    /// Of a release that was verified.
    pub fn of(release: &Release) -> Self {
        Self {
            sha256: release.sha256,
            version: release.version.clone(),
            place: Installed { generation: release.generation, seq: release.seq },
            schema: release.schema,
            min_reader: release.min_reader,
            min_seq: release.min_seq,
            signed_by: Vec::new(),
        }
    }
}

/// What a box has installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What runs, unless something is on trial: confirmed, or of the factory.
    pub current: Slot,
    /// What ran before it, to go back to.
    pub previous: Option<Slot>,
    /// What is being tried.
    pub trial: Option<Trial>,
    /// What was tried and is not tried again.
    pub quarantined: Vec<Quarantined>,
    /// How the last change ended.
    pub last: Option<Verdict>,
}

/// A slot on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// What is tried.
    pub slot: InstalledSlot,
    /// How often it may still be started.
    pub starts_left: u8,
    /// How often it may still crash.
    pub crashes_left: u8,
}

/// What is not tried again, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The binary.
    pub sha256: Sha256,
    /// For people.
    pub reason: String,
}

/// How a change ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Verdict {
    /// It runs.
    Confirmed {
        /// What.
        version: Version,
    },
    /// It was tried and given up.
    RolledBack {
        /// What.
        version: Version,
        /// For people.
        reason: String,
    },
    /// Somebody went back to what ran before.
    WentBack,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// One at a time.
    #[error("version {0} is being tried: wait for its verdict")]
    TrialUnderWay(Version),
    /// Once is enough.
    #[error("this very binary was tried and rolled back: {0}")]
    Quarantined(String),
    /// It runs already.
    #[error("version {0} runs already")]
    Present(Version),
    /// There is no trial to confirm or give up.
    #[error("nothing is being tried")]
    NoTrial,
    /// Nothing ran before.
    #[error("there is no version to go back to")]
    NoPrevious,
    /// It is too old.
    #[error("the version before is below what may be gone back to")]
    BelowRatchet,
    /// It can't read what is there now.
    #[error(
        "there is no way back: the version before reads databases of schema {reads} at most, and this box's needs {needs}"
    )]
    Unreadable {
        /// The schema of the version before.
        reads: u32,
        /// The oldest that can read what is there.
        needs: u32,
    },
}

impl State {
    /// Of a new box.
    pub fn new() -> Self {
        Self { current: Slot::Factory, previous: None, trial: None, quarantined: Vec::new(), last: None }
    }

    /// Whether a release may be tried.
    ///
    /// # Errors
    /// Why not.
    pub fn may_stage(&self, sha256: Sha256, version: &Version) -> Result<(), StateError> {
        if let Some(trial) = &self.trial {
            return Err(StateError::TrialUnderWay(trial.slot.version.clone()));
        }
        if let Some(refused) = self.quarantined.iter().find(|one| one.sha256 == sha256) {
            return Err(StateError::Quarantined(refused.reason.clone()));
        }
        match &self.current {
            Slot::Installed(slot) if slot.sha256 == sha256 => Err(StateError::Present(version.clone())),
            _ => Ok(()),
        }
    }

    /// From now on this one is tried. Its slot is on the disk, whole and synced.
    ///
    /// # Errors
    /// When it may not be.
    pub fn stage(&mut self, slot: InstalledSlot) -> Result<(), StateError> {
        self.may_stage(slot.sha256, &slot.version)?;
        self.trial = Some(Trial { slot, starts_left: TRIAL_STARTS, crashes_left: TRIAL_CRASHES });
        Ok(())
    }

    /// What to start now. A start of a trial is counted by this: the state has to be on the disk before the server runs.
    pub fn pick(&mut self) -> Slot {
        match &mut self.trial {
            Some(trial) if trial.starts_left > 0 => {
                trial.starts_left -= 1;
                return Slot::Installed(trial.slot.clone());
            }
            Some(_) => {
                let reason = format!("it was started {TRIAL_STARTS} times and never came as far as to be confirmed");
                self.give_up(&reason).expect("there is a trial");
            }
            None => {}
        }
        self.current.clone()
    }

    /// The server ended by itself, and not because somebody stopped it. Gives whether that ended its trial.
    pub fn crashed(&mut self, reason: &str) -> bool {
        let Some(trial) = &mut self.trial else { return false };
        trial.crashes_left = trial.crashes_left.saturating_sub(1);
        if trial.crashes_left > 0 {
            return false;
        }
        self.give_up(reason).is_ok()
    }

    /// It has proved itself: it is the current one, and what was current can be gone back to.
    ///
    /// # Errors
    /// When nothing is tried.
    pub fn confirm(&mut self) -> Result<InstalledSlot, StateError> {
        let trial = self.trial.take().ok_or(StateError::NoTrial)?;
        let before = std::mem::replace(&mut self.current, Slot::Installed(trial.slot.clone()));
        self.previous = Some(before);
        self.last = Some(Verdict::Confirmed { version: trial.slot.version.clone() });
        Ok(trial.slot)
    }

    /// It has failed: what was current runs again, and this one is not tried again.
    ///
    /// # Errors
    /// When nothing is tried.
    pub fn give_up(&mut self, reason: &str) -> Result<InstalledSlot, StateError> {
        let trial = self.trial.take().ok_or(StateError::NoTrial)?;
        let reason = short(reason);
        if self.quarantined.len() == QUARANTINED_MAX {
            self.quarantined.remove(0);
        }
        self.quarantined.push(Quarantined { sha256: trial.slot.sha256, reason: reason.clone() });
        self.last = Some(Verdict::RolledBack { version: trial.slot.version.clone(), reason });
        Ok(trial.slot)
    }

    /// The binary of what is current can't be run any more: the card has lost it. What ran before takes its place where it may
    /// run, else what came with the image. The hash is not quarantined, for nothing is wrong with it.
    pub fn lost(&mut self, trust: Option<&Trust>, reason: &str) {
        let Slot::Installed(lost) = &self.current else { return };
        self.last = Some(Verdict::RolledBack { version: lost.version.clone(), reason: short(reason) });
        self.current = match self.previous.take() {
            Some(Slot::Installed(slot)) if trust.is_some_and(|trust| trust.may_go_back_to(slot.place)) => {
                Slot::Installed(slot)
            }
            _ => Slot::Factory,
        };
    }

    /// Somebody wants the version before: it and the present one change places. `factory_schema` is that of the factory's,
    /// `needs` what the server says of the database: more than was signed, once a confirmed version has changed it for good.
    ///
    /// # Errors
    /// When there is none, or it must not run any more.
    pub fn go_back(&mut self, trust: &Trust, factory_schema: u32, needs: u32) -> Result<(), StateError> {
        if let Some(trial) = &self.trial {
            return Err(StateError::TrialUnderWay(trial.slot.version.clone()));
        }
        let previous = self.previous.as_ref().ok_or(StateError::NoPrevious)?;
        let reads = match previous {
            Slot::Factory if trust.ratchet().min_seq > 0 => return Err(StateError::BelowRatchet),
            Slot::Installed(slot) if !trust.may_go_back_to(slot.place) => return Err(StateError::BelowRatchet),
            Slot::Factory => factory_schema,
            Slot::Installed(slot) => slot.schema,
        };
        let needs = match &self.current {
            Slot::Installed(current) => current.min_reader.max(needs),
            Slot::Factory => needs,
        };
        if reads < needs {
            return Err(StateError::Unreadable { reads, needs });
        }
        let previous = previous.clone();
        self.previous = Some(std::mem::replace(&mut self.current, previous));
        self.last = Some(Verdict::WentBack);
        Ok(())
    }

    /// The slots whose folders are needed; what else there is can go.
    pub fn needed(&self) -> Vec<Sha256> {
        let named = [Some(&self.current), self.previous.as_ref()].into_iter().flatten();
        let mut needed: Vec<Sha256> = named
            .filter_map(|slot| match slot {
                Slot::Factory => None,
                Slot::Installed(slot) => Some(slot.sha256),
            })
            .collect();
        needed.extend(self.trial.as_ref().map(|trial| trial.slot.sha256));
        needed
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

fn short(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
}
