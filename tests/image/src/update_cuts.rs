//! Power cuts during an update of the server, of which a card keeps only what it had flushed: cards are booted that are as a cut at
//! some moment of a recorded update leaves them. Each serves, what was acknowledged before its cut is there, and the updater comes to
//! an end: with what ran before, or with the new build.

use std::cmp::Reverse;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use posthouse_client::ServerUrl;
use posthouse_e2e::random::Random;
use posthouse_protocol::update::{SlotKind, UpdateOutcome, UpdateState};

use crate::card::{CARD_BYTES, Card, make_overlay};
use crate::chat::Person;
use crate::dist::Dist;
use crate::machine::Machine;
use crate::power_cut::{Remains, Replay, Survival};
use crate::recording::{Reached, Recording, SEQ, TO, VERSION};
use crate::rig::{Asked, Rig};
use crate::updates::state;
use crate::writes_log::WritesLog;
use crate::{file_systems, storm};

/// An updater that has nothing under way and has said nothing new for so long is at an end.
const QUIET: Duration = Duration::from_secs(15);

/// Until then, where a trial goes on after the cut and is begun anew.
const AT_AN_END_WITHIN: Duration = Duration::from_secs(420);

/// How files of the updater begin, and what they are.
const FILES: [(&[u8], &str); 5] = [
    (b"PHR1", "a record"),
    (b"{\"prev\":", "the audit"),
    (b"{\"request\":", "a request"),
    (b"PHB1", "a bundle"),
    (b"#!/bin/bash\nif [[ ${1-} == --selfcheck", "a build"),
];

/// One boot to record an update, and one for each cut.
pub async fn test(dist: &Dist, rig: &Rig<'_>, person: &Person, count: usize) -> anyhow::Result<()> {
    let recording = Recording::make(rig, person).await?;
    let seed = seed()?;
    let mut random = Random::seeded(seed);
    let moments = choose(&recording, count, &mut random)?;
    let entries = recording.during.len();
    println!("test-image: update cuts: {count} among {entries} writes and flushes, POSTHOUSE_TEST_SEED={seed}");
    let card = Card::fresh(dist, rig, "cut-update").await?;
    let mut replay = Replay::begin(&recording.log, card.path())?;
    let (mut not_kept, mut reached) = (0, Vec::new());
    for (number, Moment { unflushed, what }) in (1..).zip(moments) {
        let survival = if random.within(0, 3) == 0 { Survival::Nothing } else { Survival::Some };
        let Remains { whole, torn, lost } = replay.cut(unflushed.end, survival, &mut random)?;
        not_kept += torn + lost;
        reached.push(recording.reached(unflushed.end));
        println!(
            "test-image: update cut {number} of {count}, {what} unflushed: {whole} kept, {torn} torn, {lost} lost"
        );
        let came_back = assert_comes_back(&recording, rig, &card, number, unflushed.end).await;
        let state = came_back.with_context(|| {
            let (entry, card) = (unflushed.end, card.path().display());
            format!("update cut {number} of {count}, at entry {entry}: the cut has left {card} (seed {seed})")
        })?;
        println!("test-image: update cut {number} of {count}: serves; {}", summary(&state));
    }
    ensure!(not_kept > 0, "no cut has lost a write");
    let is_spread = [Reached::Nothing, Reached::Confirmed].iter().all(|end| reached.contains(end));
    ensure!(is_spread || count < 8, "no cut was before the trial, or none behind it: {reached:?}");
    replay.finish()?;
    recording.assert_told_on(card.path()).await?;
    println!(
        "test-image: update cuts: {count} of {count} serve, with a consistent state and all that was acknowledged"
    );
    println!("test-image: update cuts: {not_kept} writes that had not been flushed were lost or torn");
    card.throw_away()?;
    recording.throw_away()
}

/// Of the environment, or fresh.
fn seed() -> anyhow::Result<u64> {
    match std::env::var("POSTHOUSE_TEST_SEED") {
        Ok(seed) => seed.parse().context("POSTHOUSE_TEST_SEED is no number"),
        Err(_) => getrandom::u64().map_err(|error| anyhow::anyhow!("no random numbers: {error}")),
    }
}

