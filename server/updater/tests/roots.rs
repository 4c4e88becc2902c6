//! Whom a box trusts: what its image brought, what a confirmed release brought, what another image brings.

#![cfg(target_os = "linux")]

mod rig;
mod world;

use std::fs;

use posthouse_updater::{ImageRelease, SignedDocument};
use rig::Rig;
use world::World;

/// Tries what was offered, and confirms it.
fn carry_out(rig: &mut Rig) {
    rig.show(0, "active");
    rig.inbox();
    assert_eq!(rig.refused(), None);
    rig.pick();
    rig.show(std::process::id(), "active");
    rig.trial();
    assert_eq!(rig.status().trial, None);
}

fn a_box() -> Rig {
    let mut rig = Rig::new();
    rig.pick();
    rig.offer_release(2);
    carry_out(&mut rig);
    rig
}

/// The box is flashed with an image that has this root, and keeps its data partition.
fn flash(rig: &mut Rig, root: &SignedDocument) {
    fs::write(rig.path("root"), serde_json::to_vec(root).expect("JSON")).expect("written");
    rig.pick();
}

/// The image's server is of this release.
fn release_of_image(rig: &Rig, generation: u32, seq: u64) {
    let version = "0.9.0".to_owned().try_into().expect("a version");
    let release = ImageRelease { generation, ..ImageRelease::of(&rig.world.root, version, seq) };
    fs::write(rig.path("factory-release"), serde_json::to_vec(&release).expect("JSON")).expect("written");
}

/// The people after those of this world, and the root by which they follow.
fn next(world: &World, generation: u32) -> (World, SignedDocument) {
    let mut next = world.successor(&world.root, world.root.version + 1);
    (next.root.generation, next.root.test) = (generation, false);
    let document = World::signed_by_both(world, &next, &next.root);
    (next, document)
}

#[test]
fn a_root_that_comes_with_a_release_counts_once_that_is_confirmed() {
    let mut rig = a_box();
    let (people, root) = next(&rig.world, 1);
    let (release, packed) = rig.release(3);
    let bundle = people.bundle_of(&[root], people.signed_release(&release, &[0, 1]), &packed);
    rig.show(0, "active");
    rig.offer(&bundle);
    rig.inbox();
    assert_eq!((rig.refused(), rig.status().root.version), (None, 1));
    rig.pick();
    rig.show(std::process::id(), "active");
    rig.trial();
    let status = rig.status();
    assert_eq!((status.root.version, status.ratchet.seq, status.current.signed_by.len()), (2, 3, 2));
    // Those before have no say any more.
    rig.offer_release(4);
    rig.inbox();
    assert!(rig.refused().expect("refused").contains("0 of 2 needed keys"));
    // It stays so, also beside the older root of an image.
    rig.pick();
    assert_eq!((rig.status().root.version, rig.status().trouble), (2, None));
}

#[test]
fn an_image_with_the_next_root_brings_it_along() {
    let mut rig = a_box();
    let (people, root) = next(&rig.world, 1);
    flash(&mut rig, &root);
    assert_eq!((rig.status().root.version, rig.status().trouble), (2, None));
    assert_eq!(rig.status().ratchet.seq, 2, "what was installed is not forgotten");
    rig.world = people;
    rig.offer_release(3);
    carry_out(&mut rig);
    assert_eq!(rig.status().current.seq, Some(3));
}

#[test]
fn an_image_with_a_new_generation_needs_nobody_s_consent() {
    let mut rig = a_box();
    let mut people = World::new();
    (people.root.version, people.root.generation, people.root.test) = (1, 2, false);
    let root = people.signed_root(&people.root, &[0, 1]);
    flash(&mut rig, &root);
    assert_eq!((rig.status().root.generation, rig.status().trouble), (2, None));
    rig.world = people;
    let (mut release, packed) = rig.release(1);
    release.generation = 2;
    rig.offer(&rig.bundle(&release, &packed));
    carry_out(&mut rig);
    let ratchet = rig.status().ratchet;
    assert_eq!((ratchet.generation, ratchet.seq), (2, 1));
}

#[test]
fn an_image_of_strangers_changes_nothing_and_is_told() {
    let mut rig = a_box();
    for version in [1, 2, 5] {
        let mut strangers = World::new();
        (strangers.root.version, strangers.root.test) = (version, false);
        let root = strangers.signed_root(&strangers.root, &[0, 1]);
        flash(&mut rig, &root);
        assert_eq!((rig.starts().as_str(), rig.status().root.version), ("0.2.0", 1));
        let trouble = rig.status().trouble.expect("trouble");
        assert!(trouble.contains("the image's root does not count beside the one that is kept"), "{trouble}");
    }
}

#[test]
fn without_a_root_nothing_is_installed_and_everything_else_goes_on() {
    let mut rig = Rig::new();
    fs::remove_file(rig.path("root")).expect("removed");
    assert!(rig.pick().is_success);
    assert!(rig.status().trouble.expect("trouble").contains("cannot read the root"));
    rig.offer_release(2);
    rig.inbox();
    assert!(rig.refused().expect("refused").contains("cannot read the root"));
}

#[test]
fn nothing_older_than_the_image_s_own_server_is_installed() {
    let mut rig = Rig::new();
    release_of_image(&rig, 1, 5);
    rig.pick();
    let status = rig.status();
    assert_eq!((status.ratchet.generation, status.ratchet.seq, status.current.seq), (1, 5, Some(5)));
    for seq in [4, 5] {
        rig.offer_release(seq);
        rig.inbox();
        let refused = rig.refused().expect("refused");
        assert!(refused.ends_with("is not newer than seq 5, which this box has had already"), "{refused}");
    }
    rig.offer_release(6);
    carry_out(&mut rig);
    // Nor by another image, be it older or newer.
    for (image, ratchet) in [(3, 6), (8, 8), (5, 8)] {
        release_of_image(&rig, 1, image);
        rig.pick();
        assert_eq!((rig.status().ratchet.seq, rig.status().trouble), (ratchet, None), "image {image}");
    }
    assert_eq!(rig.starts(), "0.6.0", "what is installed goes on running");
}

#[test]
fn an_image_that_was_never_released_keeps_nothing_out() {
    let mut rig = Rig::new();
    release_of_image(&rig, 1, 0);
    rig.offer_release(1);
    carry_out(&mut rig);
    // A generation that the root does not know would keep out everything.
    release_of_image(&rig, 2, 9);
    rig.pick();
    assert_eq!((rig.status().ratchet.generation, rig.status().ratchet.seq), (1, 1));
    fs::write(rig.path("factory-release"), "odd").expect("written");
    assert!(rig.pick().is_success);
    let trouble = rig.status().trouble.expect("trouble");
    assert!(trouble.contains("cannot read which release the image has"), "{trouble}");
    rig.offer_release(2);
    carry_out(&mut rig);
}
