//! The commands' way to the writer: bounded, in order, and handed over when the network has nothing to add.
//!
//! A group costs a sync and two changes of threads, whatever its length. Where the disk is quick, a writer that took what
//! waits as soon as it can would find a dozen commands while hundreds more lie in the sockets of clients. So a task among
//! those that serve the network decides when it is the writer's turn: each time that it is asked again behind the others,
//! and no command has come meanwhile, or when enough wait. A lone command is handed over at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::writer::Job;

/// Commands that may wait for the writer; past it, senders wait. Four full groups.
const QUEUE_LEN_MAX: usize = 1024;

/// So many are worth a group: more would save little, and let the first of them wait.
const GATHERED_LEN: usize = 64;

/// The longest that a command waits for others.
const GATHER: Duration = Duration::from_millis(1);

/// The end that commands go in by; clones share it.
#[derive(Clone)]
pub(super) struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    jobs: mpsc::Sender<Job>,
    /// Commands came, and the task has not seen them.
    some: Arc<Notify>,
    turn: Arc<Turn>,
}

/// The end that the writer takes them from.
pub(super) struct Waiting {
    jobs: mpsc::Receiver<Job>,
    turn: Arc<Turn>,
}

/// An empty queue.
pub(super) fn queue() -> (Queue, Waiting) {
    let (sender, jobs) = mpsc::channel(QUEUE_LEN_MAX);
    let turn = Arc::<Turn>::default();
    let inner = Inner { jobs: sender, some: Arc::default(), turn: Arc::clone(&turn) };
    (Queue { inner: Arc::new(inner) }, Waiting { jobs, turn })
}

impl Queue {
    /// Queues it behind all that were queued before, or gives a future that does when there is room. Where nobody takes from
    /// the queue any more, it is dropped.
    pub fn push(&self, job: Job) -> Option<BoxFuture<'static, ()>> {
        match self.inner.jobs.try_send(job) {
            Ok(()) => {
                self.inner.tell();
                None
            }
            Err(TrySendError::Closed(_)) => None,
            Err(TrySendError::Full(job)) => {
                let inner = Arc::clone(&self.inner);
                let push = async move {
                    if inner.jobs.send(job).await.is_ok() {
                        inner.tell();
                    }
                };
                Some(push.boxed())
            }
        }
    }

    /// Whether nobody takes from the queue any more.
    pub fn is_closed(&self) -> bool {
        self.inner.jobs.is_closed()
    }

    /// Starts the task that decides when it is the writer's turn.
    pub fn serve(&self, network: &Handle) {
        let gathering = gather(Arc::downgrade(&self.inner), Arc::clone(&self.inner.some));
        let last = End(Arc::clone(&self.inner.turn));
        network.spawn(async move {
            let _last = last;
            gathering.await;
        });
    }
}

impl Inner {
    fn tell(&self) {
        if self.turn.is_writers() {
            return;
        }
        if self.waiting() < GATHERED_LEN {
            self.some.notify_one();
        } else {
            self.turn.begin();
        }
    }

    fn waiting(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.some.notify_one();
    }
}

async fn gather(queue: Weak<Inner>, some: Arc<Notify>) {
    loop {
        some.notified().await;
        let Some(queue) = queue.upgrade() else { return };
        let until = Instant::now() + GATHER;
        let (mut before, mut now) = (0, queue.waiting());
        if now == 0 {
            continue;
        }
        while before < now && now < GATHERED_LEN && Instant::now() < until {
            // Everything that is ready has its turn, and what has come from clients meanwhile is looked for.
            yield_now().await;
            (before, now) = (now, queue.waiting());
        }
        queue.turn.begin();
    }
}

impl Waiting {
    /// Waits for the writer's turn and takes what is there, at most so many; nothing once no more can come.
    pub fn take(&mut self, jobs: &mut Vec<Job>, most: usize) {
        loop {
            let goes_on = self.turn.wait();
            if !goes_on {
                self.jobs.close();
            }
            // At the end it waits for those who are just about to queue something.
            let mut next = || if goes_on { self.jobs.try_recv().ok() } else { self.jobs.blocking_recv() };
            while jobs.len() < most
                && let Some(job) = next()
            {
                jobs.push(job);
            }
            if !self.jobs.is_empty() {
                self.turn.begin();
            }
            if !jobs.is_empty() || !goes_on {
                return;
            }
        }
    }

    /// Nothing more is taken in; what is there can still be taken.
    pub fn close(&mut self) {
        self.jobs.close();
        self.turn.end();
    }

    /// One that is there.
    #[cfg(test)]
    pub fn try_take(&mut self) -> Option<Job> {
        self.jobs.try_recv().ok()
    }
}

/// Whose turn it is.
#[derive(Default)]
struct Turn {
    /// From its turn's beginning until it takes what is there.
    is_writers: AtomicBool,
    /// There will be no more turns. Held by whoever wakes the writer.
    has_ended: Mutex<bool>,
    begun: Condvar,
}

