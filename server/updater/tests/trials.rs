//! A trial ends in one of two ways, and the box runs something that works all along.

mod world;

use posthouse_updater::{InstalledSlot, Record, Slot, State, StateError, TRIAL_CRASHES, TRIAL_STARTS, Verdict};
use world::World;

fn slot(seq: u64) -> InstalledSlot {
    let mut release = World::new().release(seq);
    release.sha256 = posthouse_updater::Sha256::of(&seq.to_le_bytes());
    InstalledSlot::of(&release)
}

fn staged(seq: u64) -> State {
    let mut state = State::new();
    state.stage(slot(seq)).expect("nothing else is tried");
    state
}

#[test]
fn what_is_confirmed_stays_and_what_was_there_can_be_gone_back_to() {
    let mut state = staged(2);
    assert_eq!(state.pick(), Slot::Installed(slot(2)));
    state.confirm().unwrap();
    assert_eq!(state.pick(), Slot::Installed(slot(2)));
    assert_eq!(state.previous, Some(Slot::Factory));
    state.go_back(&World::new().trust(), 1, 0).unwrap();
    assert_eq!(state.pick(), Slot::Factory);
    assert_eq!(state.previous, Some(Slot::Installed(slot(2))));
}

#[test]
fn crashes_end_a_trial_and_the_binary_is_not_tried_again() {
    let mut state = staged(2);
    for crash in 1..=TRIAL_CRASHES {
        assert_eq!(state.pick(), Slot::Installed(slot(2)), "crash {crash}");
        assert_eq!(state.crashed("it was killed by signal 11"), crash == TRIAL_CRASHES);
    }
    assert_eq!(state.pick(), Slot::Factory);
    let reason = "it was killed by signal 11".to_owned();
    assert_eq!(state.last, Some(Verdict::RolledBack { version: slot(2).version, reason: reason.clone() }));
    assert_eq!(state.stage(slot(2)), Err(StateError::Quarantined(reason)));
    state.stage(slot(3)).unwrap();
}

#[test]
fn power_cuts_alone_end_a_trial_only_after_several_starts() {
    let mut state = staged(2);
    for start in 1..=TRIAL_STARTS {
        assert_eq!(state.pick(), Slot::Installed(slot(2)), "start {start}");
    }
    assert_eq!(state.pick(), Slot::Factory);
    assert_eq!(state.trial, None);
    // Without a trial a crash is none of the updater's business.
    assert!(!state.crashed("out of memory"));
    assert_eq!(state.pick(), Slot::Factory);
}

#[test]
fn one_trial_at_a_time_and_nothing_to_end_without_one() {
    let mut state = staged(2);
    assert_eq!(state.stage(slot(3)), Err(StateError::TrialUnderWay(slot(2).version)));
    assert_eq!(state.go_back(&World::new().trust(), 1, 0), Err(StateError::TrialUnderWay(slot(2).version)));
    state.confirm().unwrap();
    assert_eq!(state.confirm(), Err(StateError::NoTrial));
    assert_eq!(state.give_up("no answer"), Err(StateError::NoTrial));
    assert_eq!(state.stage(slot(2)), Err(StateError::Present(slot(2).version)));
    assert_eq!(State::new().go_back(&World::new().trust(), 1, 0), Err(StateError::NoPrevious));
}

#[test]
fn nobody_goes_back_to_what_must_not_run_or_cannot_read() {
    let world = World::new();
    let mut floor = world.release(3);
    floor.min_seq = 3;
    let mut state = staged(2);
    state.confirm().unwrap();
    state.stage(slot(3)).unwrap();
    state.confirm().unwrap();
    assert_eq!(state.go_back(&world.trust().confirmed(&floor), 1, 0), Err(StateError::BelowRatchet));

    let mut newer = slot(4);
    (newer.schema, newer.min_reader) = (5, 2);
    state.stage(newer).unwrap();
    state.confirm().unwrap();
    assert_eq!(state.go_back(&world.trust(), 1, 0), Err(StateError::Unreadable { reads: 1, needs: 2 }));

    // What was signed would allow it; what the version did after it was confirmed does not.
    let mut state = staged(2);
    state.confirm().unwrap();
    assert_eq!(state.go_back(&world.trust(), 1, 2), Err(StateError::Unreadable { reads: 1, needs: 2 }));
    state.go_back(&world.trust(), 1, 1).unwrap();
}

#[test]
fn a_state_comes_back_from_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = staged(2);
    state.pick();
    state.crashed("signal 6");
    state.give_up("it never answered").unwrap();
    state.stage(slot(3)).unwrap();
    let (mut record, none) = Record::<State>::open(folder.path(), "state").unwrap();
    assert_eq!(none, None);
    record.write(&state).unwrap();
    assert_eq!(Record::<State>::open(folder.path(), "state").unwrap().1, Some(state));
}
