//! `ended`: counts a crash of what is being tried, after each end of the server.
//!
//! systemd says how it ended ($SERVICE_RESULT and so on, systemd.exec(5)). What somebody asked for, is a success.

use std::env;

use posthouse_updater::{InstalledSlot, Slot};

use crate::paths::Paths;
use crate::records::{LOCK_WAIT, Records, Transition};
use crate::{say, storage};

/// Counts, where there is something to count.
///
/// # Errors
/// When the count can't be written. Starts are counted, too, so that it ends all the same.
pub fn run(paths: &Paths) -> anyhow::Result<()> {
    let variable = |name| env::var(name).unwrap_or_default();
    let (result, code, status) = (variable("SERVICE_RESULT"), variable("EXIT_CODE"), variable("EXIT_STATUS"));
    if result == "success" || result.is_empty() {
        return Ok(());
    }
    let reason = reason(&result, &code, &status);
    let mut records = Records::open(paths, LOCK_WAIT);
    let Some(trial) = records.kept.state.trial.clone() else { return Ok(()) };
    // What was staged while another version ran is not what has crashed.
    if !ran(paths, &trial.slot) {
        return Ok(());
    }
    if let Err(storage) = storage::check(paths) {
        say(&format!("version {} ended ({reason}), which does not count: {storage}", trial.slot.version));
        return Ok(());
    }
    say(&format!("version {} ended: {reason}", trial.slot.version));
    let mut next = records.kept.clone();
    if next.state.crashed(&reason) {
        records.end(Transition::GiveUp, next, None)
    } else {
        records.commit(Transition::Crash, next)
    }
}

/// Whether this is what was started last.
pub fn ran(paths: &Paths, slot: &InstalledSlot) -> bool {
    let program = paths.program(&Slot::Installed(slot.clone()));
    paths.link().read_link().is_ok_and(|target| target == program)
}

/// In plain words.
fn reason(result: &str, code: &str, status: &str) -> String {
    match (result, code, status) {
        ("timeout", ..) => "it did not start, or stop, in time".to_owned(),
        ("watchdog", ..) => "it hung: it gave no sign of life".to_owned(),
        ("oom-kill", ..) => "it took more memory than there is".to_owned(),
        ("protocol", ..) => "it ended before it was ready".to_owned(),
        // systemd.exec(5): the program could not be run.
        (_, "exited", "203") => "it can't be run on this machine".to_owned(),
        (_, "exited", status) => format!("it ended with status {status}"),
        (_, "killed" | "dumped", signal) => format!("it was ended by signal {signal}"),
        (result, ..) => format!("it ended with {result}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_in_plain_words() {
        for (said, words) in [
            (["core-dump", "dumped", "SEGV"], "it was ended by signal SEGV"),
            (["exit-code", "exited", "101"], "it ended with status 101"),
            (["exit-code", "exited", "203"], "it can't be run on this machine"),
            (["watchdog", "killed", "ABRT"], "it hung: it gave no sign of life"),
            (["resources", "", ""], "it ended with resources"),
        ] {
            assert_eq!(reason(said[0], said[1], said[2]), words);
        }
    }
}
