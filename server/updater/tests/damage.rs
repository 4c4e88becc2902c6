//! Damaged bundles and records, at random: nothing panics, nothing that was not signed is taken, and what is read is what was written.
//!
//! Some seconds each; `ARBTEST_BUDGET_MS` asks for longer, `ARBTEST_SEED` repeats a failure.

mod world;

use std::time::Duration;

use arbtest::arbitrary::{Result, Unstructured};
use posthouse_updater::{Bundle, Record, State};
use world::World;

/// A target's share of `make test`.
const TIME: Duration = Duration::from_secs(2);

fn fuzz(property: impl FnMut(&mut Unstructured<'_>) -> Result<()>) {
    let target = arbtest::arbtest(property).size_min(64).size_max(4096);
    if std::env::var_os("ARBTEST_BUDGET_MS").is_some() {
        target.run();
    } else {
        target.budget(TIME).run();
    }
}

/// Up to four changes: bytes overwritten, cut out, or put in.
fn damage(bytes: &mut Vec<u8>, random: &mut Unstructured<'_>) -> Result<()> {
    for _ in 0..random.int_in_range(1..=4)? {
        if bytes.is_empty() {
            return Ok(());
        }
        let from = random.choose_index(bytes.len())?;
        let to = (from + random.int_in_range(0..=40)?).min(bytes.len());
        let new: Vec<u8> = random.arbitrary()?;
        bytes.splice(from..to, new.into_iter().take(40));
    }
    Ok(())
}

#[test]
fn a_damaged_bundle_is_refused_or_is_the_one_that_was_signed() {
    let world = World::new();
    let sound = world.bundle(2);
    let (mut tried, mut taken) = (0_u64, 0_u64);
    fuzz(|random| {
        let mut bundle = sound.clone();
        damage(&mut bundle, random)?;
        tried += 1;
        // Only the third signature, where two suffice, can differ unnoticed.
        if let Ok(binary) = world.install(&bundle) {
            assert!(binary == world.binary, "a binary that nobody signed was taken");
            taken += 1;
        }
        if let Ok(read) = Bundle::read(&mut bundle.as_slice()) {
            let mut written = Vec::new();
            read.write(&mut written).expect("to memory");
            assert!(bundle.starts_with(&written), "what was read is not what is written");
        }
        Ok(())
    });
    println!("{tried} bundles, {taken} of them with the signed binary");
}

#[test]
fn damaged_records_give_a_value_that_was_written_or_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut record, _) = Record::<State>::open(folder.path(), "state").expect("opened");
    let mut states = vec![State::new()];
    states.push(State { previous: Some(states[0].current.clone()), ..State::new() });
    for state in &states {
        record.write(state).expect("written");
    }
    let files = ["state.a", "state.b"].map(|name| folder.path().join(name));
    let sound = files.each_ref().map(|path| std::fs::read(path).expect("a file"));
    fuzz(|random| {
        for (path, sound) in files.iter().zip(&sound) {
            let mut bytes = sound.clone();
            if random.arbitrary()? {
                damage(&mut bytes, random)?;
            }
            std::fs::write(path, bytes).expect("written");
        }
        match Record::<State>::open(folder.path(), "state") {
            Ok((_, value)) => assert!(value.is_none_or(|value| states.contains(&value)), "a value that nobody wrote"),
            Err(error) => assert!(error.to_string().contains("damaged"), "{error}"),
        }
        Ok(())
    });
}
