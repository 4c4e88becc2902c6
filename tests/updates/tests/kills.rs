//! The updater is ended at each of its durable steps, while clients talk: somebody always serves, and what runs is what the
//! records say.

use std::cell::Cell;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use posthouse_e2e::binaries;
use posthouse_protocol::update::SlotKind;
use posthouse_update_tests::fault::Fault;
use posthouse_update_tests::supervisor::State;
use posthouse_update_tests::world::{SERVER, Timing, World};

use crate::builds::PARTS;
use crate::stage::{Stage, left_out};

/// All of them are tried where this is set; else every sixth, beginning with another one each time.
const ALL_VARIABLE: &str = "POSTHOUSE_TEST_ALL_KILLS";
const SOME: usize = 6;

/// Places that one box goes through.
const PLACES_EACH: usize = 5;

/// Boxes at once.
const BOXES_AT_ONCE: usize = 3;

/// The updater has come to the place by then, and everything is at rest.
const REACHED_WITHIN: Duration = Duration::from_secs(40);

/// Nothing is under way any more if a trial is not watched for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3);

#[test]
fn the_server_serves_wherever_the_updater_is_ended() {
    if left_out() {
        return;
    }
    let all = places();
    let first = std::process::id() as usize % SOME;
    let is_all = std::env::var_os(ALL_VARIABLE).is_some();
    let chosen: Vec<&String> =
        if is_all { all.iter().collect() } else { all.iter().skip(first).step_by(SOME).collect() };
    let boxes: Vec<&[&String]> = chosen.chunks(PLACES_EACH).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = 0;
        while let Some(places) = boxes.get(next.fetch_add(1, Ordering::Relaxed)) {
            done += one_box(places);
        }
        done
    };
    let done: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..BOXES_AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it serves everywhere")).sum()
    });
    println!(
        "ended at {done} of {} places (of {} that there are): served, and as the records say",
        chosen.len(),
        all.len()
    );
    assert_eq!(done, chosen.len());
}

/// Where the updater can be ended. The audit is only begun anew when it is long: tried by the updater's own tests.
fn places() -> Vec<String> {
    let output = Command::new(binaries::updater()).arg("failpoints").output().expect("the updater starts");
    let text = String::from_utf8(output.stdout).expect("a text");
    let places: Vec<String> = text.lines().filter(|place| !place.starts_with("audit.")).map(str::to_owned).collect();
    assert!(places.len() > 30, "the updater was built without the feature failpoints");
    places
}

fn one_box(places: &[&String]) -> usize {
    let stage = Stage::set(&timing());
    for place in places {
        one_place(&stage.world, place);
    }
    let (_, counts) = stage.end();
    println!("{places:?}: {counts}");
    places.len()
}

fn timing() -> Timing {
    let mut timing = Timing::short();
    timing.watcher = ["--ready-seconds=8", "--probe-seconds=5", "--soak-seconds=1", "--every-seconds=0.5"]
        .map(str::to_owned)
        .to_vec();
    timing.spans.push(("posthouse-update.service".to_owned(), "RestartSec".to_owned(), Duration::from_millis(200)));
    timing
}

/// Has the updater pass this place, and be ended there.
fn one_place(world: &World, place: &str) {
    let begun = Instant::now();
    let lead = |program: Vec<u8>| {
        world.push(&program);
        rest(world, place);
    };
    let family = place.split('.').next().unwrap_or(place);
    // So that there is something to go back to, or to lose.
    if ["go_back", "lose"].contains(&family) {
        lead(PARTS.salted(Fault::None, &format!("before {place}")));
    }
    world.arm(place);
    match family {
        "crash" => drop(world.push(&PARTS.salted(Fault::SegfaultAtOnce, place))),
        "give_up" => drop(world.push(&refusing(place))),
        "go_back" => world.roll_back(),
        "refuse" => drop(world.push(&PARTS.truncated())),
        "lose" => damage(world),
        _ => drop(world.push(&PARTS.salted(Fault::None, place))),
    }
    world.wait(&format!("end at {place}"), REACHED_WITHIN, |world| !world.is_armed());
    rest(world, place);
    println!("{place}: {:.1} s", begun.elapsed().as_secs_f64());
}

/// Waits until nothing is under way, and what runs is what the records say. Where nobody has gone on with what was begun, the
/// server's next start does: the box's next boot, after a power cut at this place. What is tried is always gone on with.
fn rest(world: &World, place: &str) {
    let idle_since = Cell::new(Instant::now());
    world.wait(&format!("rest after {place}"), REACHED_WITHIN, |world| {
        if !is_idle(world) {
            idle_since.set(Instant::now());
            return false;
        }
        if idle_since.get().elapsed() > FORGOTTEN_AFTER {
            assert!(!place.starts_with("start."), "{place}: nobody watches what is tried");
            println!("{place}: goes on with the server's next start");
            world.supervisor().control(&["restart", SERVER]);
            idle_since.set(Instant::now());
        }
        is_as_recorded(world)
    });
}

fn is_idle(world: &World) -> bool {
    let units = ["posthouse-trial.service", "posthouse-update.service"];
    let at_work = units.iter().any(|unit| world.supervisor().status(unit).main_pid != 0);
    let serves = world.supervisor().status(SERVER).state == State::Running;
    serves && !at_work && !world.path("/var/lib/posthouse/inbox/request").exists()
}

fn is_as_recorded(world: &World) -> bool {
    let Some(state) = world.state() else { return false };
    let runs = match &state.current.sha256 {
        Some(hash) if state.current.kind == SlotKind::Installed => world.slot_serves(hash),
        _ => world.factory_serves(),
    };
    !state.busy && state.trial.is_none() && runs
}

/// A build that logs nobody in, with a hash of its own.
fn refusing(place: &str) -> Vec<u8> {
    [PARTS.without_login(), place.as_bytes().to_vec()].concat()
}

/// The card loses what runs, and the server is started anew.
fn damage(world: &World) {
    let hash = world.state().and_then(|state| state.current.sha256).expect("something is installed");
    let slot = world.path("/var/lib/posthouse-updater/slots").join(hash).join("posthoused");
    // Another file, for the one that runs can't be written to.
    std::fs::remove_file(&slot).expect("it is there");
    world.supervisor().control(&["restart", SERVER]);
}
