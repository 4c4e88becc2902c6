//! One probe: a unit of its own that goes in by the front door and leaves a verdict.

use std::process::Child;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::kept::short;
use crate::paths::Paths;
use crate::{control, files};

/// A probe that has no verdict by then is a failed one: nobody answered it.
const WITHIN: Duration = Duration::from_secs(20);

/// Longest verdict, in bytes.
const LEN_MAX: u64 = 4096;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A client can log in, send and read.
    Passed,
    /// It can't, and why.
    Failed(String),
    /// It can't, and that is not the binary's fault.
    Inconclusive(String),
}

/// A probe that is being made.
pub struct Probe {
    paths: Paths,
    unit: Result<Child, String>,
    begun: Instant,
}

impl Probe {
    /// Begins one.
    pub fn start(paths: &Paths) -> Self {
        // What an earlier one has left says nothing of this one.
        let removed = files::remove(&paths.verdict);
        let unit = removed.and_then(|()| control::start_waiting(paths, control::PROBE));
        Self { paths: paths.clone(), unit: unit.map_err(|error| error.to_string()), begun: Instant::now() }
    }

    /// What came of it, once it has ended.
    pub fn verdict(&mut self) -> Option<Verdict> {
        let unit = match &mut self.unit {
            Ok(unit) => unit,
            Err(error) => return Some(Verdict::Failed(format!("the probe can't be started: {error}"))),
        };
        match unit.try_wait() {
            Ok(None) if self.begun.elapsed() < WITHIN => None,
            Ok(None) => Some(Verdict::Failed(format!("a probe had no answer within {WITHIN:?}"))),
            Ok(Some(_)) => Some(self.read()),
            Err(error) => Some(Verdict::Failed(error.to_string())),
        }
    }

    fn read(&self) -> Verdict {
        let Ok(bytes) = files::read(&self.paths.verdict, LEN_MAX) else {
            return Verdict::Failed("the probe ended without a verdict".to_owned());
        };
        match serde_json::from_slice::<File>(&bytes) {
            Ok(File { verdict: Word::Passed, .. }) => Verdict::Passed,
            Ok(File { verdict: Word::Failed, reason }) => Verdict::Failed(short(&reason)),
            Ok(File { verdict: Word::Inconclusive, reason }) => Verdict::Inconclusive(short(&reason)),
            Err(error) => Verdict::Failed(format!("the probe's verdict is none: {error}")),
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Ok(unit) = &mut self.unit {
            // It has ended already, or nobody waits for it.
            let _ = unit.kill();
            let _ = unit.wait();
        }
    }
}

#[derive(Deserialize)]
struct File {
    verdict: Word,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Passed,
    Failed,
    Inconclusive,
}
