//! A crowd of idle connections: the memory of one, and how long it takes until all are back after all
//! were cut at once.

use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::dialect::{Dialect, Person};
use crate::figure::Figure;
use crate::fleet::{self, OPENED_AT_ONCE};
use crate::line::Line;

/// The allocator and the runtime come to rest.
const REST: Duration = Duration::from_millis(500);

struct Round {
    kib_each: f64,
    back_s: f64,
}

/// Memory per idle connection, and seconds until all are back.
pub async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut memory, mut back) = (Vec::new(), Vec::new());
    for _ in 0..bench.plan.rounds {
        let relay = round(bench, Dialect::Relay).await?;
        let server = round(bench, Dialect::Server).await?;
        memory.push((relay.kib_each, server.kib_each));
        back.push((relay.back_s, server.back_s));
    }
    let [memory, _] = Figure::with_relay(["idle_memory", ""], "KiB/connection", &memory);
    let mut figures = vec![memory];
    figures.extend(Figure::with_relay(["crowd_back", "crowd_back_multiple"], "s", &back));
    Ok(figures)
}

async fn round(bench: &Bench, dialect: Dialect) -> anyhow::Result<Round> {
    let target = bench.start(dialect).await?;
    // A person has several devices where there are more connections than people; the relay knows
    // connections only.
    let people = target.site.content.people.iter().cycle().take(bench.plan.crowd).cloned();
    let numbered = people.zip(0..).map(|(person, number)| match dialect {
        Dialect::Server => person,
        Dialect::Relay => Person { number, ..person },
    });
    let crowd: Vec<Person> = numbered.collect();
    let empty = target.process.usage()?.resident;
    let lines = fleet::open(&target, &crowd, OPENED_AT_ONCE).await?;
    tokio::time::sleep(REST).await;
    let full = target.process.usage()?.resident;
    let began = Instant::now();
    lines.into_iter().for_each(Line::cut);
    let lines = fleet::open(&target, &crowd, OPENED_AT_ONCE).await?;
    let back_s = began.elapsed().as_secs_f64();
    anyhow::ensure!(lines.len() == crowd.len(), "some did not come back");
    let kib_each = full.saturating_sub(empty) as f64 / 1024.0 / crowd.len() as f64;
    Ok(Round { kib_each, back_s })
}
