//! The supervisor itself, with a server that nobody updates: what systemd would do, it does.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use posthouse_e2e::wait::until;
use posthouse_update_tests::supervisor::State;
use posthouse_update_tests::world::{SERVER, Timing};

use crate::stage::{Stage, left_out};

#[test]
fn nobody_is_refused_and_nothing_lost_by_kills_hangs_and_restarts() {
    if left_out() {
        return;
    }
    let span = |key: &str, ms| (SERVER.to_owned(), key.to_owned(), Duration::from_millis(ms));
    let spans = vec![span("WatchdogSec", 3000), span("TimeoutStopSec", 1000)];
    let stage = Stage::set(&Timing { spans, ..Timing::short() });
    let supervisor = stage.world.supervisor();
    let said = |words: &str| supervisor.journal().with(words).len();
    let first = supervisor.running(SERVER);

    stage.talks();
    kill(first, Signal::SIGKILL).expect("it runs");
    until("end", || (supervisor.status(SERVER).state != State::Running).then_some(()));
    let second = supervisor.running(SERVER);
    assert_eq!((said("posthoused.service: ended, signal"), supervisor.status(SERVER).restarts), (1, 1));

    stage.talks();
    // It hangs: no word to the watchdog, and deaf to SIGABRT, too.
    kill(second, Signal::SIGSTOP).expect("it runs");
    until("watchdog", || (said("posthoused.service: ended, watchdog") > 0).then_some(()));
    let third = supervisor.running(SERVER);
    assert_eq!((said("watchdog timeout"), supervisor.status(SERVER).restarts), (1, 2));

    stage.talks();
    assert_eq!(supervisor.control(&["restart", SERVER]).0, 0);
    let fourth = supervisor.running(SERVER);
    stage.talks();
    assert!(first != second && second != third && third != fourth);
    assert_eq!((said("posthoused.service: ended, success"), supervisor.status(SERVER).restarts), (1, 0));
    let (_, counts) = stage.end();
    println!("{counts}");
}
