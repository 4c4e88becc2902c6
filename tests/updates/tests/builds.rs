//! Builds of every kind are pushed to a box whose clients talk all the time: the good one stays, of the others nothing remains but
//! why.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use posthouse_protocol::update::{SlotKind, UpdateOutcome};
use posthouse_update_tests::bundles::Parts;
use posthouse_update_tests::fault::Fault;
use posthouse_update_tests::world::{SERVER, Timing, World};

use crate::stage::{Stage, left_out};

/// By then the old version serves again, whatever the new one does.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// By then a good one is confirmed, with the short time-outs.
pub const CONFIRMED_WITHIN: Duration = Duration::from_secs(40);

/// A build that has kept so much of a core busy, for so long, has to be found out.
const BUSY_AT: f64 = 1.2;
const BUSY_FOR: Duration = Duration::from_secs(23);

/// Boxes at once: most of the time they wait.
const BOXES_AT_ONCE: usize = 4;

/// What comes of a bad build.
#[derive(Clone, Copy)]
enum End {
    /// It is tried and taken back, for a reason with these words.
    TakenBack(&'static str),
    /// It is never tried, for a reason with these words.
    Refused(&'static str),
}

/// A build by its name, and what comes of it.
type Case = (&'static str, fn(&Parts) -> Vec<u8>, End);

const BAD: [Case; 8] = [
    ("segfault at once", |parts| parts.with(Fault::SegfaultAtOnce), End::TakenBack("signal SEGV")),
    ("crash after ready", |parts| parts.with(Fault::CrashAfterReady), End::TakenBack("signal SEGV")),
    ("hang before ready", |parts| parts.with(Fault::HangBeforeReady), End::TakenBack("not ready within")),
    ("ready then deaf", |parts| parts.with(Fault::ReadyThenDeaf), End::TakenBack("answer")),
    ("refuses log-ins", Parts::without_login, End::TakenBack("log")),
    ("memory leak", |parts| parts.with(Fault::Leak), End::TakenBack("memory")),
    ("wrong architecture", Parts::for_another_machine, End::Refused("it is made for another kind of machine")),
    ("truncated ELF", Parts::truncated, End::Refused("it is cut off")),
];

/// Made once.
pub static PARTS: LazyLock<Parts> = LazyLock::new(Parts::new);

#[test]
fn bad_builds_are_taken_back_and_nothing_is_lost() {
    if left_out() {
        return;
    }
    let next = AtomicUsize::new(0);
    let timing = Timing::short();
    let work = || {
        let mut lines = Vec::new();
        while let Some(case) = BAD.get(next.fetch_add(1, Ordering::Relaxed)) {
            lines.push(bad(case, &timing));
        }
        lines
    };
    let lines: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..BOXES_AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("every build is taken back")).collect()
    });
    println!("{}\n{} of {} bad builds taken back or refused", lines.join("\n"), lines.len(), BAD.len());
    assert_eq!(lines.len(), BAD.len());
}

/// With a box's own time-outs, since a spinning build shows in twenty seconds only: if it gets a core for so long.
#[test]
fn a_build_that_computes_without_end_is_taken_back_in_time() {
    if left_out() {
        return;
    }
    let stage = Stage::set(&Timing::real());
    let world = &stage.world;
    world.push(&PARTS.with(Fault::Spin));
    let busy = RefCell::new(Busy::default());
    let took = world.wait("verdict", BACK_WITHIN, |world| {
        busy.borrow_mut().look(world.supervisor().status(SERVER).main_pid);
        match outcome(world) {
            Some(UpdateOutcome::RolledBack) => world.factory_serves(),
            outcome => outcome.is_some() && world.is_healthy(),
        }
    });
    let (last, took) = (world.state().and_then(|state| state.last).expect("a verdict"), took.as_secs_f64());
    let longest = busy.borrow().longest;
    let (_, counts) = stage.end();
    if last.outcome == UpdateOutcome::Confirmed && longest < BUSY_FOR {
        return println!("LEFT OUT: this machine had no core to spare for a busy loop, but for {longest:?} at a time");
    }
    let reason = last.reason.unwrap_or_default();
    assert!(last.outcome == UpdateOutcome::RolledBack && reason.contains("busy"), "{reason:?}; busy for {longest:?}");
    println!("busy loop, with a box's own time-outs: {took:.1} s; {counts}; {reason}");
}

#[test]
fn however_often_somebody_asks_the_next_good_build_is_taken() {
    if left_out() {
        return;
    }
    let world = World::start(&Timing::short());
    // More than systemd's own limits and ours have ever been.
    for time in 0..30 {
        world.roll_back();
        world.wait(&format!("answer {time}"), CONFIRMED_WITHIN, |world| {
            !world.path("/var/lib/posthouse/inbox/request").exists()
        });
    }
    let hash = world.push(&PARTS.salted(Fault::None, "after many refusals"));
    world.wait("confirmation", CONFIRMED_WITHIN, |world| world.slot_serves(&hash));
}

