//! A trial on a made-up clock: how it ends, and when.

use super::*;

const LIMITS: Limits = Limits {
    ready: Duration::from_secs(45),
    probe: Duration::from_secs(15),
    soak: Duration::from_secs(30),
    every: Duration::from_secs(5),
    total: Duration::from_secs(90),
};

/// A trial in which a second passes with each look.
struct Trial {
    watch: Watch,
    begun: Instant,
    seconds: u64,
    unit: ServerUnit,
    resident: u64,
    /// Processor time used, in seconds, and how much of it each second takes.
    used: f64,
    cores: f64,
}

impl Trial {
    fn new(baseline: Option<Baseline>) -> Self {
        let begun = Instant::now();
        Self {
            watch: Watch::new(LIMITS, baseline, begun),
            begun,
            seconds: 0,
            unit: ServerUnit { pid: Some(7), is_ready: false },
            resident: 50 << 20,
            used: 0.0,
            cores: 0.1,
        }
    }

    fn ready() -> Self {
        let mut trial = Self::new(None);
        trial.unit.is_ready = true;
        trial
    }

    fn now(&self) -> Instant {
        self.begun + Duration::from_secs(self.seconds)
    }

    fn look(&mut self) -> Step {
        self.seconds += 1;
        self.used += self.cores;
        let sample = self.unit.pid.map(|_| Sample::at(self.now(), self.resident, self.used));
        self.watch.look(self.now(), self.unit, sample, false)
    }

    /// How it ends, and after how many seconds, where each probe comes to this.
    fn end(&mut self, verdict: &Verdict) -> (Step, u64) {
        loop {
            match self.look() {
                Step::Wait => {}
                Step::Probe => self.watch.probed(self.now(), verdict.clone()),
                end => return (end, self.seconds),
            }
            assert!(self.seconds < 1000, "there is no end to it");
        }
    }
}

fn failed() -> Verdict {
    Verdict::Failed("no log-in".to_owned())
}

fn given_up(reason: &str) -> Step {
    Step::GiveUp(reason.to_owned())
}

#[test]
fn what_passes_its_probes_for_the_whole_soak_is_confirmed() {
    let mut trial = Trial::ready();
    assert_eq!(trial.end(&Verdict::Passed), (Step::Confirm, 31));
}

#[test]
fn what_is_never_ready_is_given_up() {
    let mut trial = Trial::new(None);
    assert_eq!(trial.end(&Verdict::Passed), (given_up("it was not ready within 45s"), 47));
}

#[test]
fn what_never_passes_is_given_up_with_the_probe_s_reason() {
    let mut trial = Trial::ready();
    assert_eq!(trial.end(&failed()), (given_up("no log-in"), 17));
    let mut trial = Trial::ready();
    let inconclusive = Verdict::Inconclusive("it says that the disk is full".to_owned());
    assert_eq!(trial.end(&inconclusive), (given_up("it says that the disk is full"), 17));
}

#[test]
fn one_failed_probe_in_the_soak_is_tried_again_and_a_second_ends_it() {
    let mut trial = Trial::ready();
    assert_eq!(trial.look(), Step::Probe);
    trial.watch.probed(trial.now(), Verdict::Passed);
    for verdict in [failed(), Verdict::Passed] {
        while trial.look() != Step::Probe {}
        trial.watch.probed(trial.now(), verdict);
    }
    assert_eq!(trial.end(&Verdict::Passed).0, Step::Confirm);
    let mut trial = Trial::ready();
    assert_eq!(trial.look(), Step::Probe);
    trial.watch.probed(trial.now(), Verdict::Passed);
    assert_eq!(trial.end(&failed()).0, given_up("no log-in"));
    assert!(trial.seconds < 10, "{}", trial.seconds);
}

#[test]
fn what_leaks_is_given_up_at_once() {
    let mut trial = Trial::new(Some(Baseline { resident: 50 << 20, cores: 0.0 }));
    trial.resident = 434 << 20;
    assert_eq!(trial.look(), Step::Wait);
    trial.resident = 435 << 20;
    assert_eq!(trial.look(), given_up("it takes 385 MiB more memory than the version before"));
}

#[test]
fn what_spins_is_given_up_and_what_is_busy_as_before_is_not() {
    let mut trial = Trial::ready();
    trial.cores = 1.0;
    let spins = given_up("it keeps a processor busy, for 20 s without a pause");
    assert_eq!(trial.end(&Verdict::Passed), (spins, 21));
    // As busy as the version before, and a second's pause among 19.
    let mut trial = Trial::ready();
    trial.watch.baseline.cores = 0.5;
    trial.cores = 1.3;
    assert_eq!(trial.end(&Verdict::Passed).0, Step::Confirm);
    let mut trial = Trial::ready();
    trial.cores = 1.0;
    let end = loop {
        trial.cores = if trial.seconds.is_multiple_of(15) { 0.2 } else { 1.0 };
        match trial.look() {
            Step::Wait => {}
            Step::Probe => trial.watch.probed(trial.now(), Verdict::Passed),
            end => break end,
        }
    };
    assert_eq!(end, Step::Confirm);
}

#[test]
fn a_restart_begins_anew_and_all_of_it_has_an_end() {
    let mut trial = Trial::ready();
    for _ in 0..20 {
        if trial.look() == Step::Probe {
            trial.watch.probed(trial.now(), Verdict::Passed);
        }
    }
    trial.unit.pid = Some(8);
    assert_eq!(trial.end(&Verdict::Passed), (Step::Confirm, 51));
    // One that is started again and again.
    let mut trial = Trial::ready();
    let end = loop {
        trial.unit.pid = Some(u32::try_from(trial.seconds / 20).expect("few"));
        match trial.look() {
            Step::Wait => {}
            Step::Probe => trial.watch.probed(trial.now(), Verdict::Passed),
            end => break end,
        }
    };
    assert_eq!((end, trial.seconds), (given_up("it did not prove itself within 90s"), 91));
}

#[test]
fn a_card_that_stalls_prolongs_it() {
    let mut trial = Trial::ready();
    for _ in 0..10 {
        if trial.look() == Step::Probe {
            trial.watch.probed(trial.now(), failed());
        }
    }
    trial.watch.begin_again(trial.now());
    assert_eq!(trial.end(&Verdict::Passed).0, Step::Confirm);
}
