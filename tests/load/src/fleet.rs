//! Many connections under a load that keeps its own time (open loop).
//!
//! A thread says when each message is due, whatever has become of those before, and each latency counts
//! from that instant: a server that stalls can't hide it by slowing the load down (coordinated omission).
//!
//! Everybody is online and wants to know who else is; who gets messages says half a second later how far it has read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::bench::Target;
use crate::check::Sent;
use crate::dialect::{Dialect, Heard, Person, RECEIPT_INTERVAL};
use crate::line::Line;
use crate::process::Usage;

/// Connections that are made at once: fewer than wait in a listening socket.
pub const OPENED_AT_ONCE: usize = 500;

/// Arrivals that the server, which gathers them, tells of in a second, rounded down. They are no part of the load.
const TOLD_IN_A_SECOND: u64 = 100;

/// Everything that was sent is answered and delivered by then.
const LAST_TIMEOUT: Duration = Duration::from_secs(30);

/// What an open loop came to.
pub struct Outcome {
    /// From the instant that a message was due to its acknowledgement, in nanoseconds.
    pub acknowledged: Histogram<u64>,
    /// The same to its arrival at the other member.
    pub delivered: Histogram<u64>,
    /// What the process used from the first message to the end of the load.
    pub before: Usage,
    /// At the end.
    pub after: Usage,
    /// How long the load was.
    pub length: Duration,
    /// For the check of what is stored.
    pub sent: Vec<Sent>,
}

/// What the connections of a load share.
struct Ledger {
    began: Instant,
    /// When message `n` was due, in nanoseconds after `began`.
    due: Vec<AtomicU64>,
    state: Mutex<State>,
    failed: mpsc::Sender<anyhow::Error>,
}

struct State {
    acknowledged: Histogram<u64>,
    delivered: Histogram<u64>,
}

/// Opens a connection for each of the people.
///
/// # Errors
/// The first that failed.
pub async fn open(target: &Target, people: &[Person], at_once: usize) -> anyhow::Result<Vec<Line>> {
    let (address, dialect) = (target.process.address(), target.process.dialect());
    let lines = stream::iter(people).map(|person| Line::open(address, dialect, person)).buffered(at_once);
    lines.try_collect().await
}

/// Sends messages at `rate` a second for `length` between the first `pairs` of the site's people, while
/// `users` of them are connected.
///
/// # Errors
/// Any connection's, and a message that did not arrive, twice, or out of order.
pub async fn run(target: &Target, users: u64, pairs: u64, rate: f64, length: Duration) -> anyhow::Result<Outcome> {
    let people = &target.site.content.people[..usize::try_from(users)?];
    let mut lines = open(target, people, OPENED_AT_ONCE).await?;
    if target.process.dialect() == Dialect::Server {
        for line in &mut lines {
            line.send(Dialect::online()).await?;
        }
    }
    let gap = Duration::from_secs_f64(1.0 / rate);
    let count = usize::try_from(length.as_nanos() / gap.as_nanos())?;
    let (failed, mut failures) = mpsc::channel(1);
    let state = State { acknowledged: Histogram::new(3)?, delivered: Histogram::new(3)? };
    let due = (0..count).map(|_| AtomicU64::new(0)).collect();
    let ledger = Arc::new(Ledger { began: Instant::now(), due, state: Mutex::new(state), failed });
    let mut tasks = JoinSet::new();
    let mut senders = Vec::new();
    for line in lines {
        let (sender, orders) = mpsc::unbounded_channel();
        senders.push(sender);
        tasks.spawn(drive(line, orders, Arc::clone(&ledger)));
    }
    // A short load is for a try, and waits less.
    tokio::time::sleep(Duration::from_secs(3 + users / TOLD_IN_A_SECOND).min(length)).await;
    let (began, before) = (Instant::now(), target.process.usage()?);
    let mut ticks = pace(count, gap, &ledger);
    let dialect = target.process.dialect();
    let mut numbers: Vec<Vec<u64>> = vec![Vec::new(); usize::try_from(pairs)?];
    while let Some(number) = ticks.recv().await {
        let pair = scattered(number, pairs);
        let to = if dialect == Dialect::Server { target.site.content.conversations[pair] } else { 2 * pair as u64 + 1 };
        numbers[pair].push(number);
        // One that has ended says so itself.
        let _ = senders[2 * pair].send(dialect.message(number, to, number));
    }
    ledger.all_arrived(count, &mut failures).await?;
    let (after, length) = (target.process.usage()?, began.elapsed());
    tasks.shutdown().await;
    let mut state = ledger.state.lock().unwrap_or_else(PoisonError::into_inner);
    let acknowledged = std::mem::replace(&mut state.acknowledged, Histogram::new(3)?);
    let delivered = std::mem::replace(&mut state.delivered, Histogram::new(3)?);
    let sent = sent(target, numbers);
    Ok(Outcome { acknowledged, delivered, before, after, length, sent })
}

