//! What a box does with bad input: one clear line, and everything is as it was.

#![cfg(target_os = "linux")]

mod rig;
mod world;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use posthouse_protocol::update::UpdateRequest;
use posthouse_updater::{Sha256, pack};
use rig::{Rig, server};

const FACTORY: &str = env!("CARGO_PKG_VERSION");

/// A box that runs version 2, confirmed.
fn a_box() -> Rig {
    let mut rig = Rig::new();
    rig.pick();
    install(&mut rig, 2);
    rig
}

fn install(rig: &mut Rig, seq: u64) {
    stage(rig, seq);
    rig.trial();
    assert_eq!(rig.status().current.seq, Some(seq));
    rig.asked();
}

fn stage(rig: &mut Rig, seq: u64) {
    rig.show(0, "active");
    rig.offer_release(seq);
    assert!(rig.inbox().is_success);
    assert_eq!(rig.refused(), None);
    rig.pick();
    rig.show(std::process::id(), "active");
}

/// The request is refused with these words, and nothing else has come of it.
fn assert_refused(rig: &mut Rig, words: &str) {
    let before = rig.status();
    rig.asked();
    let run = rig.inbox();
    let refused = rig.refused().unwrap_or_default();
    assert!(refused.contains(words), "{refused:?} does not say {words:?}");
    assert!(!refused.contains('\n') && run.said.contains(&format!("refused: {refused}")), "{}", run.said);
    let after = rig.status();
    assert_eq!((&after.current, &after.previous, &after.trial), (&before.current, &before.previous, &before.trial));
    assert_eq!((after.ratchet, &after.root), (before.ratchet, &before.root));
    assert_eq!((after.history[0].what.as_str(), &after.history[0].reason), ("refused", &Some(refused)));
    assert_eq!((rig.names("inbox"), rig.names("state/incoming")), (vec![], vec![]));
    assert_eq!(rig.asked(), Vec::<String>::new(), "nothing is started");
}

#[test]
fn requests_that_are_none_are_refused_and_removed() {
    let mut rig = a_box();
    let unknown = "the request is none that this box knows";
    for text in ["", "{}", r#"{"request":"format","by":"mallory"}"#, r#"{"request":"install","by":"mallory"}"#] {
        rig.ask_by(text.as_bytes());
        assert_refused(&mut rig, unknown);
    }
    rig.ask_by(&vec![b' '; 100_000]);
    assert_refused(&mut rig, "the request is longer than 4096 bytes");
    for bundle in ["../../etc/passwd", "AB", ""] {
        rig.ask(&UpdateRequest::Install { bundle: bundle.to_owned(), by: "mallory".to_owned() });
        assert_refused(&mut rig, "the request names its bundle by no SHA-256");
    }
    rig.ask(&UpdateRequest::Install { bundle: Sha256::of(b"nothing").to_string(), by: "anna".to_owned() });
    assert_refused(&mut rig, "the bundle is not in the inbox any more");
}

#[test]
fn nothing_but_files_is_read_from_the_inbox() {
    let mut rig = a_box();
    let secret = rig.path("secret");
    fs::write(&secret, "of root's").expect("written");
    symlink(&secret, rig.path("inbox/request")).expect("linked");
    assert_refused(&mut rig, "the request can't be read");
    fs::create_dir(rig.path("inbox/request")).expect("made");
    assert_refused(&mut rig, "the request is not a file");
    assert!(Command::new("mkfifo").arg(rig.path("inbox/request")).status().expect("mkfifo").success());
    assert_refused(&mut rig, "the request is not a file");
    let hash = Sha256::of(b"of root's");
    let ask = |rig: &Rig| rig.ask(&UpdateRequest::Install { bundle: hash.to_string(), by: "mallory".to_owned() });
    symlink(&secret, rig.path(&format!("inbox/{hash}.phb"))).expect("linked");
    ask(&rig);
    assert_refused(&mut rig, "the bundle can't be read");
    assert!(secret.exists());
    fs::write(rig.path(&format!("inbox/{hash}.phb")), "something else").expect("written");
    ask(&rig);
    assert_refused(&mut rig, "the bundle has changed since it was asked for");
}

