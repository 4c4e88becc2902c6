//! A seeded simulator: real connections, sessions, router, registry, outboxes, and the real store with its log,
//! on one thread and a virtual clock. The seed decides when frames arrive, when links break and who notices,
//! who reads slowly, when a group is committed, when the database follows, when the disk fails and the power
//! goes, and what of the unsynced is left then.
//!
//! Checked all the time (`hearing.rs`): an event comes once and in order, nothing before the answer to `connect`, what happened to
//! a message behind the message; how far somebody has come never goes back; who says nothing of itself hears of no presence.
//! Checked at the end, when everybody has caught up and all is quiet, against a model of what PROTOCOL.md promises (`record.rs`),
//! which is made from the events of those who were always there:
//!
//! - `checks.rs`: each device shows what its account may see, as it is now, also of a group that its members come to and leave, and
//!   is in those conversations that it was told of. It got each event once and no other one, so that nothing was visible that did
//!   not last and no hole was left; each message once, with no gap in its conversation's numbers, in the order in which its device
//!   wrote it. Nothing acknowledged is lost: no message, edit, recall, reaction; what was refused had its reason.
//! - `lossy_checks.rs`: each member has come as far as its devices said and no further than there is something; all devices hold
//!   the same of it, and count the same as unread. Receipts, presence and typing came to those alone who shared a conversation then.
//!
//! `POSTHOUSE_TEST_SEED` repeats one run, `POSTHOUSE_TEST_SEEDS` asks for more of them. tokio's `select!` chooses at
//! random among what is ready at once; everything else follows from the seed.

mod changes;
mod checks;
mod counts;
mod device;
mod hearing;
mod link;
mod lossy_checks;
mod people;
mod reading;
mod record;
mod server;
mod shown;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::stepped::number_from;
use counts::Counts;
use device::Device;
use server::founded;
use world::World;

/// Runs in `make test`.
const SEEDS: u64 = 2_000;
/// What the seed decides in a run.
const STEPS: u64 = 100;
/// Their numbers are 1, 2, 3 …
const ACCOUNTS: [&str; 4] = ["anna", "ben", "carl", "dora"];
/// The accounts' devices: anna has two.
const DEVICES: [(&str, u64); 5] = [("anna-1", 1), ("anna-2", 1), ("ben", 2), ("carl", 3), ("dora", 4)];
/// The conversations, each with its two members.
const PAIRS: [(u64, u64); 4] = [(1, 2), (1, 3), (2, 3), (3, 4)];

fn run(seed: u64) -> Counts {
    // It needs a runtime of its own.
    founded();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(seed);
        world.begin().await;
        for _ in 0..STEPS {
            world.step().await;
        }
        world.come_to_rest().await;
        world.check().await;
        let mut total = world.counts.clone();
        for Device { counts, .. } in &world.devices {
            total.add(counts);
        }
        total
    })
}

#[test]
fn whatever_breaks_everybody_ends_up_with_what_is_stored_and_nothing_acknowledged_is_lost() {
    if let Some(seed) = number_from("POSTHOUSE_TEST_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let seeds = number_from("POSTHOUSE_TEST_SEEDS").unwrap_or(SEEDS);
    let (first, next) = (getrandom::u64().expect("random numbers") >> 16, AtomicU64::new(0));
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut total = Counts::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                return total;
            }
            let seed = first + number;
            match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                Ok(counts) => total.add(&counts),
                Err(_) => panic!("repeat it with POSTHOUSE_TEST_SEED={seed}"),
            }
        }
    };
    let mut total = Counts::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            total.add(&worker.join().expect("a seed failed: see above"));
        }
    });
    println!("{seeds} seeds from {first}: {total:?}");
    // Seeds that meet none of it would prove nothing.
    if seeds >= SEEDS {
        assert!(total.missing().is_empty(), "{:?} never happened", total.missing());
    }
}
