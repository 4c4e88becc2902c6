//! Connections that come, say who they are, and go without a goodbye: what one costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinSet;

use crate::awake::Awake;
use crate::bench::Bench;
use crate::dialect::Dialect;
use crate::figure::Figure;
use crate::line::Line;

/// CPU per reconnect.
pub async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut cpu = Vec::new();
    for _ in 0..bench.plan.rounds {
        cpu.push((round(bench, Dialect::Relay).await?, round(bench, Dialect::Server).await?));
    }
    Ok(Figure::with_relay(["reconnect_cpu", "reconnect_cpu_multiple"], "µs/reconnect", &cpu).to_vec())
}

async fn round(bench: &Bench, dialect: Dialect) -> anyhow::Result<f64> {
    let target = bench.start(dialect).await?;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut lanes = JoinSet::new();
    for lane in 0..bench.plan.reconnect_lanes {
        let (stop, count, address) = (Arc::clone(&stop), Arc::clone(&count), target.process.address());
        let lanes_count = bench.plan.reconnect_lanes;
        let people: Vec<_> = target.site.content.people.iter().skip(lane).step_by(lanes_count).cloned().collect();
        lanes.spawn(async move {
            for person in people.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                Line::open(address, dialect, person).await?.cut();
                count.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    let awake = Awake::begin();
    tokio::time::sleep(bench.plan.warm_up).await;
    let (before, counted) = (target.process.usage()?, count.load(Ordering::Relaxed));
    tokio::time::sleep(bench.plan.closed_loop).await;
    let (after, done) = (target.process.usage()?, count.load(Ordering::Relaxed) - counted);
    drop(awake);
    stop.store(true, Ordering::Relaxed);
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok((after.cpu - before.cpu).as_secs_f64() * 1e6 / done as f64)
}
