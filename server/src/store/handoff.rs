//! What the writer and the applier share: groups that are in the log and not yet in the database, and how
//! far each of the two has come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::StoreError;
use super::apply::Batch;
use super::record::Entry;

/// Entries that may wait for the database; past it the writer waits. Some 4 MB of messages of the usual
/// length.
const PENDING_LEN_MAX: usize = 16 * 1024;

/// Entries that are worth a transaction at once; fewer wait a little for company.
const BATCH_LEN: usize = 512;

/// How long entries wait for company when nobody asks for them. The log has them; the fewer transactions,
/// the fewer pages are written twice.
const BATCH_DELAY: Duration = Duration::from_millis(200);

/// A checkpoint follows this long after the first change at the latest.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Stands for the number of the last applied frame when there will be no more.
const FAILED: u64 = u64::MAX;

/// See the module.
pub(super) struct Handoff {
    state: Mutex<State>,
    /// Wakes the applier.
    work: Condvar,
    /// Wakes the writer.
    progress: Condvar,
    /// The last frame that is on the disk, in the log.
    logged: AtomicU64,
    /// The last frame that readers of the database see.
    applied: watch::Sender<u64>,
}

struct State {
    pending: Batch,
    pending_since: Option<Instant>,
    /// Somebody waits to see what is pending.
    wanted: bool,
    checkpoint_wanted: bool,
    checkpoint_due: Option<Instant>,
    /// The last frame that readers of the database see.
    applied: u64,
    /// The last frame that is durable in the database.
    durable: u64,
    stopping: bool,
    failed: bool,
}

/// What the applier is to do.
pub(super) struct Work {
    pub batch: Batch,
    /// Make everything durable in the database.
    pub checkpoint: bool,
    /// Nothing follows.
    pub last: bool,
}

impl Handoff {
    /// Both stand at frame `number`.
    pub fn new(number: u64) -> Self {
        let state = State {
            pending: Batch { last_number: number, entries: Vec::new() },
            pending_since: None,
            wanted: false,
            checkpoint_wanted: false,
            checkpoint_due: None,
            applied: number,
            durable: number,
            stopping: false,
            failed: false,
        };
        let (applied, _) = watch::channel(number);
        let (work, progress) = (Condvar::new(), Condvar::new());
        Self { state: Mutex::new(state), work, progress, logged: AtomicU64::new(number), applied }
    }

    /// The writer: this group is on the disk.
    ///
    /// # Errors
    /// `Stopped` when the applier has failed.
    pub fn push(&self, number: u64, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.logged.store(number, Ordering::Release);
        let mut state = self.lock();
        while state.pending.entries.len() >= PENDING_LEN_MAX && !state.failed {
            state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed {
            return Err(StoreError::Stopped);
        }
        state.pending.last_number = number;
        state.pending.entries.extend(entries);
        let first = state.pending_since.is_none();
        state.pending_since.get_or_insert_with(Instant::now);
        state.checkpoint_due.get_or_insert_with(|| Instant::now() + CHECKPOINT_INTERVAL);
        if first || state.pending.entries.len() >= BATCH_LEN {
            self.work.notify_one();
        }
        Ok(())
    }

    /// The writer: make the database durable soon, the log's space runs out.
    pub fn ask_for_checkpoint(&self) {
        self.lock().checkpoint_wanted = true;
        self.work.notify_one();
    }

    /// The writer: how far the database has come: the last durable frame, and the last one that its
    /// readers see.
    pub fn position(&self) -> (u64, u64) {
        let state = self.lock();
        (state.durable, state.applied)
    }

    /// The writer: waits until the database is durable further than `number`.
    ///
    /// # Errors
    /// `Stopped` when the applier has failed.
    pub fn wait_durable_beyond(&self, number: u64) -> Result<u64, StoreError> {
        let mut state = self.lock();
        while state.durable <= number && !state.failed {
            state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failed { Err(StoreError::Stopped) } else { Ok(state.durable) }
    }

    /// The writer: nothing follows.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.work.notify_one();
    }

    /// A reader: waits until the database shows everything that was on the disk when this was called.
    ///
    /// # Errors
    /// `Stopped` when the applier has failed: the database may never show it.
    pub async fn caught_up(&self) -> Result<(), StoreError> {
        let target = self.logged.load(Ordering::Acquire);
        let mut applied = self.applied.subscribe();
        if *applied.borrow_and_update() < target {
            self.lock().wanted = true;
            self.work.notify_one();
        }
        let reached = applied.wait_for(|applied| *applied >= target).await;
        match reached.map(|applied| *applied) {
            Ok(FAILED) | Err(_) => Err(StoreError::Stopped),
            Ok(_) => Ok(()),
        }
    }

    /// The applier: waits for work.
    pub fn take(&self) -> Work {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let checkpoint = state.checkpoint_wanted || state.checkpoint_due.is_some_and(|due| due <= now);
            let full = state.pending.entries.len() >= BATCH_LEN;
            let due = state.pending_since.map(|since| since + BATCH_DELAY);
            let ripe = full || state.wanted || due.is_some_and(|due| due <= now);
            if state.stopping || checkpoint || (ripe && !state.pending.entries.is_empty()) {
                return state.take(checkpoint);
            }
            state.wanted = false;
            let next = due.into_iter().chain(state.checkpoint_due).min();
            let wait = next.map_or(CHECKPOINT_INTERVAL, |next| next.saturating_duration_since(now));
            let woken = self.work.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The applier: readers of the database see everything up to this frame; `durable` where it would
    /// survive without the log.
    pub fn applied(&self, number: u64, durable: bool) {
        let mut state = self.lock();
        state.applied = number;
        if durable {
            state.durable = number;
        }
        drop(state);
        self.applied.send_replace(number);
        self.progress.notify_all();
    }

    /// The applier: it can't go on.
    pub fn fail(&self) {
        self.lock().failed = true;
        self.applied.send_replace(FAILED);
        self.progress.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is whole; a panic elsewhere ends the process anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, checkpoint: bool) -> Work {
        let entries = std::mem::take(&mut self.pending.entries);
        self.pending_since = None;
        self.wanted = false;
        let checkpoint = checkpoint || self.stopping;
        if checkpoint {
            self.checkpoint_wanted = false;
            self.checkpoint_due = None;
        }
        let batch = Batch { last_number: self.pending.last_number, entries };
        Work { batch, checkpoint, last: self.stopping }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_waits_for_what_is_logged_and_learns_when_it_will_not_come() {
        let handoff = Handoff::new(0);
        assert!(handoff.caught_up().await.is_ok(), "nothing is logged");
        handoff.push(1, Vec::new()).expect("taken");
        let reader = handoff.caught_up();
        tokio::pin!(reader);
        assert!(futures_util::poll!(reader.as_mut()).is_pending());
        handoff.applied(1, false);
        assert!(reader.await.is_ok());
        handoff.push(2, Vec::new()).expect("taken");
        let reader = handoff.caught_up();
        tokio::pin!(reader);
        assert!(futures_util::poll!(reader.as_mut()).is_pending());
        handoff.fail();
        assert!(matches!(reader.await, Err(StoreError::Stopped)));
        assert!(matches!(handoff.push(3, Vec::new()), Err(StoreError::Stopped)));
    }
}
