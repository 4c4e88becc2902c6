//! Power cuts while messages are being written: somebody sends without a pause until the plug is pulled. What was acknowledged
//! by then must be there afterwards, in an unbroken sequence.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use posthouse_client::ServerUrl;
use posthouse_protocol::Token;
use tokio::task::JoinHandle;

use crate::chat::Device;

/// So many are acknowledged before the plug may be pulled.
const ACKNOWLEDGED_MIN: usize = 20;

/// For them an emulated box needs seconds.
const STORM_LIMIT: Duration = Duration::from_secs(120);

/// The plug is pulled at a random moment within this time after.
const MOMENT_MAX_MS: u64 = 3_000;

/// Between two messages of somebody who leaves the box time for something else.
const BETWEEN: Duration = Duration::from_millis(100);

/// Whoever sends, until the power goes; yields the texts that were acknowledged.
pub struct Storm(JoinHandle<Vec<String>>);

/// Starts sending and returns at a random moment in it, while it goes on.
pub async fn begin(server: &ServerUrl, token: Token, to: &'static str, name: &str) -> anyhow::Result<Storm> {
    let device = Device::come_back(server, token).await?;
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, name) = (Arc::clone(&count), name.to_owned());
    let storm = Storm(tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        loop {
            let text = format!("{name}, message {}", acknowledged.len());
            if device.send(to, &text).await.is_err() {
                return acknowledged;
            }
            acknowledged.push(text);
            counted.store(acknowledged.len(), Ordering::Relaxed);
        }
    }));
    await_count(&count, ACKNOWLEDGED_MIN).await?;
    let moment = moment()?;
    println!("test-image: {} acknowledged; the power goes {} ms later", ACKNOWLEDGED_MIN, moment.as_millis());
    tokio::time::sleep(moment).await;
    ensure!(!storm.0.is_finished(), "the box stopped taking messages before its power was cut");
    Ok(storm)
}

impl Storm {
    /// What was acknowledged before the power went; to be called after.
    pub async fn acknowledged(self) -> anyhow::Result<Vec<String>> {
        let texts = self.0.await.context("sending panicked")?;
        println!("test-image: {} messages were acknowledged before the power cut", texts.len());
        Ok(texts)
    }
}

/// Whoever sends, now and then, and goes on when the server has been started anew.
pub struct Persistent<T> {
    done: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    sender: JoinHandle<Vec<(T, String)>>,
}

impl<T: Send + 'static> Persistent<T> {
    /// With each text that is acknowledged it keeps what `now` says right behind that.
    pub fn begin(
        server: &ServerUrl,
        token: Token,
        to: &'static str,
        now: impl Fn() -> T + Send + Sync + 'static,
    ) -> Self {
        let (done, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (server, is_done, counted) = (server.clone(), Arc::clone(&done), Arc::clone(&count));
        let sender = tokio::spawn(async move {
            let (mut acknowledged, mut device) = (Vec::new(), None);
            for number in 0.. {
                if is_done.load(Ordering::Relaxed) {
                    break;
                }
                // What got no answer may be there or not, so that nothing is sent twice.
                let text = format!("message {number}");
                if device.is_none() {
                    device = Device::come_back(&server, token.clone()).await.ok();
                }
                device = match device {
                    Some(sender) if sender.send(to, &text).await.is_ok() => {
                        acknowledged.push((now(), text));
                        counted.fetch_add(1, Ordering::Relaxed);
                        Some(sender)
                    }
                    _ => None,
                };
                tokio::time::sleep(BETWEEN).await;
            }
            acknowledged
        });
        Self { done, count, sender }
    }

    /// Waits until so many more are acknowledged.
    pub async fn acknowledge(&self, more: usize) -> anyhow::Result<()> {
        let enough = self.count.load(Ordering::Relaxed) + more;
        await_count(&self.count, enough).await
    }

    /// All that was acknowledged.
    pub async fn end(self) -> anyhow::Result<Vec<(T, String)>> {
        self.done.store(true, Ordering::Relaxed);
        self.sender.await.context("sending panicked")
    }
}

async fn await_count(count: &AtomicUsize, enough: usize) -> anyhow::Result<()> {
    let counted = async {
        while count.load(Ordering::Relaxed) < enough {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(STORM_LIMIT, counted).await.context("the box acknowledges too slowly")
}

/// All that was acknowledged is there, once, and the sequence has no hole.
pub async fn verify(server: &ServerUrl, token: Token, to: &str, acknowledged: &[String]) -> anyhow::Result<()> {
    let stored = Device::come_back(server, token).await?.whole_history(to).await?;
    let stored: Vec<(u64, &str)> =
        stored.iter().map(|message| (message.seq.0, message.text().unwrap_or_default())).collect();
    compare(&stored, acknowledged)
}

/// `stored` has each message's place in the conversation and its text.
fn compare(stored: &[(u64, &str)], acknowledged: &[String]) -> anyhow::Result<()> {
    for (place, (seq, _)) in (1..).zip(stored) {
        ensure!(*seq == place, "message {place} has seq {seq}: a hole");
    }
    let texts: HashSet<&str> = stored.iter().map(|(_, text)| *text).collect();
    ensure!(texts.len() == stored.len(), "a message is there twice");
    let lost: Vec<&String> = acknowledged.iter().filter(|text| !texts.contains(text.as_str())).collect();
    ensure!(lost.is_empty(), "acknowledged and not stored: {lost:?}");
    Ok(())
}

fn moment() -> anyhow::Result<Duration> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(Duration::from_millis(u64::from_le_bytes(random) % MOMENT_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn what_is_lost_doubled_or_out_of_sequence_is_noticed() {
        let acknowledged = ["a".to_owned(), "b".to_owned()];
        compare(&[(1, "a"), (2, "b")], &acknowledged).expect("all there");
        // The answer to the last one may have been lost with the power.
        compare(&[(1, "a"), (2, "b"), (3, "c")], &acknowledged).expect("more than was acknowledged");
        for (stored, expected) in [
            (&[(1, "a")][..], "not stored"),
            (&[(1, "a"), (3, "b")], "hole"),
            (&[(1, "a"), (2, "b"), (3, "b")], "twice"),
        ] {
            let error = compare(stored, &acknowledged).expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