fn sent(target: &Target, numbers: Vec<Vec<u64>>) -> Vec<Sent> {
    let content = &target.site.content;
    let pairs = content.people.iter().step_by(2).zip(&content.conversations).zip(numbers);
    let sent = pairs.map(|((reader, conversation), numbers)| Sent {
        reader: reader.clone(),
        conversation: *conversation,
        before: content.messages,
        numbers,
    });
    sent.collect()
}

/// Spreads messages over the pairs, the same way in each run.
fn scattered(number: u64, pairs: u64) -> usize {
    // Knuth's multiplicative hash.
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(hash % pairs).expect("a pair's number is small")
}

/// Gives each number at its instant, from a thread of its own: the runtime's timers are good to a
/// millisecond only.
fn pace(count: usize, gap: Duration, ledger: &Arc<Ledger>) -> mpsc::UnboundedReceiver<u64> {
    let (sender, ticks) = mpsc::unbounded_channel();
    let ledger = Arc::clone(ledger);
    std::thread::spawn(move || {
        let began = ledger.began.elapsed();
        for (number, slot) in ledger.due.iter().enumerate() {
            let due = began + gap * u32::try_from(number).expect("a load has fewer messages");
            std::thread::sleep(due.saturating_sub(ledger.began.elapsed()));
            slot.store(u64::try_from(due.as_nanos()).expect("a load is short"), Ordering::Release);
            if sender.send(number as u64).is_err() {
                return;
            }
        }
        debug_assert_eq!(count, ledger.due.len());
    });
    ticks
}

/// One connection: writes what it is told, notes what comes.
async fn drive(
    mut line: Line,
    mut orders: mpsc::UnboundedReceiver<tokio_tungstenite::tungstenite::Utf8Bytes>,
    ledger: Arc<Ledger>,
) {
    let mut last_seq = HashMap::new();
    let mut read = None;
    let receipt = tokio::time::sleep(RECEIPT_INTERVAL);
    tokio::pin!(receipt);
    let result: anyhow::Result<()> = async {
        loop {
            tokio::select! {
                heard = line.next() => {
                    let heard = heard?;
                    ledger.note(&heard, &mut last_seq)?;
                    if let Heard::Message { conversation: conversation @ 1.., seq, .. } = heard
                        && read.replace((conversation, seq)).is_none()
                    {
                        receipt.as_mut().reset(tokio::time::Instant::now() + RECEIPT_INTERVAL);
                    }
                }
                Some(frame) = orders.recv() => line.send(frame).await?,
                () = &mut receipt, if read.is_some() => {
                    if let Some((conversation, seq)) = read.take() {
                        line.send(Dialect::read_up_to(conversation, seq)).await?;
                    }
                }
            }
        }
    }
    .await;
    if let Err(error) = result {
        // The first failure ends the load; the others follow from it.
        let _ = ledger.failed.try_send(error);
    }
}

impl Ledger {
    fn note(&self, heard: &Heard, last_seq: &mut HashMap<u64, u64>) -> anyhow::Result<()> {
        let since_due = |number: u64| -> anyhow::Result<u64> {
            let due = self.due.get(usize::try_from(number)?).context("a message of no number that was sent")?;
            Ok(u64::try_from(self.began.elapsed().as_nanos())?.saturating_sub(due.load(Ordering::Acquire)))
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match heard {
            Heard::Answer(number) => state.acknowledged.record(since_due(*number)?)?,
            Heard::Message { conversation, seq, number } => {
                let last = last_seq.insert(*conversation, *seq).unwrap_or(seq.saturating_sub(1));
                ensure!(*conversation == 0 || *seq == last + 1, "seq {seq} followed {last} in {conversation}");
                state.delivered.record(since_due(*number)?)?;
            }
            Heard::Refused(error) => bail!("refused: {error}"),
            Heard::Other => {}
        }
        Ok(())
    }

    async fn all_arrived(&self, count: usize, failures: &mut mpsc::Receiver<anyhow::Error>) -> anyhow::Result<()> {
        let deadline = Instant::now() + LAST_TIMEOUT;
        loop {
            if let Ok(error) = failures.try_recv() {
                return Err(error);
            }
            let (acknowledged, delivered) = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                (state.acknowledged.len(), state.delivered.len())
            };
            let count = count as u64;
            ensure!(acknowledged <= count && delivered <= count, "something was answered or delivered twice");
            if (acknowledged, delivered) == (count, count) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "of {count}: {acknowledged} acknowledged, {delivered} delivered");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
