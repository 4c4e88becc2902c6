//! Visitors who knock at the box's door all the time, while its server is killed again and again: the door is systemd's, so nobody
//! is ever refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::machine::Machine;

/// How often the box kills its server, by overlays/common/usr/lib/posthouse/selftest-server.
const KILLS: usize = 20;

/// The box pauses for up to 10 s before it starts its server again, and starting takes an emulated one some seconds.
const LIMIT: Duration = Duration::from_secs(420);

/// At once.
const VISITORS: usize = 4;

/// Longer than a pause and a start.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two visits of one visitor: a box that is busy with visitors starts no server.
const BETWEEN: Duration = Duration::from_millis(100);

/// They come until they are told to stop.
pub struct Visitors {
    done: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    visitors: JoinSet<anyhow::Result<usize>>,
}

impl Visitors {
    pub fn begin(door: SocketAddr) -> Self {
        let (done, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut visitors = JoinSet::new();
        for _ in 0..VISITORS {
            let (done, answers) = (Arc::clone(&done), Arc::clone(&answers));
            visitors.spawn(async move {
                let mut visits = 0;
                while !done.load(Ordering::Relaxed) {
                    let is_answered = visit(door).await?;
                    answers.fetch_add(usize::from(is_answered), Ordering::Relaxed);
                    visits += 1;
                    tokio::time::sleep(BETWEEN).await;
                }
                anyhow::Ok(visits)
            });
        }
        Self { done, answers, visitors }
    }

    /// How often they came, and how often they were answered. Fails where one was not let in.
    pub async fn end(mut self) -> anyhow::Result<(usize, usize)> {
        self.done.store(true, Ordering::Relaxed);
        let mut visits: usize = 0;
        while let Some(visitor) = self.visitors.join_next().await {
            visits += visitor??;
        }
        Ok((visits, self.answers.load(Ordering::Relaxed)))
    }
}

/// Asserts that the server is killed so often and that each visitor gets in, answered or cut off.
pub async fn assert_never_refused(machine: &mut Machine, door: SocketAddr) -> anyhow::Result<()> {
    let visitors = Visitors::begin(door);
    let end = machine
        .wait_for("the last of the kills", LIMIT, async |console| {
            let kills = (1..=KILLS).all(|kill| console.contains(&format!("posthouse-selftest: kills={kill}\r")));
            kills.then(|| {
                console.lines().find_map(|line| line.split_once("kills_end=").map(|(_, state)| state.trim().to_owned()))
            })?
        })
        .await?;
    ensure!(["listening", "active"].contains(&end.as_str()), "after the kills the socket is {end}");
    let (visits, answers) = visitors.end().await?;
    // Between two kills the server is there.
    ensure!(answers >= KILLS, "only {answers} of {visits} visits were answered");
    println!("test-image: server killed {KILLS} times: {visits} visits, {answers} answered, nobody refused");
    Ok(())
}

/// Whether the box answered: whoever is inside when the server is killed is cut off.
async fn visit(door: SocketAddr) -> anyhow::Result<bool> {
    let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect(door)).await;
    let mut stream = connecting.context("the door did not open")?.context("the door is shut")?;
    let ask = async {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 10.0.2.15\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(PATIENCE, ask).await.context("a visitor was let in and forgotten")?;
    Ok(answer.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 ")))
}
