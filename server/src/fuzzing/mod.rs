//! What the fuzz targets share: examples of the protocol, ways to damage them, and a server to throw them at.
//!
//! The targets stand beside what they try (`connection`, `listener`, `store`), each in a module `fuzz`. They run as
//! ordinary tests for some seconds; `ARBTEST_BUDGET_MS` asks for longer. One that fails prints its input, and the seed that
//! makes it again as `ARBTEST_SEED`.
//!
//! arbtest over `arbitrary` drives them: it runs on stable Rust within the test runner, by time, is two small crates, and
//! its properties are those of cargo-fuzz (which needs a nightly compiler), so that libFuzzer can take them as they are.
//! bolero would run both ways from one macro, but holds `indexmap` at a version that others of our crates can't use. What a
//! guided search finds by itself, the targets have to be told: they begin with what is sound, and damage it.

mod acknowledged;
mod damage;
mod site;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};

pub use acknowledged::Acknowledged;
pub use damage::{Change, bytes, changes, damaged};
pub use site::{ANNA, BEN, Site, example, runtime};

/// A target's share of `make test`.
const TIME: Duration = Duration::from_secs(4);

/// Random bytes behind an input, at least and at most: enough for the longest input of any target.
const ENTROPY_MIN: u32 = 256;
const ENTROPY_MAX: u32 = 8 * 1024;

/// Tries inputs until the time is up; a panic ends it.
pub fn fuzz<T: Debug + for<'a> Arbitrary<'a>>(mut run: impl FnMut(&T)) {
    let mut tried = 0_u64;
    let property = |random: &mut Unstructured<'_>| {
        let input = T::arbitrary(random)?;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&input))) {
            eprintln!("the input was {input:?}");
            resume_unwind(panic);
        }
        tried += 1;
        Ok(())
    };
    let target = arbtest::arbtest(property).size_min(ENTROPY_MIN).size_max(ENTROPY_MAX);
    let asked = std::env::var_os("ARBTEST_BUDGET_MS").is_some();
    if asked {
        target.run();
    } else {
        target.budget(TIME).run();
    }
    println!("{tried} inputs");
}

/// So many values, at least and at most.
pub fn several<'a, T: Arbitrary<'a>>(
    random: &mut Unstructured<'a>,
    count: std::ops::RangeInclusive<usize>,
) -> arbitrary::Result<Vec<T>> {
    let count = random.int_in_range(count)?;
    (0..count).map(|_| T::arbitrary(random)).collect()
}
