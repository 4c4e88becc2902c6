//! What is not exactly what the right people have signed is refused, whatever was done to it.

mod world;

use posthouse_updater::{
    BundleError, Kind, PRODUCT, Ratchet, Release, Root, RootError, Sha256, SignedDocument, TrustError,
};
use world::{ARCH, CHANNEL, Refusal, World};

/// Applies `change` to the release before it is signed by everybody, and gives what the box says of the bundle.
fn with_release(change: impl FnOnce(&mut Release)) -> Result<Vec<u8>, Refusal> {
    let world = World::new();
    let mut release = world.release(2);
    change(&mut release);
    let document = world.signed_release(&release, &[0, 1, 2]);
    world.install(&world.bundle_of(&[], document, &world.packed))
}

fn refusal(result: Result<Vec<u8>, Refusal>) -> String {
    result.expect_err("refused").to_string()
}

#[test]
fn what_was_signed_is_taken_to_the_byte() {
    let world = World::new();
    assert_eq!(world.install(&world.bundle(2)).unwrap(), world.binary);
}

#[test]
fn no_byte_of_a_bundle_can_be_another() {
    let world = World::new();
    let bundle = world.bundle(2);
    let mut refused = 0;
    for place in 0..bundle.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut tampered = bundle.clone();
            tampered[place] ^= flip;
            match world.install(&tampered) {
                Err(_) => refused += 1,
                Ok(_) => assert!(world.is_spare_signature(place), "byte {place} flipped by {flip:#x} is taken"),
            }
        }
    }
    println!(
        "{refused} of {} flipped bytes refused; the others are in the third signature, where two suffice",
        bundle.len() * 3
    );
    assert!(refused > bundle.len() * 2);
}

#[test]
fn no_bundle_is_shorter_or_longer_than_signed() {
    let world = World::new();
    let bundle = world.bundle(2);
    for len in 0..bundle.len() {
        assert!(world.install(&bundle[..len]).is_err(), "{len} of {} bytes are taken", bundle.len());
    }
    println!("{} of {} truncated bundles refused", bundle.len(), bundle.len());
    let longer = [&bundle[..], b"x"].concat();
    assert!(matches!(world.install(&longer), Err(Refusal::Bundle(BundleError::Length { .. }))));
}

#[test]
fn an_endless_bundle_ends_after_what_was_signed() {
    let world = World::new();
    let bundle = world.bundle(2);
    let mut read = 0;
    let result = world.install_from(world::Endless::new(&bundle, &mut read));
    assert!(matches!(result, Err(Refusal::Bundle(BundleError::Length { .. }))));
    assert!(read <= bundle.len() + 64 * 1024, "{read} bytes were read");
}

#[test]
fn parts_of_two_bundles_make_no_third() {
    let world = World::new();
    let other = World { binary: vec![7; 3000], ..World::like(&world) }.repacked();
    let (release, theirs) = (world.signed_release(&world.release(2), &[0, 1]), &other.packed);
    let swapped = world.bundle_of(&[], release, theirs);
    let said = refusal(world.install(&swapped));
    assert!(said.contains("were signed") || said.contains("not the one that was signed"), "{said}");
}

#[test]
fn fewer_keys_than_the_threshold_are_not_enough() {
    let world = World::new();
    let release = world.release(2);
    for signers in [&[][..], &[0], &[2]] {
        let bundle = world.bundle_of(&[], world.signed_release(&release, signers), &world.packed);
        let said = refusal(world.install(&bundle));
        assert_eq!(said, format!("the release is not trusted: {} of 2 needed keys have signed it", signers.len()));
    }
}

#[test]
fn one_key_is_counted_once_however_often_it_signs() {
    let world = World::new();
    let mut content = world.signed_release(&world.release(2), &[0]).encode();
    // The same signature three times, which no signing tool would write.
    let signature = content[content.len() - 96..].to_vec();
    let count = content.len() - 97;
    content[count] = 3;
    content.extend([&signature[..], &signature].concat());
    let (document, rest) = SignedDocument::decode(&content).unwrap();
    assert_eq!((document.signatures().len(), rest.len()), (3, 0));
    let said = refusal(world.install(&world.bundle_of(&[], document, &world.packed)));
    assert_eq!(said, "the release is not trusted: 1 of 2 needed keys have signed it");
}

