//! A group on its way out: the answers to those who wait, and what others are to see.
//!
//! The writer hands a group over whole, so that it wakes the threads that serve the network once. Waking them for each answer
//! had them run, find one, sleep and be woken again, many times a group. The answers are given where the records are taken.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::task::coop::consume_budget;

use super::committed::Committed;
use super::record::Published;

/// Tells a caller; called when the group is on the disk and not before.
pub(super) type Reply = Box<dyn FnOnce() + Send>;

/// What a group came to. The writer makes one when it is on the disk.
pub(super) struct Settled {
    pub answers: Vec<Reply>,
    pub records: Vec<Committed<Published>>,
}

impl Settled {
    /// Tells those who wait, and gives the rest.
    pub fn answer(self) -> Vec<Committed<Published>> {
        for answer in self.answers {
            answer();
        }
        self.records
    }
}

/// So many records may wait behind answers that were given; past it, answers wait, too.
const TAKEN_LEN_MAX: usize = 1024;

/// What others are to see, in the order of its commits. While it is there, nobody who waits for a command is answered unless
/// records are taken; once it is gone the writer answers.
pub struct Records {
    groups: mpsc::Receiver<Settled>,
    taken: VecDeque<Committed<Published>>,
}

impl Records {
    /// Of the groups that come by this channel.
    pub(super) fn new(groups: mpsc::Receiver<Settled>) -> Self {
        Self { groups, taken: VecDeque::new() }
    }

    /// The next record, or nothing once the store has ended. Safe to drop before it is ready.
    pub async fn recv(&mut self) -> Option<Committed<Published>> {
        // Other tasks have their turns between the records of a long group.
        consume_budget().await;
        loop {
            // Nobody's answer waits until what was before it is handed out to a thousand members.
            while self.taken.len() < TAKEN_LEN_MAX
                && let Ok(settled) = self.groups.try_recv()
            {
                self.taken.extend(settled.answer());
            }
            if let Some(record) = self.taken.pop_front() {
                return Some(record);
            }
            self.taken.extend(self.groups.recv().await?.answer());
        }
    }
}

#[cfg(test)]
impl Records {
    /// For a test that waits for answers between the records that it looks at.
    pub fn forwarded(mut self) -> mpsc::UnboundedReceiver<Committed<Published>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(record) = self.recv().await {
                if sender.send(record).is_err() {
                    break;
                }
            }
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;

    use super::super::record::Recipients;
    use super::*;

    fn record(gseq: u64) -> Committed<Published> {
        let published = Published { gseq, recipients: Recipients::Everybody, origin: None, frame: Bytes::new() };
        Committed::after_commit(published)
    }

    /// An answer that counts itself.
    fn answer(answered: &Arc<AtomicU32>) -> Reply {
        let answered = Arc::clone(answered);
        Box::new(move || {
            answered.fetch_add(1, Ordering::Relaxed);
        })
    }

    #[tokio::test]
    async fn who_waits_is_answered_where_the_records_are_taken() {
        let answered = Arc::new(AtomicU32::new(0));
        let (sender, groups) = mpsc::channel(2);
        let mut records = Records::new(groups);
        let send = |records| {
            let answers = vec![answer(&answered), answer(&answered)];
            sender.try_send(Settled { answers, records }).expect("there is room");
        };
        let mut taken = Vec::new();
        let mut take = async || {
            let record = records.recv().await;
            taken.push((record.map(|record| record.gseq), answered.load(Ordering::Relaxed)));
        };
        send(vec![record(1), record(2)]);
        assert_eq!(answered.load(Ordering::Relaxed), 0);
        take().await;
        // While the first group is handed out.
        send(Vec::new());
        take().await;
        drop(sender);
        take().await;
        assert_eq!(taken, [(Some(1), 2), (Some(2), 4), (None, 4)], "in order, behind the answers of all that is there");
    }

    #[tokio::test]
    async fn answers_wait_where_many_records_do() {
        let answered = Arc::new(AtomicU32::new(0));
        let (sender, groups) = mpsc::channel(2);
        let mut records = Records::new(groups);
        let many = (1..).map(record).take(TAKEN_LEN_MAX).collect();
        for records in [many, vec![record(0)]] {
            sender.try_send(Settled { answers: vec![answer(&answered)], records }).expect("there is room");
        }
        records.recv().await.expect("a record");
        assert_eq!(answered.load(Ordering::Relaxed), 1, "the first group fills the room");
        records.recv().await.expect("a record");
        assert_eq!(answered.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn others_have_their_turn_within_a_long_group() {
        let taken = Arc::new(AtomicU32::new(0));
        let (sender, groups) = mpsc::channel(1);
        let (mut records, counted) = (Records::new(groups), Arc::clone(&taken));
        let long = (0..1000).map(record).collect();
        sender.try_send(Settled { answers: Vec::new(), records: long }).expect("there is room");
        let draining = tokio::spawn(async move {
            while records.recv().await.is_some() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let other = tokio::spawn({
            let taken = Arc::clone(&taken);
            async move { taken.load(Ordering::Relaxed) }
        });
        assert!(other.await.expect("its end") < 1000, "it waited for the whole group");
        drop(sender);
        draining.await.expect("its end");
        assert_eq!(taken.load(Ordering::Relaxed), 1000);
    }
}
