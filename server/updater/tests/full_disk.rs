//! A full data partition, in each state: what is asked for is refused with one line, or done; nothing is lost, and nothing is
//! held against a version that can't write.
//!
//! The partition is a small file system in memory, in a mount namespace of the test's own.

#![cfg(target_os = "linux")]

mod rig;
mod world;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use posthouse_protocol::update::UpdateOutcome;
use posthouse_updater::{Sha256, pack};
use rig::{Rig, server};

const FACTORY: &str = env!("CARGO_PKG_VERSION");

/// Says that the test is in its namespace.
const INSIDE: &str = "POSTHOUSE_TEST_NAMESPACE";

/// Of the partition, in MiB.
const SIZE: u64 = 96;

/// Runs a test where it may mount; whether it is there already.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut unshare = Command::new("unshare");
    if !geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let program = std::env::current_exe().expect("this program");
    let status = unshare.arg("--mount").arg(program).args(["--exact", test, "--nocapture"]).env(INSIDE, "1").status();
    assert!(status.expect("unshare").success(), "{test} failed in its namespace");
    false
}

/// A box whose data partition is small, and runs version 2.
fn a_box() -> Rig {
    let mut rig = Rig::new();
    let options = format!("size={SIZE}m,mode=711");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(rig.path("state")).status();
    assert!(mounted.expect("mount").success());
    rig.pick();
    stage(&mut rig, 2);
    rig.pick();
    rig.show(std::process::id(), "active");
    rig.trial();
    assert_eq!(rig.status().current.seq, Some(2));
    rig
}

fn stage(rig: &mut Rig, seq: u64) {
    rig.show(0, "active");
    rig.offer_release(seq);
    rig.inbox();
    assert_eq!(rig.refused(), None);
    rig.show(std::process::id(), "active");
}

/// Fills the partition but for so many MiB.
fn fill(rig: &Rig, left: u64) {
    let mut file = fs::File::create(filling(rig)).expect("made");
    let free = nix::sys::statvfs::statvfs(&rig.path("state")).expect("a file system");
    let (mut free, piece) = (free.blocks_available() * free.fragment_size(), vec![1; 1 << 16]);
    free -= left << 20;
    while free > 0 {
        let len = usize::try_from(free.min(1 << 16)).expect("short");
        file.write_all(&piece[..len]).expect("there is room");
        free -= len as u64;
    }
}

fn filling(rig: &Rig) -> std::path::PathBuf {
    rig.path("state/incoming").with_file_name("filling")
}

fn empty(rig: &Rig) {
    fs::remove_file(filling(rig)).expect("removed");
}

fn assert_nothing_new(rig: &Rig, words: &str) {
    let refused = rig.refused().unwrap_or_default();
    assert!(refused.contains(words), "{refused:?} does not say {words:?}");
    assert_eq!((rig.status().trial, rig.names("inbox")), (None, vec![]));
    assert_eq!(rig.names("state/incoming"), Vec::<String>::new());
    assert_eq!(rig.starts(), "0.2.0");
}

#[test]
fn nothing_is_installed_on_a_full_partition_and_it_is_afterwards() {
    if !is_inside("nothing_is_installed_on_a_full_partition_and_it_is_afterwards") {
        return;
    }
    let mut rig = a_box();
    fill(&rig, 0);
    rig.offer_release(3);
    rig.inbox();
    assert_nothing_new(&rig, "the data partition has 0 MiB free, and 65 MiB are needed to verify it");
    // The block that its file ends in takes some.
    let mut trouble = None;
    while trouble.is_none() {
        rig.ask_by(b"");
        rig.inbox();
        trouble = rig.status().trouble;
    }
    assert!(trouble.expect("trouble").contains("the audit takes no entries"));
    let told = rig.status().history.len();
    empty(&rig);
    rig.pick();
    let status = rig.status();
    assert_eq!((status.trouble, status.history.len()), (None, told));
    let audit = fs::read_to_string(rig.path("state/audit")).expect("an audit");
    assert_eq!(audit.lines().count(), told);
    stage(&mut rig, 3);
    rig.pick();
    assert_eq!(rig.starts(), "0.3.0");
}

#[test]
fn a_second_slot_needs_its_space() {
    if !is_inside("a_second_slot_needs_its_space") {
        return;
    }
    let mut rig = a_box();
    // Much that is packed to little.
    let mut binary = server("0.3.0", "").into_bytes();
    binary.resize(24 << 20, b'#');
    let packed = pack(&binary).expect("packed");
    let mut release = rig.release(3).0;
    (release.length, release.sha256) = (binary.len() as u64, Sha256::of(&binary));
    (release.packed_length, release.packed_sha256) = (packed.len() as u64, Sha256::of(&packed));
    fill(&rig, 70);
    rig.offer(&rig.bundle(&release, &packed));
    rig.inbox();
    assert_nothing_new(&rig, "and 88 MiB are needed to install it beside the present version");
}

#[test]
fn somebody_can_go_back_on_a_full_partition() {
    if !is_inside("somebody_can_go_back_on_a_full_partition") {
        return;
    }
    let mut rig = a_box();
    fill(&rig, 0);
    rig.go_back();
    rig.inbox();
    assert_eq!(rig.refused(), None);
    rig.pick();
    assert_eq!(rig.starts(), FACTORY);
    assert_eq!(rig.status().last.map(|last| last.outcome), Some(UpdateOutcome::WentBack));
}

#[test]
fn a_trial_on_a_full_partition_waits_and_no_crash_counts() {
    if !is_inside("a_trial_on_a_full_partition_waits_and_no_crash_counts") {
        return;
    }
    let mut rig = a_box();
    stage(&mut rig, 3);
    fill(&rig, 0);
    rig.pick();
    assert_eq!(rig.starts(), "0.3.0", "a start can be counted");
    for _ in 0..4 {
        assert!(rig.crash().said.contains("which does not count: the data partition is full"));
    }
    assert_eq!(rig.status().trial.expect("a trial").crashes_left, 2);
    for verdict in ["inconclusive", "failed"] {
        rig.verdict(verdict);
        let mut trial = rig.trial_command();
        let mut trial = trial.stderr(Stdio::piped()).spawn().expect("the updater runs");
        let said = BufReader::new(trial.stderr.take().expect("piped"));
        let words = if verdict == "failed" { "said by the test, which does not count" } else { "a probe says nothing" };
        let waits = said.lines().map(|line| line.expect("UTF-8")).take(20).any(|line| line.contains(words));
        trial.kill().expect("it still runs");
        trial.wait().expect("ended");
        assert!(waits, "{verdict}");
        assert!(rig.status().trial.is_some());
    }
    rig.verdict("passed");
    rig.trial();
    let status = rig.status();
    assert_eq!((status.current.seq, status.trial), (Some(3), None), "what it takes was there before");
    empty(&rig);
    rig.pick();
    let status = rig.status();
    assert_eq!((status.history[0].what.as_str(), status.trouble, status.ratchet.seq), ("confirmed", None, 3));
    assert!(Path::new(&rig.path("state/audit")).exists());
}

#[test]
fn a_full_partition_does_not_save_what_fails() {
    if !is_inside("a_full_partition_does_not_save_what_fails") {
        return;
    }
    let mut rig = a_box();
    stage(&mut rig, 3);
    fill(&rig, 0);
    for start in 1..=6 {
        rig.pick();
        assert_eq!(rig.starts(), "0.3.0", "start {start}");
        rig.crash();
    }
    rig.pick();
    assert_eq!(rig.starts(), "0.2.0");
    assert_eq!(rig.status().last.map(|last| last.outcome), Some(UpdateOutcome::RolledBack));
}