/// Where the power goes.
#[derive(Clone)]
struct Moment {
    /// What was written since the last flush.
    unflushed: Range<usize>,
    /// What of the updater's is in it, where there is something.
    what: &'static str,
}

/// Right before flushes, so that as much as can be is not flushed: three in four with something of the updater's, as far as there is so
/// much of it, the others where most was written; all are spread over the whole update.
fn choose(recording: &Recording, count: usize, random: &mut Random) -> anyhow::Result<Vec<Moment>> {
    let (mut updater_s, mut others) = (Vec::new(), Vec::new());
    for (begin, what) in FILES {
        let mut entries = recording.during.clone();
        let is_written = entries.try_fold(false, |found, entry| {
            Ok::<_, anyhow::Error>(found || recording.log.begins_with(entry, &[(begin, ())])?.is_some())
        });
        ensure!(is_written?, "{what} of the updater's was never written, by how its files begin");
    }
    for unflushed in recording.log.unflushed(recording.during.clone()) {
        match of_updater(&recording.log, unflushed.clone())? {
            Some(what) => updater_s.push(Moment { unflushed, what }),
            None => others.push(Moment { unflushed, what: "other files" }),
        }
    }
    let from_updater = count.saturating_mul(3).div_ceil(4).min(updater_s.len());
    let from_others = count - from_updater;
    ensure!(from_others <= others.len(), "only {} moments for a cut", updater_s.len() + others.len());
    others.sort_by_key(|moment| Reverse(moment.unflushed.len()));
    others.truncate(2 * from_others);
    others.sort_by_key(|moment| moment.unflushed.start);
    let mut moments = spread(&updater_s, from_updater, random);
    moments.extend(spread(&others, from_others, random));
    moments.sort_by_key(|moment| moment.unflushed.start);
    Ok(moments)
}

fn of_updater(log: &WritesLog, mut entries: Range<usize>) -> anyhow::Result<Option<&'static str>> {
    entries.find_map(|entry| log.begins_with(entry, &FILES).transpose()).transpose()
}

/// So many of them, one of each stretch.
fn spread<T: Clone>(all: &[T], count: usize, random: &mut Random) -> Vec<T> {
    let bound = |i: usize| i * all.len() / count;
    let one_of = |i: usize| all[bound(i) + random.within(0, bound(i + 1) - bound(i))].clone();
    (0..count).map(one_of).collect()
}

/// The card's file systems are without fault, the box serves, nothing is lost, and the updater's state is one that may be.
async fn assert_comes_back(
    recording: &Recording,
    rig: &Rig<'_>,
    card: &Card,
    number: usize,
    entry: usize,
) -> anyhow::Result<UpdateState> {
    file_systems::assert_clean(card.path()).await?;
    let overlay = card.path().with_extension("qcow2");
    make_overlay(card.path(), &overlay, CARD_BYTES).await?;
    let acknowledged = recording.acknowledged(entry);
    let evening = async |machine: &mut Machine, server: &ServerUrl| {
        let state = at_an_end(machine).await?;
        storm::verify(server, recording.token.clone(), TO, &acknowledged).await?;
        Ok(state)
    };
    let name = format!("update-cut-{number}");
    let state = rig.with_card(overlay.clone()).power_on(&name, Asked::Updates, evening).await?.outcome;
    assert_consistent(&state, recording.reached(entry))?;
    println!("test-image: {name}: {} acknowledged before the cut, all there", acknowledged.len());
    std::fs::remove_file(&overlay)?;
    Ok(state)
}

/// What the updater says once it has nothing under way.
async fn at_an_end(machine: &mut Machine) -> anyhow::Result<UpdateState> {
    let (mut before, mut since) = (None, Instant::now());
    let quiet = async |console: &str| {
        let now = state(console);
        if now != before {
            (before, since) = (now.clone(), Instant::now());
        }
        now.filter(|now| now.trial.is_none() && !now.busy && since.elapsed() > QUIET)
    };
    machine.wait_for("the updater's end", AT_AN_END_WITHIN, quiet).await
}

