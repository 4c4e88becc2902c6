//! Token buckets by key, as pure code: time comes in.
//!
//! The generic cell rate algorithm (ITU-T I.371): a bucket is one instant, the one at which it will be full
//! again. governor has it too, but keeps a bucket for every key that ever came; whoever has a network of
//! addresses could fill a small box's memory with them. Here the number of keys is bounded.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keys that one set of buckets keeps apart; with 40 bytes each, under a megabyte. Those that come when so many
/// have a debt share one bucket.
const KEYS_MAX: usize = 16_384;

/// Between two searches for buckets that are full again, and so need not be kept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How often something may happen: so often at once, then once in an interval.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// So often in a second.
    pub fn per_second(count: u32, burst: u32) -> Self {
        Self { interval: Duration::from_secs(1) / count.max(1), burst }
    }

    /// Once in so many seconds.
    pub fn every(seconds: u64, burst: u32) -> Self {
        Self { interval: Duration::from_secs(seconds), burst }
    }
}

/// A bucket for each key.
pub struct Buckets<K, S = RandomState> {
    rate: Rate,
    state: Mutex<State<K, S>>,
}

struct State<K, S> {
    /// When each bucket will be full again; one that is full is not kept.
    full_at: HashMap<K, Instant, S>,
    /// The bucket of the keys for which there is no room.
    others_full_at: Option<Instant>,
    swept: Option<Instant>,
}

impl<K: Eq + Hash + Clone, S: BuildHasher + Default> Buckets<K, S> {
    /// Full buckets.
    pub fn new(rate: Rate) -> Self {
        Self { rate, state: Mutex::new(State { full_at: HashMap::default(), others_full_at: None, swept: None }) }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let mut state = self.lock();
        if let Some(known) = state.full_at.get_mut(key) {
            let full_at = (*known).max(now);
            self.wait(full_at, now)?;
            *known = full_at + self.rate.interval;
            return Ok(());
        }
        self.wait(state.full_at(key, now), now)?;
        state.charge(key, self.rate.interval, now);
        Ok(())
    }

    /// Whether there is a token.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub fn check(&self, key: &K, now: Instant) -> Result<(), Duration> {
        self.wait(self.lock().full_at(key, now), now)
    }

    /// Takes a token, as a debt where there is none.
    pub fn charge(&self, key: &K, now: Instant) {
        self.lock().charge(key, self.rate.interval, now);
    }

    fn wait(&self, full_at: Instant, now: Instant) -> Result<(), Duration> {
        let missing = full_at + self.rate.interval - now;
        match missing.checked_sub(self.rate.interval * self.rate.burst) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K, S>> {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone, S: BuildHasher> State<K, S> {
    fn full_at(&self, key: &K, now: Instant) -> Instant {
        let crowded = self.full_at.len() >= KEYS_MAX;
        let stored = self.full_at.get(key).copied().or(if crowded { self.others_full_at } else { None });
        stored.map_or(now, |full_at| full_at.max(now))
    }

    fn charge(&mut self, key: &K, interval: Duration, now: Instant) {
        let full_at = self.full_at(key, now) + interval;
        if let Some(known) = self.full_at.get_mut(key) {
            *known = full_at;
            return;
        }
        if self.full_at.len() >= KEYS_MAX {
            self.sweep(now);
        }
        if self.full_at.len() < KEYS_MAX {
            self.full_at.insert(key.clone(), full_at);
        } else {
            self.others_full_at = Some(full_at);
        }
    }

    fn sweep(&mut self, now: Instant) {
        let due = self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEEP_INTERVAL);
        if due {
            self.swept = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets() -> (Buckets<u32>, Instant) {
        (Buckets::<u32>::new(Rate::per_second(10, 3)), Instant::now())
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (buckets, start) = buckets();
        for _ in 0..3 {
            assert_eq!(buckets.take(&1, start), Ok(()));
        }
        assert_eq!(buckets.take(&1, start), Err(Duration::from_millis(100)));
        assert_eq!(buckets.take(&1, start + Duration::from_millis(99)), Err(Duration::from_millis(1)));
        assert_eq!(buckets.take(&1, start + Duration::from_millis(100)), Ok(()));
        assert!(buckets.take(&1, start + Duration::from_millis(100)).is_err(), "one token, not two");
        let later = start + Duration::from_secs(3600);
        let taken = (0..10).filter(|_| buckets.take(&1, later).is_ok()).count();
        assert_eq!(taken, 3, "an hour of silence saves up a burst and no more");
    }

    #[test]
    fn keys_do_not_touch_each_other_and_a_check_takes_nothing() {
        let (buckets, start) = buckets();
        for _ in 0..5 {
            buckets.charge(&1, start);
        }
        assert_eq!(buckets.check(&1, start), Err(Duration::from_millis(300)), "two of them are a debt");
        for _ in 0..10 {
            assert_eq!(buckets.check(&2, start), Ok(()));
        }
    }

    #[test]
    fn the_number_of_keys_is_bounded_and_room_comes_back() {
        let (buckets, start) = buckets();
        let count = u32::try_from(KEYS_MAX).expect("it is small");
        for key in 0..count {
            assert_eq!(buckets.take(&key, start), Ok(()));
        }
        let newcomers = (count..count + 100).filter(|key| buckets.take(key, start).is_ok()).count();
        assert_eq!(newcomers, 3, "they share one bucket");
        assert_eq!(buckets.lock().full_at.len(), KEYS_MAX);
        assert_eq!(buckets.take(&0, start), Ok(()), "who was there keeps a bucket");
        let later = start + Duration::from_secs(60);
        assert_eq!(buckets.take(&(count + 1), later), Ok(()));
        assert_eq!(buckets.lock().full_at.len(), 1, "what was full again is forgotten");
    }
}
