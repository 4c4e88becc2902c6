//! The bounded queue of events for one connection.
//!
//! The router fills it and never waits: a connection that doesn't keep up loses its queue and is
//! closed with 4008, so that it reconnects and catches up from the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use posthouse_protocol::limits;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Makes an outbox: its filling end and its draining end.
pub fn outbox() -> (OutboxSender, Outbox) {
    let (sender, receiver) = mpsc::channel(limits::OUTBOX_LEN_MAX);
    let overflowed = Arc::new(AtomicBool::new(false));
    (OutboxSender { sender, overflowed: Arc::clone(&overflowed) }, Outbox { receiver, overflowed })
}

/// The filling end.
#[derive(Clone)]
pub struct OutboxSender {
    sender: mpsc::Sender<Utf8Bytes>,
    overflowed: Arc<AtomicBool>,
}

/// Why an outbox takes no more.
#[derive(Debug, PartialEq, Eq)]
pub struct OutboxClosed;

impl OutboxSender {
    /// Queues a frame. Clones of a frame share its bytes.
    ///
    /// # Errors
    /// When the queue is full or the connection is gone: the outbox is to be dropped then.
    pub fn push(&self, frame: Utf8Bytes) -> Result<(), OutboxClosed> {
        self.sender.try_send(frame).map_err(|error| {
            if matches!(error, mpsc::error::TrySendError::Full(_)) {
                self.overflowed.store(true, Ordering::Release);
            }
            OutboxClosed
        })
    }
}

/// The draining end.
pub struct Outbox {
    receiver: mpsc::Receiver<Utf8Bytes>,
    overflowed: Arc<AtomicBool>,
}

impl Outbox {
    /// The next frame; `None` when the router gave this connection up.
    pub async fn next(&mut self) -> Option<Utf8Bytes> {
        if self.overflowed.load(Ordering::Acquire) {
            return None;
        }
        self.receiver.recv().await
    }

    /// The next frame, if one is there already.
    pub fn next_now(&mut self) -> Option<Utf8Bytes> {
        self.receiver.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_outbox_refuses_and_ends_instead_of_growing() {
        let (sender, mut outbox) = outbox();
        for _ in 0..limits::OUTBOX_LEN_MAX {
            assert_eq!(sender.push("x".into()), Ok(()));
        }
        assert_eq!(sender.push("one too many".into()), Err(OutboxClosed));
        assert_eq!(outbox.next().await, None, "events were lost, so none may follow");
    }
}
