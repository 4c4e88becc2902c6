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

/// Entries that are worth a transaction. Fewer wait until somebody asks for them or a checkpoint is due: the
/// more of them share a page, the less work and the fewer bytes written each of them costs.
const BATCH_LEN: usize = 8 * 1024;

/// A checkpoint follows this long after the first change at the latest. The log holds what came since; the more
/// messages a checkpoint has, the more of them share the pages that it writes.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(300);

/// And this long after the last one where nothing changes: serving time is counted with it, and what a site keeps no longer
/// is erased. An idle card is written to for nothing else.
const IDLE_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(3600);

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
    /// Somebody waits to see everything up to this frame.
    wanted: u64,
    /// The last frame that the applier has taken.
    taken: u64,
    checkpoint_wanted: bool,
    checkpoint_due: Instant,
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
            wanted: number,
            taken: number,
            checkpoint_wanted: false,
            checkpoint_due: Instant::now() + IDLE_CHECKPOINT_INTERVAL,
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
        let is_first = state.checkpoint_by(Instant::now() + CHECKPOINT_INTERVAL);
        if is_first || state.wanted >= number || state.pending.entries.len() >= BATCH_LEN {
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
            // The frame may still be on its way here: the wish stays until it is taken.
            let mut state = self.lock();
            state.wanted = state.wanted.max(target);
            drop(state);
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
            if let Some(work) = state.work(now) {
                return work;
            }
            let wait = state.checkpoint_due.saturating_duration_since(now);
            let woken = self.work.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The applier, where a test decides when it is its turn.
    #[cfg(test)]
    pub fn take_now(&self, checkpoint: bool) -> Option<Work> {
        let mut state = self.lock();
        state.checkpoint_wanted |= checkpoint;
        state.wanted = state.pending.last_number;
        state.work(Instant::now())
    }

    /// Whether one was asked for that the applier has not begun.
    #[cfg(test)]
    pub fn waits_for_checkpoint(&self) -> bool {
        self.lock().checkpoint_wanted
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

    /// The applier: there is more for the next checkpoint to do, which is not to wait until something changes.
    pub fn more_to_erase(&self) {
        self.lock().checkpoint_by(Instant::now() + CHECKPOINT_INTERVAL);
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
    /// Sees that a checkpoint comes by then; whether it would have come later.
    fn checkpoint_by(&mut self, due: Instant) -> bool {
        let is_sooner = due < self.checkpoint_due;
        self.checkpoint_due = due.min(self.checkpoint_due);
        is_sooner
    }

    /// What is to be done now, if there is something.
    fn work(&mut self, now: Instant) -> Option<Work> {
        let checkpoint = self.checkpoint_wanted || self.stopping || self.checkpoint_due <= now;
        let is_ripe = self.pending.entries.len() >= BATCH_LEN || self.wanted > self.taken;
        if !checkpoint && (!is_ripe || self.pending.entries.is_empty()) {
            return None;
        }
        if checkpoint {
            self.checkpoint_wanted = false;
            self.checkpoint_due = now + IDLE_CHECKPOINT_INTERVAL;
        }
        self.taken = self.pending.last_number;
        let entries = std::mem::take(&mut self.pending.entries);
        let batch = Batch { last_number: self.taken, entries };
        Some(Work { batch, checkpoint, last: self.stopping })
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{RowKey, RowTable};
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

    #[test]
    fn a_checkpoint_comes_soon_after_a_change_and_in_its_time_without_one() {
        let handoff = Handoff::new(0);
        let start = Instant::now();
        let minute = Duration::from_secs(60);
        let is_due = |after: Duration| handoff.lock().work(start + after).is_some_and(|work| work.checkpoint);
        assert!(!is_due(IDLE_CHECKPOINT_INTERVAL - minute));
        assert!(is_due(IDLE_CHECKPOINT_INTERVAL + minute), "nothing has changed");
        assert!(!is_due(2 * IDLE_CHECKPOINT_INTERVAL));
        let push = |handoff: &Handoff| handoff.push(1, Vec::new()).expect("taken");
        let mores: [fn(&Handoff); 2] = [push, Handoff::more_to_erase];
        for more in mores {
            more(&handoff);
            assert!(!is_due(CHECKPOINT_INTERVAL - minute));
            assert!(is_due(CHECKPOINT_INTERVAL + minute), "there is something to do");
            assert!(!is_due(2 * CHECKPOINT_INTERVAL + minute), "and that is done");
        }
    }

    #[test]
    fn what_a_reader_waits_for_is_taken_as_soon_as_it_comes() {
        let handoff = Handoff::new(0);
        let work = || handoff.lock().work(Instant::now());
        let entry = || {
            let key = RowKey::new(RowTable::Account, Vec::new());
            vec![Entry::RowRemoved(key)]
        };
        handoff.push(1, entry()).expect("taken");
        assert!(work().is_none(), "nobody asked");
        // Frame 2 is on the disk, and on its way here.
        handoff.logged.store(2, Ordering::Release);
        let reader = handoff.caught_up();
        tokio::pin!(reader);
        assert!(futures_util::FutureExt::now_or_never(reader.as_mut()).is_none());
        assert_eq!(work().map(|work| work.batch.last_number), Some(1));
        assert!(work().is_none(), "there is nothing to take");
        handoff.push(2, entry()).expect("taken");
        assert_eq!(work().map(|work| work.batch.last_number), Some(2));
        handoff.push(3, entry()).expect("taken");
        assert!(work().is_none(), "the reader has what it asked for");
    }
}