impl Turn {
    /// Whether the writer is about to take what was queued before this was asked.
    fn is_writers(&self) -> bool {
        // A change that changes nothing: it comes before the writer's, which then sees what was queued, or behind it.
        self.is_writers.fetch_or(false, Ordering::AcqRel)
    }

    fn begin(&self) {
        if !self.is_writers.swap(true, Ordering::AcqRel) {
            let _awake = self.lock();
            self.begun.notify_one();
        }
    }

    /// From here on it is the writer's, always.
    fn end(&self) {
        *self.lock() = true;
        self.begun.notify_one();
    }

    /// Waits for the writer's turn, and says whether there will be another one.
    fn wait(&self) -> bool {
        let mut has_ended = self.lock();
        while !self.is_writers.swap(false, Ordering::AcqRel) && !*has_ended {
            has_ended = self.begun.wait(has_ended).unwrap_or_else(PoisonError::into_inner);
        }
        !*has_ended
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        // There is nothing in it that could be half changed.
        self.has_ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the turns where the task ends, or the runtime that ran it.
struct End(Arc<Turn>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 256;

    fn push(queue: &Queue, count: usize) {
        for _ in 0..count {
            assert!(queue.push(Job::Stop).is_none(), "there is room");
        }
    }

    /// A task queues a command and makes the next task ready; `early` says whether the writer's turn had begun before.
    fn push_by_tasks(queue: &Queue, count: usize, early: &Arc<AtomicBool>) {
        let (queue, early) = (queue.clone(), Arc::clone(early));
        tokio::spawn(async move {
            early.fetch_or(queue.inner.turn.is_writers(), Ordering::Relaxed);
            push(&queue, 1);
            if count > 1 {
                push_by_tasks(&queue, count - 1, &early);
            }
        });
    }

    /// How many commands the writer's next turns have, on a thread of its own.
    async fn turns(mut waiting: Waiting, count: usize) -> (Vec<usize>, Waiting) {
        let take = move || {
            let mut turn = || {
                let mut jobs = Vec::new();
                waiting.take(&mut jobs, MOST);
                jobs.len()
            };
            ((0..count).map(|_| turn()).collect(), waiting)
        };
        tokio::task::spawn_blocking(take).await.expect("no panic")
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_has_what_is_queued_by_all_that_is_ready() {
        let (queue, waiting) = queue();
        queue.serve(&Handle::current());
        let early = Arc::<AtomicBool>::default();
        for _ in 0..10 {
            push_by_tasks(&queue, 3, &early);
        }
        let (lengths, waiting) = turns(waiting, 1).await;
        assert_eq!(lengths, [30]);
        assert!(!early.load(Ordering::Relaxed), "it had begun before");
        push(&queue, 1);
        let (lengths, _) = turns(waiting, 1).await;
        assert_eq!(lengths, [1], "a lone one");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_turn_leaves_is_the_next_ones() {
        let (queue, waiting) = queue();
        queue.serve(&Handle::current());
        push(&queue, MOST + 1);
        let (lengths, _) = turns(waiting, 2).await;
        assert_eq!(lengths, [MOST, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn past_its_length_the_queue_lets_wait_and_loses_nothing() {
        let (queue, waiting) = queue();
        queue.serve(&Handle::current());
        push(&queue, QUEUE_LEN_MAX);
        let late = tokio::spawn(queue.push(Job::Stop).expect("there is no room"));
        let (lengths, waiting) = turns(waiting, QUEUE_LEN_MAX / MOST).await;
        late.await.expect("no panic");
        drop(queue);
        let (rest, _) = turns(waiting, 2).await;
        assert_eq!(lengths.iter().chain(&rest).sum::<usize>(), QUEUE_LEN_MAX + 1);
        assert_eq!(rest.last(), Some(&0), "no more can come");
    }

    #[tokio::test]
    async fn once_it_is_closed_nothing_comes_in_and_what_is_there_comes_out() {
        let (queue, mut waiting) = queue();
        queue.serve(&Handle::current());
        push(&queue, 2);
        waiting.close();
        assert!(queue.is_closed());
        push(&queue, 1);
        let (lengths, _) = turns(waiting, 2).await;
        assert_eq!(lengths, [2, 0]);
    }

    #[test]
    fn where_the_network_ends_the_writer_takes_what_is_there_and_ends() {
        let network = tokio::runtime::Runtime::new().expect("a runtime");
        let (queue, mut waiting) = queue();
        queue.serve(network.handle());
        drop(network);
        push(&queue, 2);
        let mut lengths = Vec::new();
        for _ in 0..2 {
            let mut jobs = Vec::new();
            waiting.take(&mut jobs, MOST);
            lengths.push(jobs.len());
        }
        assert_eq!(lengths, [2, 0]);
    }
}
