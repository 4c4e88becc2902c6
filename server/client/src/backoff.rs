//! How long to wait before the next try to connect.

use std::time::Duration;

/// The first wait, at most: a server that restarts is back within a second.
const FIRST_MS: u64 = 250;

/// The longest wait, at most: nobody wants to sit before a dead client when the server is back.
const LONGEST_MS: u64 = 15_000;

/// The longest wait that a server is obeyed in; one that asks for more is asked again before.
const ASKED_MS_MAX: u64 = 120_000;

/// Grows with every try that fails. Each wait is a random part of it ("full jitter"), so that clients that
/// were cut off together don't come back together.
pub(crate) struct Backoff {
    most_ms: u64,
    at_least_ms: u64,
}

impl Backoff {
    pub fn new() -> Self {
        Self { most_ms: FIRST_MS, at_least_ms: 0 }
    }

    /// A connection stood: the next failure is a new story.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// The server asked for this much patience.
    pub fn asked_for(&mut self, wait_ms: u64) {
        self.at_least_ms = wait_ms.min(ASKED_MS_MAX);
    }

    pub fn next(&mut self) -> Duration {
        let random = getrandom::u64().expect("the system has random numbers") % (self.most_ms + 1);
        self.most_ms = (2 * self.most_ms).min(LONGEST_MS);
        Duration::from_millis(random + std::mem::take(&mut self.at_least_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..200).map(|_| backoff.next()).collect();
        assert!(waits[0] <= Duration::from_millis(FIRST_MS));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(LONGEST_MS)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(LONGEST_MS / 2)));
        assert!(waits.windows(2).any(|pair| pair[0] > pair[1]), "jitter");
        backoff.reset();
        backoff.asked_for(400);
        let wait = backoff.next();
        assert!((400..=400 + u128::from(FIRST_MS)).contains(&wait.as_millis()), "{wait:?}");
    }
}
