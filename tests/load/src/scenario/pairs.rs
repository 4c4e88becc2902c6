//! Closed loop: each of many pairs sends its next message when the last one was acknowledged to its
//! sender and has arrived at its recipient, who says every half second how far it has read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use crate::awake::Awake;
use crate::bench::{Bench, Target};
use crate::check::{self, Sent};
use crate::dialect::{Dialect, RECEIPT_INTERVAL};
use crate::figure::Figure;
use crate::fleet::{self, OPENED_AT_ONCE};
use crate::line::Line;

struct Round {
    cpu_us: f64,
    per_second: f64,
    /// Share of its core that the process had.
    busy: f64,
}

#[derive(Default)]
struct Loop {
    stop: AtomicBool,
    done: AtomicU64,
}

/// CPU per message and messages per second.
pub async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut cpu, mut rate, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.plan.rounds {
        let relay = round(bench, Dialect::Relay).await?;
        let server = round(bench, Dialect::Server).await?;
        cpu.push((relay.cpu_us, server.cpu_us));
        rate.push((relay.per_second, server.per_second));
        busy.push((relay.busy, server.busy));
    }
    let mut figures = Vec::new();
    figures.extend(Figure::with_relay(["pairs_cpu", "pairs_cpu_multiple"], "µs/message", &cpu));
    figures.extend(Figure::with_relay(["pairs_rate", "pairs_rate_multiple"], "messages/s", &rate));
    let [busy, _] = Figure::with_relay(["pairs_core_busy", ""], "%", &busy);
    figures.push(busy);
    Ok(figures)
}

async fn round(bench: &Bench, dialect: Dialect) -> anyhow::Result<Round> {
    let target = bench.start(dialect).await?;
    let people = usize::try_from(2 * bench.plan.pairs)?;
    let mut lines = fleet::open(&target, &target.site.content.people[..people], OPENED_AT_ONCE).await?.into_iter();
    let shared = Arc::new(Loop::default());
    let mut pairs = JoinSet::new();
    let mut conversations = target.site.content.conversations.iter();
    let mut peer = 1;
    while let (Some(one), Some(other), Some(conversation)) = (lines.next(), lines.next(), conversations.next()) {
        let to = if dialect == Dialect::Server { *conversation } else { peer };
        // Spread over the interval, as people are.
        let share = f64::from(u32::try_from(pairs.len())?) / bench.plan.pairs as f64;
        let receipt_due = Instant::now() + RECEIPT_INTERVAL.mul_f64(share);
        pairs.spawn(converse(one, other, dialect, (to, receipt_due), Arc::clone(&shared)));
        peer += 2;
    }
    let round = measure(bench, &target, &shared).await?;
    shared.stop.store(true, Ordering::Relaxed);
    let mut counts = Vec::new();
    while let Some(pair) = pairs.join_next().await {
        counts.push(pair??);
    }
    if dialect == Dialect::Server {
        let Target { process, site } = target;
        let sent: Vec<Sent> = counts
            .into_iter()
            .map(|(conversation, count)| {
                let index = site.content.conversations.iter().position(|other| *other == conversation);
                let reader = site.content.people[2 * index.expect("a conversation of the site") + 1].clone();
                Sent { reader, conversation, before: 0, numbers: (1..=count).collect() }
            })
            .collect();
        check::kill_and_read_back(process, &site, &bench.cores.all, &sent).await?;
    }
    Ok(round)
}

async fn measure(bench: &Bench, target: &Target, shared: &Loop) -> anyhow::Result<Round> {
    let _awake = Awake::begin();
    tokio::time::sleep(bench.plan.warm_up).await;
    let (began, before, done_before) = (Instant::now(), target.process.usage()?, shared.done.load(Ordering::Relaxed));
    tokio::time::sleep(bench.plan.closed_loop).await;
    let (after, done) = (target.process.usage()?, shared.done.load(Ordering::Relaxed) - done_before);
    let (length, cpu) = (began.elapsed().as_secs_f64(), (after.cpu - before.cpu).as_secs_f64());
    let done = done as f64;
    Ok(Round { cpu_us: cpu * 1e6 / done, per_second: done / length, busy: 100.0 * cpu / length })
}

/// Gives how many messages one pair came to, and where.
async fn converse(
    mut one: Line,
    mut other: Line,
    dialect: Dialect,
    (to, mut receipt_due): (u64, Instant),
    shared: Arc<Loop>,
) -> anyhow::Result<(u64, u64)> {
    let mut number = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        number += 1;
        one.send(dialect.message(number, to, number)).await?;
        one.answered(number).await?;
        let seq = other.message(number).await?;
        anyhow::ensure!(dialect == Dialect::Relay || seq == number, "message {number} has seq {seq}");
        shared.done.fetch_add(1, Ordering::Relaxed);
        if dialect == Dialect::Server && Instant::now() >= receipt_due {
            other.send(Dialect::read_up_to(to, seq)).await?;
            receipt_due = Instant::now() + RECEIPT_INTERVAL;
        }
    }
    Ok((to, number))
}
