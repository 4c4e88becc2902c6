//! The bounded queue of events for one connection.
//!
//! The router fills it and never waits. What is lossy gives way to what is durable; a connection that does not
//! keep up with what is durable loses its queue and is closed with 4008, so that it reconnects and catches up
//! from the store. An empty queue holds no memory, which counts with 10,000 idle clients.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use posthouse_protocol::{close, limits};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// What losing an event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A hole in what the client knows: a connection that can't take it is closed and catches up.
    Durable,
    /// Nothing that lasts: the next one of its kind replaces it (typing, presence, receipts).
    Lossy,
}

/// Makes an outbox: its filling end and its draining end.
pub fn outbox() -> (OutboxSender, Outbox) {
    let queue = Arc::new(Mutex::new(Queue::default()));
    (OutboxSender { queue: Arc::clone(&queue) }, Outbox { queue })
}

/// The filling end.
#[derive(Clone)]
pub struct OutboxSender {
    queue: Arc<Mutex<Queue>>,
}

/// The draining end.
pub struct Outbox {
    queue: Arc<Mutex<Queue>>,
}

/// How the connection of an outbox is to be closed: with this code and reason.
pub type Verdict = (u16, &'static str);

/// Why an outbox takes no more: it was given up, or its connection is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct OutboxClosed;

impl OutboxSender {
    /// Queues a frame. Clones of a frame share its bytes. A lossy one that finds no room is dropped; a durable
    /// one then takes the place of the lossy ones that wait.
    ///
    /// # Errors
    /// When there is no room for a durable frame, or was none before: the outbox is to be dropped then.
    pub fn push(&self, frame: Utf8Bytes, class: Class) -> Result<(), OutboxClosed> {
        let mut queue = lock(&self.queue);
        if queue.verdict.is_some() {
            return Err(OutboxClosed);
        }
        if !queue.has_room(&frame) && class == Class::Durable {
            queue.drop_lossy();
        }
        match (queue.has_room(&frame), class) {
            (true, _) => queue.add(frame, class),
            (false, Class::Lossy) => queue.lossy_dropped += 1,
            (false, Class::Durable) => {
                let waker = queue.end((close::SLOW_CONSUMER, "events were not taken in time: reconnect"));
                drop(queue);
                wake(waker);
                return Err(OutboxClosed);
            }
        }
        let waker = queue.waker.take();
        drop(queue);
        wake(waker);
        Ok(())
    }
}

impl OutboxSender {
    /// Ends it because the device's token is void: what waits is lost.
    pub fn sign_out(&self) {
        let waker = lock(&self.queue).end((close::REAUTHENTICATE, "this device was signed out"));
        wake(waker);
    }
}

impl Outbox {
    /// The next frame. Safe to drop before it is ready.
    ///
    /// # Errors
    /// How to close the connection, when the router gave it up.
    pub async fn next(&mut self) -> Result<Utf8Bytes, Verdict> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next frame, if one is there already.
    pub fn next_now(&mut self) -> Option<Utf8Bytes> {
        lock(&self.queue).take()
    }

    /// How many lossy frames found no room.
    pub fn lossy_dropped(&self) -> u64 {
        lock(&self.queue).lossy_dropped
    }

    fn poll_next(&mut self, context: &Context<'_>) -> Poll<Result<Utf8Bytes, Verdict>> {
        let mut queue = lock(&self.queue);
        if let Some(verdict) = queue.verdict {
            return Poll::Ready(Err(verdict));
        }
        if let Some(frame) = queue.take() {
            return Poll::Ready(Ok(frame));
        }
        match &mut queue.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        // Who fills it learns that nobody drains it.
        lock(&self.queue).end((close::SLOW_CONSUMER, "the connection is gone"));
    }
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<(Utf8Bytes, Class)>,
    bytes: usize,
    lossy: usize,
    lossy_dropped: u64,
    /// Once it is there no frame comes or goes.
    verdict: Option<Verdict>,
    /// Of the task that waits for a frame.
    waker: Option<Waker>,
}

impl Queue {
    fn has_room(&self, frame: &Utf8Bytes) -> bool {
        let fits = self.bytes + frame.len() <= limits::OUTBOX_BYTES_MAX;
        self.frames.len() < limits::OUTBOX_LEN_MAX && fits
    }

    fn add(&mut self, frame: Utf8Bytes, class: Class) {
        self.bytes += frame.len();
        self.lossy += usize::from(class == Class::Lossy);
        self.frames.push_back((frame, class));
        debug_assert!(self.frames.len() <= limits::OUTBOX_LEN_MAX && self.bytes <= limits::OUTBOX_BYTES_MAX, "bounded");
    }

    fn take(&mut self) -> Option<Utf8Bytes> {
        let Some((frame, class)) = self.frames.pop_front() else {
            // What a burst needed is not kept for ever.
            self.frames = VecDeque::new();
            return None;
        };
        self.bytes -= frame.len();
        self.lossy -= usize::from(class == Class::Lossy);
        Some(frame)
    }

    fn drop_lossy(&mut self) {
        if self.lossy == 0 {
            return;
        }
        self.lossy_dropped += u64::try_from(self.lossy).expect("a usize fits");
        self.lossy = 0;
        self.frames.retain(|(_, class)| *class == Class::Durable);
        self.bytes = self.frames.iter().map(|(frame, _)| frame.len()).sum();
    }

    /// Gives the queue up and hands out whom to wake. The first verdict stands.
    fn end(&mut self, verdict: Verdict) -> Option<Waker> {
        self.verdict.get_or_insert(verdict);
        self.frames = VecDeque::new();
        (self.bytes, self.lossy) = (0, 0);
        self.waker.take()
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // Every change under the lock leaves the queue whole, so that a panic elsewhere does not matter.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(sender: &OutboxSender, class: Class, count: usize) {
        for number in 0..count {
            assert_eq!(sender.push(number.to_string().into(), class), Ok(()));
        }
    }

    #[tokio::test]
    async fn a_full_outbox_refuses_and_ends_instead_of_growing() {
        let (sender, mut outbox) = outbox();
        fill(&sender, Class::Durable, limits::OUTBOX_LEN_MAX);
        assert_eq!(sender.push("a lossy one too many".into(), Class::Lossy), Ok(()));
        assert_eq!(outbox.lossy_dropped(), 1);
        assert_eq!(sender.push("one too many".into(), Class::Durable), Err(OutboxClosed));
        let verdict = outbox.next().await.expect_err("events were lost, so none may follow");
        assert_eq!(verdict.0, close::SLOW_CONSUMER);
        assert_eq!(outbox.next_now(), None);
        assert_eq!(sender.push("later".into(), Class::Lossy), Err(OutboxClosed));
    }

    #[tokio::test]
    async fn lossy_frames_give_way_to_durable_ones_and_are_counted() {
        let (sender, mut outbox) = outbox();
        fill(&sender, Class::Durable, 6);
        fill(&sender, Class::Lossy, limits::OUTBOX_LEN_MAX - 6);
        assert_eq!(sender.push("durable".into(), Class::Durable), Ok(()));
        assert_eq!(usize::try_from(outbox.lossy_dropped()), Ok(limits::OUTBOX_LEN_MAX - 6));
        for expected in ["0", "1", "2", "3", "4", "5", "durable"] {
            assert_eq!(outbox.next().await.as_deref(), Ok(expected), "what is durable keeps its order");
        }
        assert_eq!(outbox.next_now(), None);
    }

    #[tokio::test]
    async fn an_outbox_is_bounded_in_bytes_too() {
        let (sender, mut outbox) = outbox();
        let frame = Utf8Bytes::from("x".repeat(limits::OUTBOX_BYTES_MAX / 2));
        assert_eq!(sender.push(frame.clone(), Class::Durable), Ok(()));
        assert_eq!(sender.push(frame.clone(), Class::Lossy), Ok(()));
        assert_eq!(sender.push(frame.clone(), Class::Durable), Ok(()), "the lossy one makes room");
        assert_eq!(sender.push("x".into(), Class::Durable), Err(OutboxClosed));
        assert!(outbox.next().await.is_err());
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_who_fills_learns_of_the_end() {
        let (sender, mut outbox) = outbox();
        let waiting = tokio::spawn(async move { (outbox.next().await, outbox) });
        tokio::task::yield_now().await;
        assert_eq!(sender.push("frame".into(), Class::Durable), Ok(()));
        let (frame, outbox) = waiting.await.expect("the task's end");
        assert_eq!(frame.as_deref(), Ok("frame"));
        drop(outbox);
        assert_eq!(sender.push("frame".into(), Class::Durable), Err(OutboxClosed));
    }
}
