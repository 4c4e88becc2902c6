//! The supervisor itself, with a server that nobody updates: what systemd would do, it does.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use posthouse_e2e::binaries;
use posthouse_e2e::wait::until;
use posthouse_update_tests::door::Door;
use posthouse_update_tests::programs;
use posthouse_update_tests::supervisor::{Options, State, Supervisor};
use tempfile::TempDir;

const SERVER: &str = "posthoused.service";

fn options(folder: &Path) -> Options {
    let root = |path: &str| (path.to_owned(), folder.join(path.trim_matches('/')));
    for path in ["run", "var/lib"] {
        std::fs::create_dir_all(folder.join(path)).expect("a folder");
    }
    Options {
        units: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../overlays/common/usr/lib/systemd/system"),
        launcher: programs::launcher(),
        control: programs::control(),
        folder: folder.to_owned(),
        paths: vec![("/usr/lib/posthouse/posthoused".to_owned(), binaries::server()), root("/run"), root("/var/lib")],
        without: vec!["--discovery".to_owned()],
        ..Options::default()
    }
}

#[test]
fn sockets_stay_open_whatever_becomes_of_the_server() {
    if !binaries::has_systemd() {
        return println!("LEFT OUT: the server was built without the feature systemd");
    }
    let folder = TempDir::new().expect("a folder");
    let mut options = options(folder.path());
    options.spans = vec![
        (SERVER.to_owned(), "WatchdogSec".to_owned(), Duration::from_millis(1500)),
        (SERVER.to_owned(), "TimeoutStopSec".to_owned(), Duration::from_secs(1)),
    ];
    let supervisor = Supervisor::start(options);
    let door = Door::knock(&supervisor.addresses());
    assert_eq!(supervisor.control(&["start", SERVER]).0, 0);
    let first = supervisor.running(SERVER);

    kill(first, Signal::SIGKILL).expect("it runs");
    until("end", || (supervisor.status(SERVER).state != State::Running).then_some(()));
    let second = supervisor.running(SERVER);
    assert_eq!(supervisor.journal().with("ended, signal").len(), 1);
    assert_eq!(supervisor.status(SERVER).restarts, 1);

    // It hangs: no word to the watchdog, and deaf to SIGABRT, too.
    kill(second, Signal::SIGSTOP).expect("it runs");
    until("watchdog", || (!supervisor.journal().with("watchdog timeout").is_empty()).then_some(()));
    until("end", || (!supervisor.journal().with("ended, watchdog").is_empty()).then_some(()));
    let third = supervisor.running(SERVER);
    assert_eq!(supervisor.status(SERVER).restarts, 2);

    assert_eq!(supervisor.control(&["restart", SERVER]).0, 0);
    let fourth = supervisor.running(SERVER);
    assert!(first != second && second != third && third != fourth);
    assert_eq!(supervisor.journal().with("ended, success").len(), 1);
    assert_eq!(supervisor.status(SERVER).restarts, 0);

    let knocks = door.counts();
    println!("{} of {} connections refused", knocks.refused, knocks.tried);
    assert!(knocks.tried > 100 && knocks.refused == 0, "{knocks:?}");
}
