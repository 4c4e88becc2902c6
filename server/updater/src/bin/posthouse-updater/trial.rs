//! `trial`: watches what is being tried, and confirms it or gives it up.
//!
//! What is tried has no say in it: it is probed from outside, as a client would, and measured by the kernel's numbers. Whoever ends
//! a trial writes the record first and has the server started anew then; this program may be ended and started at any time.

mod probe;
mod watch;

use std::time::{Duration, Instant};

use posthouse_updater::Trial;

use crate::control::ServerUnit;
use crate::failpoints::reach;
use crate::kept::Kept;
use crate::measure::Sample;
use crate::paths::Paths;
use crate::records::{LOCK_WAIT, Records, Transition};
use crate::{control, credentials, ended, inbox, say, slots, storage};
use probe::{Probe, Verdict};
use watch::{Limits, Step, Watch};

/// How often it is looked, at most.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long each part of a trial may take. On a box as they are; tests have less time.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Options {
    /// Within this time after its start it has to say that it is ready
    #[arg(long, value_name = "SECONDS", default_value = "45", value_parser = seconds)]
    ready_seconds: Duration,

    /// Within this time after that it has to pass its first probe
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    probe_seconds: Duration,

    /// For this time after that it has to go on passing them
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    soak_seconds: Duration,

    /// A probe is made so often
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    every_seconds: Duration,

    /// The whole trial takes at most this time
    #[arg(long, value_name = "SECONDS", default_value = "90", value_parser = seconds)]
    total_seconds: Duration,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Watches until the trial has ended.
///
/// # Errors
/// When the service manager does not start the server anew.
pub fn run(paths: &Paths, options: &Options) -> anyhow::Result<()> {
    let records = Records::open(paths, LOCK_WAIT);
    let Some(trial) = records.kept.state.trial.clone() else {
        // Perhaps its end was written, and no more.
        return tidy(records);
    };
    let baseline = records.kept.baseline;
    drop(records);
    say(&format!("version {} is being tried", trial.slot.version));
    let limits = Limits {
        ready: options.ready_seconds,
        probe: options.probe_seconds,
        soak: options.soak_seconds,
        every: options.every_seconds,
        total: options.total_seconds,
    };
    let mut watch = Watch::new(limits, baseline, Instant::now());
    let (mut probe, mut unit, mut has_started_anew) = (None::<Probe>, ServerUnit::default(), false);
    while is_going_on(paths, &trial) {
        if let Some(verdict) = probe.as_mut().and_then(Probe::verdict) {
            probe = None;
            let is_inconclusive = matches!(verdict, Verdict::Inconclusive(_));
            watch.probed(Instant::now(), verdict);
            // A server may say so without a reason: it counts where the card says the same.
            if is_inconclusive && let Err(storage) = storage::check(paths) {
                say(&format!("a probe says nothing: {storage}"));
                watch.begin_again(Instant::now());
            }
        }
        // Where the service manager says nothing, the server is as it was.
        unit = control::server(paths).unwrap_or(unit);
        let is_picked = ended::ran(paths, &trial.slot);
        // Once: what fails again has its deadlines.
        if unit.is_ready && !(is_picked && paths.secret().exists()) && !has_started_anew {
            has_started_anew = start_anew(paths);
            watch.begin_again(Instant::now());
        }
        // Until the new one is started, the old one says nothing of it.
        let seen = if is_picked { unit } else { ServerUnit::default() };
        let sample = seen.pid.and_then(Sample::of);
        match watch.look(Instant::now(), seen, sample, probe.is_some()) {
            Step::Wait => {}
            Step::Probe => probe = Some(Probe::start(paths)),
            Step::Confirm => match confirm(paths, &trial) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    say(&format!("what is tried can't be confirmed yet: {error:#}"));
                    watch.begin_again(Instant::now());
                }
            },
            Step::GiveUp(reason) => match storage::check(paths) {
                Ok(()) => return give_up(paths, &trial, &reason),
                Err(storage) => {
                    say(&format!("{reason}, which does not count: {storage}"));
                    watch.begin_again(Instant::now());
                }
            },
        }
        std::thread::sleep(LOOK_EVERY.min(options.every_seconds / 5));
    }
    tidy(Records::open(paths, LOCK_WAIT))
}

/// What is to be tried was not picked to the end: whatever did that was killed. Where the card takes no writes, no start can be
/// counted, and it waits.
fn start_anew(paths: &Paths) -> bool {
    let done = storage::check(paths).map_err(anyhow::Error::msg).and_then(|()| control::restart_server(paths));
    match &done {
        Ok(()) => say("what is to be tried was not picked to the end: the server is started anew"),
        Err(error) => say(&format!("what is to be tried was not picked to the end: {error:#}")),
    }
    done.is_ok()
}

/// Whether nobody else has ended it: crashes do, and starts that were used up. Where that can't be read it has its deadlines.
fn is_going_on(paths: &Paths, trial: &Trial) -> bool {
    Kept::read(paths).map_or(true, |kept| kept.tries(&trial.slot))
}

fn confirm(paths: &Paths, trial: &Trial) -> anyhow::Result<()> {
    let mut records = Records::open(paths, LOCK_WAIT);
    if records.kept.tries(&trial.slot) {
        let mut next = records.kept.clone();
        next.state.confirm()?;
        records.end(Transition::Confirm, next, None)?;
        say(&format!("version {} is confirmed", trial.slot.version));
    }
    tidy(records)?;
    reach("confirm.cleaned");
    Ok(())
}

fn give_up(paths: &Paths, trial: &Trial, reason: &str) -> anyhow::Result<()> {
    let mut records = Records::open(paths, LOCK_WAIT);
    if records.kept.tries(&trial.slot) {
        let mut next = records.kept.clone();
        next.state.give_up(reason)?;
        if let Err(error) = records.end(Transition::GiveUp, next, None) {
            // A start that can't be counted is one of the version before.
            records.trouble(format!("version {} fails ({reason}), which can't be kept: {error:#}", trial.slot.version));
            drop(records);
            return control::restart_server(paths);
        }
    }
    tidy(records)?;
    reach("give_up.cleaned");
    Ok(())
}

/// After a trial: nobody logs in as the probe, and what should run does. What is not needed goes.
fn tidy(records: Records) -> anyhow::Result<()> {
    if records.kept.state.trial.is_none() && records.is_known {
        // Perhaps the end was written and not told.
        records.tell();
        credentials::remove(&records.paths)?;
        // Where a request is being carried out already, that does it: nobody may take away what it unpacks.
        if let Ok(_turn) = inbox::turn(&records.paths)
            && let Err(error) = slots::clean(&records.paths, &records.kept.state.needed())
        {
            say(&format!("cannot remove what is not needed: {error}"));
        }
    }
    inbox::restart_if_another_runs(records)
}