fn assert_consistent(state: &UpdateState, reached: Reached) -> anyhow::Result<()> {
    let UpdateState { current, trial, trouble, refused, last, ratchet, .. } = state;
    ensure!(trouble.is_none() && refused.is_none(), "the updater says {trouble:?}, {refused:?}");
    ensure!(trial.is_none(), "a trial has no end: {trial:?}");
    let outcome = last.as_ref().map(|last| last.outcome);
    let is_new = current.version == VERSION && ratchet.seq == SEQ && outcome == Some(UpdateOutcome::Confirmed);
    let is_old = current.kind == SlotKind::Factory && ratchet.seq == 0 && outcome != Some(UpdateOutcome::Confirmed);
    ensure!(
        is_new || is_old,
        "the box runs {current:?}, its ratchet is {ratchet:?}, and the last update ended so: {last:?}"
    );
    ensure!(
        is_new || reached != Reached::Confirmed,
        "the new build was confirmed before the cut, and the box runs {}",
        current.version
    );
    ensure!(
        outcome.is_some() || reached == Reached::Nothing,
        "the new build was tried before the cut, and no verdict came"
    );
    Ok(())
}

fn summary(state: &UpdateState) -> String {
    let ended = state.last.as_ref().map_or_else(
        || "nothing was installed".to_owned(),
        |last| format!("{:?} {}", last.outcome, last.reason.as_deref().unwrap_or_default()),
    );
    format!("runs {}, {}", state.current.version, ended.trim_end())
}

#[cfg(test)]
mod tests {
    use posthouse_e2e::random::Random;
    use posthouse_protocol::update::{
        RatchetInfo, SlotInfo, SlotKind, TrialInfo, UpdateOutcome, UpdateState, UpdateVerdict,
    };

    use super::{Reached, SEQ, VERSION, assert_consistent, spread};

    fn old() -> UpdateState {
        UpdateState::default()
    }

    fn ended(outcome: UpdateOutcome) -> UpdateVerdict {
        UpdateVerdict { outcome, version: None, reason: None, at_ms: None }
    }

    fn new() -> UpdateState {
        UpdateState {
            current: SlotInfo { kind: SlotKind::Installed, version: VERSION.to_owned(), ..SlotInfo::default() },
            ratchet: RatchetInfo { seq: SEQ, ..RatchetInfo::default() },
            last: Some(ended(UpdateOutcome::Confirmed)),
            ..old()
        }
    }

    use Reached::{Confirmed, Nothing, Trial};

    #[test]
    fn the_new_build_or_the_old_one_and_nothing_in_between() {
        let given_up = || UpdateState { last: Some(ended(UpdateOutcome::RolledBack)), ..old() };
        for (state, reached) in [
            (old(), Nothing),
            (given_up(), Nothing),
            (new(), Nothing),
            (given_up(), Trial),
            (new(), Trial),
            (new(), Confirmed),
        ] {
            assert_consistent(&state, reached).expect("it may be so");
        }
        for (state, reached) in [
            (old(), Trial),
            (old(), Confirmed),
            (given_up(), Confirmed),
            (UpdateState { trouble: Some("unreadable".to_owned()), ..new() }, Confirmed),
            (UpdateState { trial: Some(TrialInfo::default()), ..old() }, Nothing),
            (UpdateState { ratchet: old().ratchet, ..new() }, Confirmed),
            (UpdateState { ratchet: new().ratchet, ..old() }, Nothing),
            (UpdateState { last: old().last, ..new() }, Confirmed),
            (UpdateState { last: new().last, ..old() }, Nothing),
            (UpdateState { current: SlotInfo { version: "0.9.8".to_owned(), ..new().current }, ..new() }, Confirmed),
        ] {
            assert_consistent(&state, reached).expect_err("it must not be so");
        }
    }

    #[test]
    fn one_of_each_stretch() {
        let all: Vec<usize> = (0..10).collect();
        for seed in 0..100 {
            let chosen = spread(&all, 3, &mut Random::seeded(seed));
            assert!(chosen[0] < 3 && (3..6).contains(&chosen[1]) && (6..10).contains(&chosen[2]), "{chosen:?}");
            assert_eq!(spread(&all, 10, &mut Random::seeded(seed)), all);
            assert!(spread(&all, 0, &mut Random::seeded(seed)).is_empty());
        }
    }
}
