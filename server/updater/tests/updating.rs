//! A box is updated: the real program, from a request in the inbox to what is started in the end.

#![cfg(target_os = "linux")]

mod rig;
mod world;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use posthouse_protocol::update::{SlotKind, UpdateOutcome};
use rig::Rig;

const RESTART: &str = "restart --no-block posthoused.service";
const WATCH: &str = "start --no-block posthouse-trial.service";

const FACTORY: &str = env!("CARGO_PKG_VERSION");

/// A box that runs what came with its image.
fn new_box() -> Rig {
    let mut rig = Rig::new();
    let run = rig.pick();
    assert!(run.is_success, "{}", run.said);
    assert_eq!((rig.starts().as_str(), rig.asked()), (FACTORY, vec![]));
    rig
}

/// Installs a version and starts it.
fn try_out(rig: &mut Rig, seq: u64) {
    rig.offer_release(seq);
    let run = rig.inbox();
    assert!(run.is_success, "{}", run.said);
    assert_eq!((rig.refused(), rig.asked()), (None, vec![RESTART.to_owned()]));
    rig.pick();
    assert_eq!((rig.starts(), rig.asked()), (format!("0.{seq}.0"), vec![WATCH.to_owned()]));
}

fn install(rig: &mut Rig, seq: u64) {
    try_out(rig, seq);
    rig.verdict("passed");
    let run = rig.trial();
    assert!(run.is_success, "{}", run.said);
    assert_eq!(rig.asked(), Vec::<String>::new(), "what was tried goes on running");
    assert_eq!(rig.status().current.version, format!("0.{seq}.0"));
}

#[test]
fn a_good_version_is_tried_and_confirmed() {
    let mut rig = new_box();
    try_out(&mut rig, 2);
    let status = rig.status();
    let trial = status.trial.expect("a trial");
    assert_eq!((trial.starts_left, trial.crashes_left, status.current.kind), (5, 2, SlotKind::Factory));
    assert_eq!(trial.slot.signed_by, ["person 0", "person 1"]);
    assert_eq!(rig.names("run"), ["posthoused", "probe-secret", "status.json"]);
    let run = rig.trial();
    assert!(run.is_success, "{}", run.said);
    let status = rig.status();
    assert_eq!((status.current.version.as_str(), status.current.seq), ("0.2.0", Some(2)));
    assert_eq!(status.previous.map(|slot| slot.kind), Some(SlotKind::Factory));
    assert_eq!((status.trial, status.refused, status.trouble), (None, None, None));
    assert_eq!((status.ratchet.generation, status.ratchet.seq), (1, 2));
    assert_eq!(status.last.map(|last| last.outcome), Some(UpdateOutcome::Confirmed));
    let told: Vec<_> = status.history.iter().map(|entry| (entry.what.as_str(), entry.by.as_deref())).collect();
    assert_eq!(told, [("confirmed", None), ("installed", Some("anna"))]);
    assert_eq!(rig.names("run"), ["posthoused", "status.json"], "the probe can't log in any more");
    assert_eq!((rig.names("inbox"), rig.names("state/incoming")), (vec![], vec![]));
    rig.pick();
    assert_eq!((rig.starts().as_str(), rig.asked()), ("0.2.0", vec![]));
}

#[test]
fn a_version_that_fails_its_probes_is_given_up_and_not_tried_again() {
    let mut rig = new_box();
    try_out(&mut rig, 2);
    rig.verdict("failed");
    let run = rig.trial();
    assert!(run.is_success && run.said.contains("given up: said by the test"), "{}", run.said);
    assert_eq!(rig.asked(), [RESTART]);
    let status = rig.status();
    assert_eq!((status.current.kind, status.trial), (SlotKind::Factory, None));
    let last = status.last.expect("an end");
    assert_eq!((last.outcome, last.reason.as_deref()), (UpdateOutcome::RolledBack, Some("said by the test")));
    rig.pick();
    assert_eq!(rig.starts(), FACTORY);
    assert_eq!(rig.names("state/slots"), Vec::<String>::new());
    rig.offer_release(2);
    rig.inbox();
    let refused = rig.refused().expect("a reason");
    assert!(refused.contains("was tried and rolled back: said by the test"), "{refused}");
    assert_eq!(rig.asked(), Vec::<String>::new());
}