#[test]
fn bundles_that_are_not_signed_for_this_box_are_refused_before_anything_is_run() {
    let mut rig = a_box();
    rig.offer(b"no bundle");
    assert_refused(&mut rig, "this is no Posthouse update");
    let (release, packed) = rig.release(3);
    let whole = rig.bundle(&release, &packed);
    let (last, most) = (whole.len() - 1, whole.len() / 2);
    for (words, change) in [("is not the one that was signed", (last, 1)), ("keys have signed it", (60, 1))] {
        let mut flipped = whole.clone();
        flipped[change.0] ^= change.1;
        rig.offer(&flipped);
        assert_refused(&mut rig, words);
    }
    for cut in [0, 8, most, last] {
        rig.offer(&whole[..cut]);
        let run = rig.inbox();
        assert!(rig.status().trial.is_none() && run.said.contains("refused: "), "cut at {cut}: {}", run.said);
    }
    rig.offer(&[whole.as_slice(), b"x"].concat());
    assert_refused(&mut rig, "bytes or more");
    let one = rig.world.signed_release(&release, &[0]);
    rig.offer(&rig.world.bundle_of(&[], one, &packed));
    assert_refused(&mut rig, "1 of 2 needed keys have signed it");
    for (words, other) in [("arch", "riscv64"), ("channel", "beta")] {
        let mut release = release.clone();
        *(if words == "arch" { &mut release.arch } else { &mut release.channel }) = other.to_owned();
        rig.offer(&rig.bundle(&release, &packed));
        assert_refused(&mut rig, &format!("the release is for {words} {other:?}"));
    }
    // The channel is what root's file says.
    fs::write(rig.path("settings"), r#"{"updates":{"channel":"beta"}}"#).expect("written");
    rig.offer(&whole);
    assert_refused(&mut rig, "the release is for channel \"stable\", and this box for \"beta\"");
    fs::remove_file(rig.path("settings")).expect("removed");
    rig.offer_release(2);
    assert_refused(&mut rig, "is not newer than seq 2");
    rig.offer_release(1);
    assert_refused(&mut rig, "is not newer than seq 2");
}

/// Signed by its people, and not fit to be tried.
fn offer_binary(rig: &Rig, binary: &[u8], change: impl Fn(&mut posthouse_updater::Release)) {
    let mut release = rig.release(3).0;
    let packed = pack(binary).expect("packed");
    (release.length, release.sha256) = (binary.len() as u64, Sha256::of(binary));
    (release.packed_length, release.packed_sha256) = (packed.len() as u64, Sha256::of(&packed));
    change(&mut release);
    rig.offer(&rig.bundle(&release, &packed));
}

#[test]
fn binaries_that_do_not_run_here_or_are_something_else_are_refused() {
    let mut rig = a_box();
    let same = |_: &mut posthouse_updater::Release| {};
    let program = fs::read("/proc/self/exe").expect("this program");
    offer_binary(&rig, &program[..4096], same);
    assert_refused(&mut rig, "it does not run on this box: it is cut off: it has 4096 bytes and needs ");
    // ELF for another machine: e_machine is at 18, and 0xF3 is RISC-V.
    let mut foreign = program[..65536].to_vec();
    foreign[18] = 0xF3;
    offer_binary(&rig, &foreign, same);
    assert_refused(&mut rig, "it is made for another kind of machine (riscv) than this box");
    offer_binary(&rig, b"echo not by a shell", same);
    assert_refused(&mut rig, "it is no program that a box can run");
    offer_binary(&rig, b"#!/bin/sh\nexec sleep 60\n", same);
    assert_refused(&mut rig, "its check of itself did not end within 10s");
    offer_binary(&rig, b"#!/bin/sh\nexec yes\n", same);
    assert_refused(&mut rig, "it does not run on this box: signal: ");
    offer_binary(&rig, b"#!/bin/sh\necho hello\n", same);
    assert_refused(&mut rig, "its check says \"hello\"");
    offer_binary(&rig, server("0.3.1", "").as_bytes(), same);
    assert_refused(&mut rig, "it says of itself \"0.3.1\"");
    offer_binary(&rig, server("0.3.0", "").as_bytes(), |release| (release.schema, release.min_reader) = (3, 2));
    assert_refused(&mut rig, "install a version between them first");
    assert_eq!(rig.names("state/slots").len(), 1);
}

#[test]
fn one_update_at_a_time() {
    let mut rig = a_box();
    stage(&mut rig, 3);
    rig.offer_release(4);
    assert_refused(&mut rig, "version 0.3.0 is being tried: wait for its verdict");
    rig.go_back();
    assert_refused(&mut rig, "version 0.3.0 is being tried: wait for its verdict");
    // While a request is being carried out, a second updater does nothing.
    rig.offer_release(4);
    let turn = fs::File::open(rig.path("state/turn")).expect("there");
    turn.lock().expect("locked");
    let run = rig.inbox();
    assert!(
        !run.is_success && run.said.ends_with("another request is being carried out: wait for it\n"),
        "{}",
        run.said
    );
    assert!(rig.path("inbox/request").exists());
    drop(turn);
    assert_refused(&mut rig, "is being tried");
}

#[test]
fn nobody_goes_back_where_there_is_nothing() {
    let mut rig = Rig::new();
    rig.pick();
    rig.go_back();
    assert_refused(&mut rig, "there is no version to go back to");
}

#[test]
fn nobody_goes_back_below_the_ratchet() {
    let mut rig = a_box();
    let (mut release, packed) = rig.release(3);
    release.min_seq = 3;
    rig.show(0, "active");
    rig.offer(&rig.bundle(&release, &packed));
    rig.inbox();
    rig.pick();
    rig.show(std::process::id(), "active");
    rig.trial();
    assert_eq!(rig.status().ratchet.min_seq, 3);
    rig.go_back();
    assert_refused(&mut rig, "below what may be gone back to");
}

#[test]
fn a_request_that_was_interrupted_twice_is_refused() {
    let mut rig = a_box();
    let request = br#"{"request":"rollback","by":"anna"}"#;
    fs::write(rig.path(&format!("state/incoming/request.{}.again", Sha256::of(request))), request).expect("written");
    assert_refused(&mut rig, "it was interrupted twice");
}

#[test]
fn damaged_records_let_the_factory_s_version_run_and_say_so() {
    let mut rig = a_box();
    for twin in ["a", "b"] {
        fs::write(rig.path(&format!("state/state.{twin}")), "garbage").expect("written");
    }
    assert!(rig.pick().is_success);
    assert_eq!(rig.starts(), FACTORY);
    let trouble = rig.status().trouble.expect("trouble");
    assert_eq!((rig.asked(), rig.names("state/slots").len()), (vec![], 1), "nobody knows what is needed");
    assert!(trouble.contains("damaged") && trouble.contains("the server that came with the image runs"), "{trouble}");
    // Whom to trust is kept apart from that, so what this box had already is not taken again.
    rig.offer_release(2);
    rig.inbox();
    assert!(rig.refused().expect("refused").contains("is not newer than seq 2"));
    install(&mut rig, 3);
    assert_eq!((rig.starts().as_str(), rig.status().trouble), ("0.3.0", None));
}

#[test]
fn a_slot_that_the_card_has_damaged_is_not_run() {
    let mut rig = a_box();
    install(&mut rig, 3);
    let slot = rig.status().current.sha256.expect("installed");
    let program = rig.path(&format!("state/slots/{slot}/posthoused"));
    let mut bytes = fs::read(&program).expect("there");
    bytes[100] ^= 1;
    fs::write(&program, bytes).expect("written");
    assert!(rig.pick().is_success);
    assert_eq!(rig.starts(), "0.2.0");
    let last = rig.status().last.and_then(|last| last.reason).expect("a reason");
    assert!(last.contains("the card has damaged it"), "{last}");
}

#[test]
fn whoever_cannot_write_still_starts_what_was_confirmed() {
    let mut rig = a_box();
    // Root may write whatever modes say: something else stands where the lock should be.
    fs::remove_file(rig.path("state/lock")).expect("removed");
    fs::create_dir(rig.path("state/lock")).expect("made");
    assert!(rig.pick().is_success);
    assert_eq!(rig.starts(), "0.2.0");
    assert!(rig.status().trouble.expect("trouble").contains("nothing can be installed"));
    // And without a data partition there is nothing but what the image brings.
    fs::remove_dir_all(rig.path("state")).expect("removed");
    fs::write(rig.path("state"), "no folder").expect("written");
    assert!(rig.pick().is_success);
    assert_eq!(rig.starts(), FACTORY);
    assert!(rig.status().trouble.is_some());
}

#[test]
fn test_keys_do_not_count() {
    let mut rig = Rig::new();
    rig.world.root.test = true;
    let root = rig.world.signed_root(&rig.world.root, &[0, 1]);
    fs::write(rig.path("root"), serde_json::to_vec(&root).expect("JSON")).expect("written");
    rig.pick();
    rig.offer_release(2);
    if cfg!(feature = "test-keys") {
        rig.inbox();
        assert_eq!(rig.refused(), None);
    } else {
        assert_refused(&mut rig, "the root is one of test keys");
    }
}

#[test]
fn a_clock_ten_years_off_changes_nothing() {
    // The clock is what a file's age is told by: of the program, which knows when it was built, and of an upload.
    for (offset, is_told, part_stays) in [("10 years", false, true), ("10 years ago", true, false)] {
        let mut rig = Rig::new();
        rig.updater = rig.path("updater");
        fs::copy(env!("CARGO_BIN_EXE_posthouse-updater"), &rig.updater).expect("copied");
        let part = rig.path("inbox/upload.part");
        fs::write(&part, "half").expect("written");
        for file in [&rig.updater, &part] {
            let touched = Command::new("touch").arg("--date").arg(offset).arg(file).status();
            assert!(touched.expect("touch").success());
        }
        rig.pick();
        install(&mut rig, 2);
        rig.go_back();
        assert!(rig.inbox().is_success);
        rig.pick();
        assert_eq!(rig.starts(), FACTORY, "{offset}");
        // No time is told rather than one from before the program was built.
        assert_eq!(rig.status().history[0].at_ms.is_some(), is_told);
        assert_eq!(part.exists(), part_stays);
    }
}

#[test]
fn an_audit_that_was_changed_shows_it() {
    let mut rig = a_box();
    let path = rig.path("state/audit");
    let text = fs::read_to_string(&path).expect("an audit");
    fs::write(&path, text.replace("anna", "nobody")).expect("written");
    rig.pick();
    let trouble = rig.status().trouble.expect("trouble");
    assert!(trouble.contains("the audit was changed"), "{trouble}");
}
