//! What is to be done about a trial, as pure code: time and what was seen come in, a step comes out.

use std::time::{Duration, Instant};

use super::probe::Verdict;
use crate::control::ServerUnit;
use crate::measure::{Baseline, Sample};

/// More memory than the version before, and it leaks, in bytes. A box has 1 GiB at least; a thousand clients take less than 100 MiB.
const MEMORY_MORE: u64 = 384 << 20;

/// What the version before is taken to have used where that was not measured, in bytes.
const MEMORY_BEFORE: u64 = 128 << 20;

/// A core that is busy in each of so many seconds spins: resuming a thousand clients takes some seconds.
const SPINS_FOR: u32 = 20;

/// So much of a core more than the version before counts as busy.
const SPINS_AT: f64 = 0.9;

/// How often the processor's time is looked at.
const MEASURED_EVERY: Duration = Duration::from_secs(1);

/// Before the first probe is passed it is tried again after this time.
const RETRIED_AFTER: Duration = Duration::from_secs(1);

/// Probes that fail one after the other end a trial that had passed one: one alone may have met a restart of something else.
const FAILURES: u32 = 2;

/// How long each part may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub ready: Duration,
    pub probe: Duration,
    pub soak: Duration,
    pub every: Duration,
    pub total: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Wait,
    Probe,
    Confirm,
    /// The reason is for people.
    GiveUp(String),
}

/// A trial, as far as it was seen.
#[derive(Debug)]
pub struct Watch {
    limits: Limits,
    baseline: Baseline,
    begun: Instant,
    run: Run,
}

/// One process of the server.
#[derive(Debug)]
struct Run {
    pid: Option<u32>,
    since: Instant,
    ready: Option<Instant>,
    /// When the first of the probes that were all passed ended.
    passed: Option<Instant>,
    /// When the last probe ended.
    probed: Option<Instant>,
    failures: u32,
    failure: Option<String>,
    measured: Option<(Instant, Sample)>,
    busy_seconds: u32,
}

impl Watch {
    /// Begins to watch.
    pub fn new(limits: Limits, baseline: Option<Baseline>, now: Instant) -> Self {
        let baseline = baseline.unwrap_or(Baseline { resident: MEMORY_BEFORE, cores: 0.0 });
        Self { limits, baseline, begun: now, run: Run::new(None, now) }
    }

    /// What was seen until now says nothing: the card stalls. All deadlines begin again.
    pub fn begin_again(&mut self, now: Instant) {
        self.begun = now;
        let ready = self.run.ready.map(|_| now);
        self.run = Run { ready, probed: Some(now), ..Run::new(self.run.pid, now) };
    }

    /// A probe has ended.
    pub fn probed(&mut self, now: Instant, verdict: Verdict) {
        match verdict {
            Verdict::Passed => {
                self.run.passed.get_or_insert(now);
                self.run.failures = 0;
            }
            Verdict::Failed(reason) => {
                self.run.failures += 1;
                self.run.failure = Some(reason);
            }
            // Neither the one nor the other; but time goes on.
            Verdict::Inconclusive(reason) => self.run.failure = Some(reason),
        }
        self.run.probed = Some(now);
    }

    /// What to do now that the server is seen like this.
    pub fn look(&mut self, now: Instant, unit: ServerUnit, sample: Option<Sample>, is_probing: bool) -> Step {
        if unit.pid != self.run.pid {
            self.run = Run::new(unit.pid, now);
        }
        if unit.is_ready && unit.pid.is_some() {
            self.run.ready.get_or_insert(now);
        }
        if let Some(reason) = sample.and_then(|sample| self.measure(now, sample)) {
            return Step::GiveUp(reason);
        }
        let limits = self.limits;
        match (self.run.ready, self.run.passed) {
            (None, _) if now - self.run.since > limits.ready => {
                Step::GiveUp(format!("it was not ready within {:?}", limits.ready))
            }
            (Some(_), Some(passed)) if now - passed >= limits.soak && self.run.failures == 0 && !is_probing => {
                Step::Confirm
            }
            (Some(_), Some(_)) if self.run.failures >= FAILURES => Step::GiveUp(self.failure()),
            (Some(ready), None) if now - ready > limits.probe && !is_probing => Step::GiveUp(self.failure()),
            _ if now - self.begun > limits.total && !is_probing => {
                Step::GiveUp(format!("it did not prove itself within {:?}", limits.total))
            }
            (Some(_), passed) if !is_probing && self.is_due(now, passed.is_some()) => Step::Probe,
            _ => Step::Wait,
        }
    }

    fn is_due(&self, now: Instant, has_passed: bool) -> bool {
        let again = if has_passed && self.run.failures == 0 { self.limits.every } else { RETRIED_AFTER };
        self.run.probed.is_none_or(|probed| now - probed >= again.min(self.limits.every))
    }

    fn failure(&self) -> String {
        let limit = self.limits.probe;
        self.run.failure.clone().unwrap_or_else(|| format!("it passed no probe within {limit:?} of being ready"))
    }

    /// Whether it takes more than it may.
    fn measure(&mut self, now: Instant, sample: Sample) -> Option<String> {
        let more = sample.resident.saturating_sub(self.baseline.resident);
        if more > MEMORY_MORE {
            return Some(format!("it takes {} MiB more memory than the version before", more >> 20));
        }
        let run = &mut self.run;
        // Until it is ready it may well compute: it replays its log.
        run.ready?;
        let Some((at, before)) = run.measured else {
            run.measured = Some((now, sample));
            return None;
        };
        if now - at < MEASURED_EVERY {
            return None;
        }
        let is_busy = sample.cores_since(&before) >= self.baseline.cores + SPINS_AT;
        run.busy_seconds = if is_busy { run.busy_seconds + 1 } else { 0 };
        run.measured = Some((now, sample));
        let spins = run.busy_seconds >= SPINS_FOR;
        spins.then(|| format!("it keeps a processor busy, for {SPINS_FOR} s without a pause"))
    }
}

impl Run {
    fn new(pid: Option<u32>, now: Instant) -> Self {
        Self {
            pid,
            since: now,
            ready: None,
            passed: None,
            probed: None,
            failures: 0,
            failure: None,
            measured: None,
            busy_seconds: 0,
        }
    }
}

#[cfg(test)]
mod tests;