#[test]
fn a_root_in_which_a_key_stands_twice_is_none() {
    let world = World::new();
    let mut root = world.root.clone();
    root.keys[1] = root.keys[0].clone();
    let document = world.signed_root(&root, &[0, 2]);
    let error = Root::of_image(&document).unwrap_err();
    assert!(error.to_string().contains("stands there twice"), "{error}");
}

#[test]
fn a_strangers_signatures_do_not_count() {
    let (world, stranger) = (World::new(), World::new());
    let release = stranger.signed_release(&stranger.release(2), &[0, 1, 2]);
    let said = refusal(world.install(&world.bundle_of(&[], release, &stranger.packed)));
    assert_eq!(said, "the release is not trusted: 0 of 2 needed keys have signed it");
}

#[test]
fn a_signature_on_a_root_is_none_on_a_release() {
    let world = World::new();
    let release = serde_json::to_vec(&world.release(2)).unwrap();
    let mut document = SignedDocument::new(release).unwrap();
    for key in &world.keys {
        document.sign(Kind::Root, key).unwrap();
    }
    let said = refusal(world.install(&world.bundle_of(&[], document, &world.packed)));
    assert_eq!(said, "the release is not trusted: 0 of 2 needed keys have signed it");
}

#[test]
fn a_signature_over_a_part_of_the_release_is_none() {
    let world = World::new();
    let whole = serde_json::to_vec(&world.release(2)).unwrap();
    for part in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &[][..]] {
        let mut of_part = SignedDocument::new(part.to_vec()).unwrap();
        for key in &world.keys {
            of_part.sign(Kind::Release, key).unwrap();
        }
        let mut document = SignedDocument::new(whole.clone()).unwrap();
        for signature in of_part.signatures() {
            document.add(signature.clone()).unwrap();
        }
        assert!(world.install(&world.bundle_of(&[], document, &world.packed)).is_err(), "{} bytes", part.len());
    }
}

#[test]
fn what_a_box_had_already_is_not_taken_again() {
    let world = World::new();
    let confirmed = world.trust().confirmed(&world.release(5));
    for seq in [1, 4, 5] {
        let said = refusal(world.install_with(&confirmed, &world.bundle(seq)));
        assert!(said.contains("is not newer than seq 5"), "{said}");
    }
    world.install_with(&confirmed, &world.bundle(6)).unwrap();
}

#[test]
fn the_wrong_product_machine_or_channel_is_refused() {
    for (change, says) in [
        (set(|release| release.product = "teahouse".to_owned()), "of the product \"teahouse\""),
        (set(|release| release.arch = "x86".to_owned()), "for arch \"x86\", and this box for"),
        (set(|release| release.channel = "nightly".to_owned()), "for channel \"nightly\", and this box for"),
        (set(|release| release.generation = 2), "of generation 2, the trusted root of 1"),
        (set(|release| release.min_seq = 9), "min_seq 9 is above its own seq 2"),
        (set(|release| release.min_reader = 9), "min_reader 9 is above its own schema 1"),
        (set(|release| release.length = u64::MAX), "18446744073709551615 bytes"),
        (set(|release| release.packed_length = 0), "packed 0"),
        (set(|release| release.length += 1), "bytes or more, and"),
        (set(|release| release.length -= 1), "bytes or more, and"),
        (set(|release| release.sha256 = Sha256::of(b"")), "binary is not the one that was signed"),
        (set(|release| release.packed_sha256 = Sha256::of(b"")), "packed binary is not the one that was signed"),
    ] {
        let said = refusal(with_release(change));
        assert!(said.contains(says), "{said}: {says}");
    }
    assert_eq!((PRODUCT, CHANNEL, ARCH), ("posthouse", "stable", "aarch64"));
}