#[test]
fn two_crashes_end_a_trial_and_a_crash_of_another_version_is_none() {
    let mut rig = new_box();
    rig.offer_release(2);
    rig.inbox();
    // The old version crashes on its way out.
    rig.crash();
    assert_eq!(rig.status().trial.expect("a trial").crashes_left, 2);
    for left in [1, 0] {
        rig.pick();
        assert_eq!(rig.starts(), "0.2.0", "{left} left");
        rig.crash();
        assert_eq!(rig.status().trial.map_or(0, |trial| trial.crashes_left), left);
    }
    rig.pick();
    assert_eq!(rig.starts(), FACTORY);
    let reason = rig.status().last.and_then(|last| last.reason);
    assert_eq!(reason.as_deref(), Some("it was ended by signal SEGV"));
}

#[test]
fn a_version_that_hangs_is_given_up() {
    let mut rig = new_box();
    try_out(&mut rig, 2);
    rig.show(std::process::id(), "activating");
    let run = rig.trial();
    assert!(run.said.contains("it was not ready within 2s"), "{}", run.said);
    assert_eq!(rig.asked(), [RESTART]);
}

#[test]
fn power_cuts_alone_end_a_trial_only_after_several_starts() {
    let mut rig = new_box();
    rig.offer_release(2);
    rig.inbox();
    for start in 1..=6 {
        rig.pick();
        assert_eq!(rig.starts(), "0.2.0", "start {start}");
    }
    rig.pick();
    assert_eq!(rig.starts(), FACTORY);
}

#[test]
fn somebody_goes_back_and_forth() {
    let mut rig = new_box();
    install(&mut rig, 2);
    install(&mut rig, 3);
    for version in ["0.2.0", "0.3.0"] {
        rig.go_back();
        let run = rig.inbox();
        assert!(run.is_success, "{}", run.said);
        assert_eq!((rig.refused(), rig.asked()), (None, vec![RESTART.to_owned()]));
        rig.pick();
        assert_eq!((rig.starts().as_str(), rig.asked()), (version, vec![]));
    }
    let status = rig.status();
    assert_eq!((status.last.map(|last| last.outcome), status.ratchet.seq), (Some(UpdateOutcome::WentBack), 3));
    let newest = &status.history[0];
    assert_eq!((newest.what.as_str(), newest.by.as_deref()), ("went_back", Some("ben")));
}

#[test]
fn a_trial_is_watched_while_somebody_else_has_the_records() {
    let mut rig = new_box();
    try_out(&mut rig, 2);
    let long = ["trial", "--soak-seconds", "60", "--every-seconds", "0.05"];
    let mut trial = rig.command(&long).spawn().expect("the updater runs");
    let verdict = rig.path("probe/verdict");
    let probes = || {
        // Each one leaves its verdict anew.
        let seen = || fs::metadata(&verdict).and_then(|file| file.modified()).ok();
        let (deadline, before) = (Instant::now() + Duration::from_secs(10), seen());
        while seen().is_none() || seen() == before {
            assert!(Instant::now() < deadline, "no probe is made");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    probes();
    let lock = File::open(rig.path("state/lock")).expect("there");
    lock.lock().expect("locked");
    (0..3).for_each(|_| probes());
    drop(lock);
    trial.kill().expect("it was going on");
    trial.wait().expect("ended");
}

#[test]
fn an_authority_that_does_not_answer_is_not_blamed_on_what_is_tried() {
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let answers: [(Option<&str>, bool); 5] = [
        (Some("{\"certificate\":\"PEM\"}\n"), true),
        (Some("{\"refused\":\"the key is gone\"}\n"), false),
        // It hangs up; it hangs; it is not there.
        (Some(""), false),
        (Some("{"), false),
        (None, false),
    ];
    for (answer, is_probed_by_tls) in answers {
        let mut rig = new_box();
        fs::write(rig.path("authority.pem"), certificate).expect("written");
        if let Some(answer) = answer {
            let listener = UnixListener::bind(rig.path("ca.sock")).expect("a socket");
            std::thread::spawn(move || {
                let mut stream = listener.accept().expect("a client").0;
                stream.read_exact(&mut [0; 7]).expect("a question");
                stream.write_all(answer.as_bytes()).expect("it listens");
                // Until the other end has gone.
                let is_hanging = answer == "{";
                let _ = is_hanging.then(|| stream.read_to_end(&mut Vec::new()));
            });
        }
        try_out(&mut rig, 2);
        assert_eq!(rig.path("run/authority").exists(), is_probed_by_tls, "{answer:?}");
        assert!(rig.path("run/probe-secret").exists(), "{answer:?}: it is tried");
        assert!(rig.trial().is_success && rig.status().current.seq == Some(2), "{answer:?}");
    }
}
