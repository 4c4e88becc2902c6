//! How every part learns that the server stops, and how long that may take.
//!
//! Everybody waits for the slowest: the next server can open the database only when this one has gone. So each step has its
//! share, and together they fit into [`STOP_BOUND`], whoever does not read, does not answer or does not come to an end:
//!
//! | step | at most |
//! | --- | --- |
//! | each client is answered what is under way, and told when to come back | [`TELL`], then [`GOODBYE`] for its answer |
//! | all connections, requests by HTTP among them, at once | [`DRAIN`] |
//! | the writer, the checkpoint and the database's end | until [`CLOSE`] after the signal |
//! | what runs on threads for blocking work | [`THREADS`] |
//!
//! What is cut off is nothing that was acknowledged: the log has all of that, and the next start brings it into the database.

use std::time::Duration;

use tokio::sync::watch;

/// From the signal to the process's end. `TimeoutStopSec=` of the unit is longer.
pub const STOP_BOUND: Duration = Duration::from_secs(10);

/// For one client: the answers to what is under way, and the event that says when to come back.
pub const TELL: Duration = Duration::from_millis(1_000);

/// For the same client to answer the close.
pub const GOODBYE: Duration = Duration::from_millis(500);

/// For all connections of a listening socket.
pub const DRAIN: Duration = Duration::from_secs(3);

/// From the signal until the database is closed, or left to the next start.
pub const CLOSE: Duration = Duration::from_secs(8);

/// For work that blocks: a password's hash, a read of the database.
pub const THREADS: Duration = Duration::from_secs(2);

/// The widest delay that a restart asks of a client, in milliseconds, and how many clients are to come back in each of them:
/// a Pi 4B makes some 2,000 handshakes a second.
const JITTER_MS_MAX: u64 = 1_000;
const JITTER_MS_MIN: u64 = 50;
const CLIENTS_PER_MS: u64 = 2;

/// Makes both ends.
pub fn channel() -> (ShutdownSender, Shutdown) {
    let (sender, receiver) = watch::channel(None);
    (ShutdownSender(sender), Shutdown(receiver))
}

/// The end that says it.
pub struct ShutdownSender(watch::Sender<Option<u64>>);

impl ShutdownSender {
    /// Tells every part, now and in the future, that so many clients will come back at once.
    pub fn request(&self, clients: usize) {
        let clients = u64::try_from(clients).unwrap_or(u64::MAX);
        self.0.send_replace(Some((clients / CLIENTS_PER_MS).clamp(JITTER_MS_MIN, JITTER_MS_MAX)));
    }
}

/// The end that waits for it; clones wait for the same.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<Option<u64>>);

impl Shutdown {
    /// Ends when the server is to stop, or at once if it already is. Safe to drop before.
    pub async fn requested(&mut self) {
        // A sender that is gone means the same.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// After how many milliseconds one client is to come back: another number each time, so that they come spread out.
    pub fn retry_ms(&self) -> u64 {
        getrandom::u64().unwrap_or_default() % self.0.borrow().unwrap_or(JITTER_MS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_fit_into_the_bound() {
        assert!(TELL + GOODBYE < DRAIN && DRAIN < CLOSE && CLOSE + THREADS <= STOP_BOUND);
    }

    #[test]
    fn few_clients_come_back_soon_and_many_spread_out() {
        for (clients, most) in [(0, 50), (10, 50), (1_000, 500), (2_000, 1_000), (10_000, 1_000)] {
            let (sender, stopping) = channel();
            sender.request(clients);
            let retries: Vec<u64> = (0..2_000).map(|_| stopping.retry_ms()).collect();
            assert!(retries.iter().all(|retry| *retry < most), "{clients}");
            assert!(retries.iter().any(|retry| *retry >= most / 2), "{clients}: they are spread");
        }
    }
}
