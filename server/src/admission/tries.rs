//! Wrong codes of the kind that stands on the box's console: after a few of them nobody may try for a while, and each time for
//! longer. One address locks itself out before it locks everybody out.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use posthouse_protocol::limits;

/// Wrong codes are forgotten when so long there was neither another one nor a lock.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

/// Addresses that are kept apart; past them, the one that was quiet for longest is forgotten.
const ADDRESSES_MAX: usize = 1_024;

/// How many wrong codes lock, and for how long.
#[derive(Clone, Copy)]
struct Rule {
    /// So many within [`Rule::window`].
    wrong_max: u32,
    window: Duration,
    /// The first time; twice as long each further time.
    lock: Duration,
    lock_max: Duration,
}

const OF_ALL: Rule = Rule {
    wrong_max: limits::CODES_WRONG_MAX,
    window: Duration::from_secs(60),
    lock: Duration::from_secs(60),
    lock_max: Duration::from_secs(limits::CODES_LOCK_S_MAX),
};

const OF_AN_ADDRESS: Rule = Rule {
    wrong_max: limits::ADDRESS_CODES_WRONG_MAX,
    window: Duration::from_secs(600),
    lock: Duration::from_secs(60),
    lock_max: Duration::from_secs(limits::ADDRESS_CODES_LOCK_S_MAX),
};

/// What was tried of late, by everybody and by each address.
pub(super) struct Tries<A> {
    all: Lock,
    addresses: HashMap<A, Lock>,
}

impl<A> Default for Tries<A> {
    fn default() -> Self {
        Self { all: Lock::default(), addresses: HashMap::new() }
    }
}

impl<A: Copy + Eq + Hash> Tries<A> {
    /// Whether a code may be tried from there.
    ///
    /// # Errors
    /// How long it may not.
    pub fn check(&self, address: &A, now: Instant) -> Result<(), Duration> {
        let of_address = self.addresses.get(address).and_then(|lock| lock.rest(now));
        match of_address.max(self.all.rest(now)) {
            Some(wait) => Err(wait),
            None => Ok(()),
        }
    }

    /// A wrong code came from there.
    pub fn wrong(&mut self, address: A, now: Instant) {
        self.all.wrong(OF_ALL, now);
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            let quietest = self.addresses.iter().min_by_key(|(_, lock)| lock.last).map(|(address, _)| *address);
            quietest.map(|address| self.addresses.remove(&address));
        }
        self.addresses.entry(address).or_default().wrong(OF_AN_ADDRESS, now);
    }
}

#[derive(Default)]
struct Lock {
    /// Of the window that is open, or was last.
    began: Option<Instant>,
    wrong: u32,
    /// How often it has locked.
    locked: u32,
    until: Option<Instant>,
    last: Option<Instant>,
}

impl Lock {
    fn rest(&self, now: Instant) -> Option<Duration> {
        self.until.and_then(|until| until.checked_duration_since(now)).filter(|rest| !rest.is_zero())
    }

    fn wrong(&mut self, rule: Rule, now: Instant) {
        let is_older =
            |then: Option<Instant>, age: Duration| then.is_none_or(|then| now.saturating_duration_since(then) >= age);
        // A lock that was waited for must not count as calm.
        if is_older(self.last, FORGOTTEN_AFTER) && self.until.is_none_or(|until| is_older(Some(until), FORGOTTEN_AFTER))
        {
            *self = Self::default();
        }
        if is_older(self.began, rule.window) {
            (self.began, self.wrong) = (Some(now), 0);
        }
        self.last = Some(now);
        self.wrong += 1;
        if self.wrong >= rule.wrong_max {
            let longer = 1_u32.checked_shl(self.locked).unwrap_or(u32::MAX);
            self.until = Some(now + rule.lock.saturating_mul(longer).min(rule.lock_max));
            self.locked += 1;
            (self.began, self.wrong) = (None, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Tries as fast as it is let, for so long; gives how many it got.
    fn tries_within(tries: &mut Tries<u32>, addresses: u32, mut now: Instant, time: Duration) -> u32 {
        let end = now + time;
        let mut count = 0;
        while now < end {
            let wait = (0..addresses).filter_map(|address| match tries.check(&address, now) {
                Ok(()) => {
                    tries.wrong(address, now);
                    count += 1;
                    None
                }
                Err(wait) => Some(wait),
            });
            let wait = wait.min().unwrap_or_default();
            now += wait.max(Duration::from_millis(10));
        }
        count
    }

    #[test]
    fn an_address_is_locked_for_longer_each_time_and_others_are_not() {
        let (mut tries, mut now) = (Tries::default(), Instant::now());
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            for _ in 0..limits::ADDRESS_CODES_WRONG_MAX {
                assert_eq!(tries.check(&1, now), Ok(()), "before the {minutes} minutes");
                tries.wrong(1, now);
            }
            assert_eq!(tries.check(&1, now), Err(Duration::from_secs(60 * minutes)));
            assert_eq!(tries.check(&2, now), Ok(()));
            now += Duration::from_secs(60 * minutes);
        }
        now += FORGOTTEN_AFTER;
        (0..limits::ADDRESS_CODES_WRONG_MAX).for_each(|_| tries.wrong(1, now));
        assert_eq!(tries.check(&1, now), Err(Duration::from_secs(60)), "it is forgotten");
    }

    #[test]
    fn many_addresses_lock_everybody() {
        let (mut tries, now) = (Tries::default(), Instant::now());
        (0..limits::CODES_WRONG_MAX).for_each(|address| tries.wrong(address, now));
        assert_eq!(tries.check(&99, now), Err(Duration::from_secs(60)));
        assert_eq!(tries.check(&99, now + Duration::from_secs(60)), Ok(()));
    }

    #[test]
    fn an_attacker_gets_few_tries_a_day_and_costs_little_memory() {
        let day = Duration::from_secs(24 * 3_600);
        assert!(tries_within(&mut Tries::default(), 1, Instant::now(), day) < 100);
        // 15 minutes of which everybody is locked out, then 5 tries.
        assert!(tries_within(&mut Tries::default(), 5_000, Instant::now(), day) < 600);
        let (mut tries, now) = (Tries::default(), Instant::now());
        (0..5_000_u32).for_each(|address| tries.wrong(address, now + Duration::from_millis(u64::from(address))));
        assert_eq!(tries.addresses.len(), ADDRESSES_MAX);
        assert!(tries.addresses.contains_key(&4_999) && !tries.addresses.contains_key(&0));
    }

    proptest! {
        /// Whatever comes when: no lock is longer than it may be, and waiting as long as one was told suffices.
        #[test]
        fn who_waits_as_long_as_told_may_try(steps in prop::collection::vec((0_u32..4, 0_u64..400_000), 1..200)) {
            let (mut tries, mut now) = (Tries::default(), Instant::now());
            for (address, pause_ms) in steps {
                now += Duration::from_millis(pause_ms);
                if let Err(wait) = tries.check(&address, now) {
                    prop_assert!(wait <= OF_AN_ADDRESS.lock_max.max(OF_ALL.lock_max));
                    prop_assert_eq!(tries.check(&address, now + wait), Ok(()));
                } else {
                    tries.wrong(address, now);
                }
            }
        }
    }
}