#[test]
fn a_good_build_stays_and_the_one_before_can_be_gone_back_to() {
    if left_out() {
        return;
    }
    let stage = Stage::set(&Timing::short());
    let world = &stage.world;
    let hash = world.push(&PARTS.with(Fault::None));
    let confirmed = world.wait("confirmed update", CONFIRMED_WITHIN, |world| {
        world.slot_serves(&hash) && outcome(world) == Some(UpdateOutcome::Confirmed)
    });
    let state = world.state().expect("a status");
    assert_eq!(state.current.sha256.as_deref(), Some(hash.as_str()));
    assert_eq!(state.previous.map(|previous| previous.kind), Some(SlotKind::Factory));
    assert_eq!(world.supervisor().status(SERVER).restarts, 0, "it never failed");

    let second = world.push(&PARTS.salted(Fault::None, "second"));
    world.wait("second update", CONFIRMED_WITHIN, |world| {
        world.slot_serves(&second) && world.state().is_some_and(|state| state.trial.is_none())
    });
    assert_eq!(world.state().and_then(|state| state.previous?.sha256), Some(hash.clone()));

    world.roll_back();
    let back = world.wait("version before", CONFIRMED_WITHIN, |world| world.slot_serves(&hash));
    world.settled();
    assert_eq!(outcome(world), Some(UpdateOutcome::WentBack));
    assert!(world.audit().contains("went_back"), "{}", world.audit());
    let (_, counts) = stage.end();
    let (confirmed, back) = (confirmed.as_secs_f64(), back.as_secs_f64());
    println!("good build: confirmed after {confirmed:.1} s, back after {back:.1} s; {counts}");
}

/// For how long a process has had a core for itself.
#[derive(Default)]
struct Busy {
    /// Its process, and its time on a core a second ago.
    before: Option<(i32, Instant, f64)>,
    since: Option<Instant>,
    longest: Duration,
}

impl Busy {
    fn look(&mut self, process: i32) {
        let now = Instant::now();
        let seconds = processor_seconds(process).unwrap_or_default();
        let Some((_, at, had)) = self.before.filter(|(before, _, _)| *before == process) else {
            (self.before, self.since) = (Some((process, now, seconds)), None);
            return;
        };
        let past = now - at;
        if past < Duration::from_secs(1) {
            return;
        }
        let has_a_core = seconds - had >= BUSY_AT * past.as_secs_f64();
        let since = if has_a_core { Some(self.since.unwrap_or(at)) } else { None };
        self.longest = self.longest.max(since.map(|since| now - since).unwrap_or_default());
        (self.before, self.since) = (Some((process, now, seconds)), since);
    }
}

/// What a process has had of all cores (proc(5): utime and stime).
fn processor_seconds(process: i32) -> Option<f64> {
    /// Of user space, on every Linux that this runs on.
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|field| field.parse::<f64>().ok());
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

/// Pushes a bad build and sees it go; gives the line of the table.
fn bad((name, make, end): &Case, timing: &Timing) -> String {
    let stage = Stage::set(timing);
    let world = &stage.world;
    let before = world.supervisor().status(SERVER).main_pid;
    let program = make(&PARTS);
    stage.talks();
    world.push(&program);
    let took = match end {
        End::TakenBack(words) => taken_back(world, words),
        End::Refused(words) => {
            let took = refused(world, words);
            assert_eq!(world.supervisor().status(SERVER).main_pid, before, "{name}: the server was disturbed");
            took
        }
    };
    assert_eq!(world.state().map(|state| state.current.kind), Some(SlotKind::Factory), "{name}");
    if let End::TakenBack(_) = end {
        world.settled();
        world.push(&program);
        refused(world, "was tried and rolled back");
    }
    let refused = world.state().and_then(|state| state.refused).map(|refused| refused.reason).unwrap_or_default();
    stage.talks();
    let (_, counts) = stage.end();
    format!("{name:<20} {:>5.1} s; {counts}; {refused}", took.as_secs_f64())
}

pub fn taken_back(world: &World, words: &str) -> Duration {
    let took = world.wait("way back", BACK_WITHIN, |world| {
        outcome(world) == Some(UpdateOutcome::RolledBack) && world.factory_serves()
    });
    let last = world.state().and_then(|state| state.last).expect("a verdict");
    let reason = last.reason.unwrap_or_default();
    assert!(reason.contains(words), "{reason:?} does not say {words:?}");
    assert!(world.audit().contains("rolled_back") && world.audit().contains(words), "{}", world.audit());
    took
}

fn refused(world: &World, words: &str) -> Duration {
    let took = world.wait("refusal", BACK_WITHIN, |world| {
        let refused = world.state().and_then(|state| state.refused);
        refused.is_some_and(|refused| refused.reason.contains(words)) && world.factory_serves()
    });
    assert!(world.audit().contains("refused"), "{}", world.audit());
    took
}

pub fn outcome(world: &World) -> Option<UpdateOutcome> {
    world.state()?.last.map(|last| last.outcome)
}
