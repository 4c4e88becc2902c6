//! A release that changes the database for good: only once it is confirmed, and from then on there is no way back.

use std::path::PathBuf;

use posthouse_protocol::update::{SlotKind, UpdateOutcome};
use posthouse_update_tests::bundles::Parts;
use posthouse_update_tests::fault::Fault;
use posthouse_update_tests::world::{SERVER, Timing};

use crate::builds::{CONFIRMED_WITHIN, outcome, taken_back};
use crate::stage::{Stage, left_out};

/// Where the server with the feature `next-schema` is.
const BUILD: &str = "POSTHOUSE_NEXT_BUILD";

/// What that one writes.
const SCHEMA: u32 = 3;

#[test]
fn there_is_no_way_back_from_a_confirmed_release_that_has_changed_the_database() {
    if left_out() {
        return;
    }
    let Some(build) = std::env::var_os(BUILD).map(PathBuf::from) else {
        return println!("LEFT OUT: {BUILD} names no server of the next schema (tests/run builds one)");
    };
    let parts = Parts::of(&build);
    let stage = Stage::set(&Timing::short());
    let world = &stage.world;
    stage.talks();

    // On trial it writes what the one before can read.
    world.push_schema(&parts.with(Fault::CrashAfterReady), SCHEMA);
    taken_back(world, "signal SEGV");
    world.settled();
    stage.talks();

    let hash = world.push_schema(&parts.with(Fault::None), SCHEMA);
    let confirmed = world.wait("confirmed update", CONFIRMED_WITHIN, |world| {
        world.slot_serves(&hash) && outcome(world) == Some(UpdateOutcome::Confirmed)
    });
    world.settled();
    assert_eq!(world.state().and_then(|state| state.previous).map(|before| before.kind), Some(SlotKind::Factory));
    stage.talks();

    stage.ask_to_go_back();
    let told = "there is no way back";
    world.wait("refusal", CONFIRMED_WITHIN, |world| {
        world.state().and_then(|state| state.refused).is_some_and(|refused| refused.reason.contains(told))
    });
    world.settled();
    assert!(world.slot_serves(&hash), "the box goes on with what it has");
    stage.talks();

    let said = "from now on the database needs a posthoused of this schema";
    world.wait("change for good", CONFIRMED_WITHIN, |world| !world.supervisor().journal().with(said).is_empty());

    // The card loses the release: what came with the image can't read the database, and says so instead of touching it.
    let slot = world.path("/var/lib/posthouse-updater/slots").join(&hash).join("posthoused");
    world.supervisor().control(&["stop", SERVER]);
    let kept = std::fs::read(&slot).expect("the slot");
    std::fs::write(&slot, &kept[..kept.len() / 2]).expect("damaged");
    world.supervisor().control(&["start", "--no-block", SERVER]);
    world.wait("rescue page", CONFIRMED_WITHIN, |world| {
        let page = world.page("/");
        world.is_factory() && page.contains("503") && page.contains("newer") && page.contains("USB stick")
    });

    // The next release is welcome all the same, and finds everything.
    let next = world.push_schema(&parts.salted(Fault::None, "next"), SCHEMA);
    world.wait("way out", CONFIRMED_WITHIN, |world| {
        world.slot_serves(&next) && outcome(world) == Some(UpdateOutcome::Confirmed)
    });
    stage.talks();
    let (_, counts) = stage.end();
    println!("a release of schema {SCHEMA}: confirmed after {:.1} s; {counts}", confirmed.as_secs_f64());
}