fn set(change: fn(&mut Release)) -> fn(&mut Release) {
    change
}

#[test]
fn a_bomb_is_not_unpacked_past_what_was_signed() {
    let world = World { binary: vec![0; 50_000_000], ..World::new() }.repacked();
    let mut release = world.release(2);
    release.length = 1000;
    let document = world.signed_release(&release, &[0, 1]);
    let result = world.install(&world.bundle_of(&[], document, &world.packed));
    assert!(matches!(result, Err(Refusal::Bundle(BundleError::Length { found: 1001, signed: 1000 }))), "{result:?}");
}

#[test]
fn roots_are_followed_one_by_one_and_by_both_their_keys() {
    let world = World::new();
    let (two, three) = (world.successor(&world.root, 2), world.successor(&world.root, 3));
    let old_keys = world.signed_root(&two.root, &[0, 1]);
    let new_keys = two.signed_root(&two.root, &[0, 1]);
    let both = World::signed_by_both(&world, &two, &two.root);
    let release = |by: &World| by.signed_release(&by.release(2), &[0, 1]);

    for (roots, says) in [
        (vec![], "0 of 2 needed keys"),
        (vec![old_keys], "root 2 is not trusted by its own keys"),
        (vec![new_keys], "root 2 is not trusted by the root before it"),
    ] {
        let said = refusal(world.install(&world.bundle_of(&roots, release(&two), &two.packed)));
        assert!(said.contains(says), "{said}: {says}");
    }
    world.install(&world.bundle_of(std::slice::from_ref(&both), release(&two), &two.packed)).unwrap();

    let gap = World::signed_by_both(&world, &three, &three.root);
    let result = world.install(&world.bundle_of(&[gap], release(&three), &three.packed));
    let Err(Refusal::Trust(TrustError::Root(error))) = result else { panic!("{result:?}") };
    assert_eq!(error, RootError::Gap { trusted: 1, found: 3 });

    // The keys of the first root count no more.
    let after = world.trust().follow(&[both]).unwrap();
    let said = refusal(world.install_with(&after, &world.bundle(3)));
    assert_eq!(said, "the release is not trusted: 0 of 2 needed keys have signed it");
}

#[test]
fn a_new_generation_counts_anew_and_an_old_one_is_over() {
    let world = World::new();
    let far = world.trust().confirmed(&world.release(1_000_000));
    let mut two = world.successor(&world.root, 2);
    two.root.generation = 2;
    let both = World::signed_by_both(&world, &two, &two.root);
    let mut release = two.release(1);
    release.generation = 2;
    let bundle = two.bundle_of(&[both], two.signed_release(&release, &[0, 1]), &two.packed);
    two.install_with(&far, &bundle).unwrap();

    let after = far.follow(&[World::signed_by_both(&world, &two, &two.root)]).unwrap().confirmed(&release);
    assert_eq!(after.ratchet(), Ratchet { generation: 2, seq: 1, min_seq: 0 });
    assert!(!after.may_go_back_to(world::installed(1, 1_000_000)));
    let said = refusal(two.install_with(&after, &bundle));
    assert!(said.contains("is not newer than seq 1"), "{said}");
}

#[test]
fn nothing_is_gone_back_to_below_the_ratchet() {
    let world = World::new();
    let mut release = world.release(7);
    release.min_seq = 5;
    let trust = world.trust().confirmed(&release);
    for (seq, may) in [(4, false), (5, true), (7, true)] {
        assert_eq!(trust.may_go_back_to(world::installed(1, seq)), may, "{seq}");
    }
}

#[test]
fn keys_for_trying_things_out_never_follow_real_ones() {
    let mut world = World::new();
    world.root.test = false;
    let two = world.successor(&world.root, 2);
    let step = World::signed_by_both(&world, &two, &two.root);
    let error = world.trust().follow(&[step]).unwrap_err();
    assert!(error.to_string().contains("keys for trying things out"), "{error}");
    let mut real = two;
    real.root.test = false;
    world.trust().follow(&[World::signed_by_both(&world, &real, &real.root)]).unwrap();
}
