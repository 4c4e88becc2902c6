//! `pick`: says what is to be started, before each start of the server.
//!
//! It never keeps the server from starting: whatever is wrong with records, disk or slots, something that runs is linked, in the
//! end what came with the image. A start of what is tried is on the disk before the link leads there.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::Context;
use posthouse_updater::{Slot, State};

use crate::failpoints::reach;
use crate::paths::Paths;
use crate::records::{LOCK_WAIT, Records, Transition};
use crate::{control, credentials, files, inbox, say, slots};

/// Links what is to be started.
///
/// # Errors
/// When not even a link can be made.
pub fn run(paths: &Paths) -> anyhow::Result<()> {
    let made = files::folder(&paths.run_dir, 0o755);
    if made.is_ok() && !paths.link().exists() {
        // Something to start, whatever comes now.
        let _ = link(paths, &Slot::Factory);
    }
    prepare(paths);
    let mut records = Records::open(paths, LOCK_WAIT);
    let slot = choose(&mut records);
    link(paths, &slot).with_context(|| format!("cannot make the link {}", paths.link().display()))?;
    reach("start.linked");
    let is_trial = is_trial(&records.kept.state, &slot);
    if let Err(error) = credentials::renew(paths, is_trial) {
        records.trouble(format!("what is tried can't be probed: {error:#}"));
    }
    reach("start.secret");
    records.tell();
    let is_due = inbox::is_due(&records);
    drop(records);
    if is_due && let Err(error) = control::start(paths, control::UPDATE) {
        say(&format!("{error:#}"));
    }
    Ok(())
}

/// The folders of a new box. The server's user gets through to its own program, and sees nothing of the rest.
pub fn prepare(paths: &Paths) {
    for (folder, mode) in [(paths.state_dir.clone(), 0o711), (paths.slots(), 0o711), (paths.incoming(), 0o700)] {
        // Why it can't be made is told by whoever wants to use it.
        let _ = files::folder(&folder, mode);
    }
}

/// What is to be started. What is tried is counted first.
fn choose(records: &mut Records) -> Slot {
    let mut next = records.kept.clone();
    let slot = next.state.pick();
    if is_trial(&next.state, &slot) {
        match slots::check(&records.paths, &slot) {
            Err(error) => return give_up(records, &format!("{error:#}")),
            Ok(()) => match records.commit(Transition::Start, next) {
                Ok(()) => return slot,
                Err(error) => records.trouble(format!("nothing is tried, for no start can be counted: {error:#}")),
            },
        }
    } else if records.kept.state.trial.is_some() {
        // The last start was used up.
        if let Err(error) = records.end(Transition::GiveUp, next, None) {
            records.trouble(format!("{error:#}"));
        }
    }
    current(records)
}

fn give_up(records: &mut Records, reason: &str) -> Slot {
    let mut next = records.kept.clone();
    let given_up = next.state.give_up(reason).is_ok();
    if given_up && let Err(error) = records.end(Transition::GiveUp, next, None) {
        records.trouble(format!("{error:#}"));
    }
    current(records)
}

/// What was confirmed last, if the card still has it.
fn current(records: &mut Records) -> Slot {
    loop {
        let slot = records.kept.state.current.clone();
        let Err(error) = slots::check(&records.paths, &slot) else { return slot };
        let reason = format!("{error:#}");
        let mut next = records.kept.clone();
        next.state.lost(records.trust.as_ref().ok(), &reason);
        if let Err(error) = records.end(Transition::Lose, next, None) {
            records.trouble(format!("{reason}; {error:#}; the server that came with the image runs"));
            return Slot::Factory;
        }
    }
}

fn is_trial(state: &State, slot: &Slot) -> bool {
    matches!((slot, &state.trial), (Slot::Installed(slot), Some(trial)) if trial.slot.sha256 == slot.sha256)
}

fn link(paths: &Paths, slot: &Slot) -> std::io::Result<()> {
    let new = paths.link().with_extension("new");
    files::remove(&new)?;
    symlink(paths.program(slot), &new)?;
    fs::rename(&new, paths.link())
}
