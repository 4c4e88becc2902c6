//! Open loop at a fixed rate, beside this machine's own `fdatasync` in the same folder and round.

use hdrhistogram::Histogram;

use crate::bench::{Bench, Target};
use crate::check;
use crate::dialect::Dialect;
use crate::figure::Figure;
use crate::{fleet, sync_time};

/// Syncs that are measured; a slow card does as many in some seconds.
const SYNCS: usize = 1_000;

/// Latency from the instant a message was due until it was acknowledged and until it was delivered.
pub async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut rounds = Vec::new();
    let plan = &bench.plan;
    for _ in 0..plan.rounds {
        let sync = sync_time::measure(&bench.work, SYNCS)?;
        let target = bench.start(Dialect::Server).await?;
        let pairs = plan.open_loop_pairs;
        let outcome = fleet::run(&target, 2 * pairs, pairs, plan.open_loop_rate, plan.open_loop).await?;
        let Target { process, site } = target;
        check::kill_and_read_back(process, &site, &bench.cores.all, &outcome.sent).await?;
        rounds.push((sync, outcome.acknowledged, outcome.delivered));
    }
    let figure = |name, pick: &dyn Fn(&Round) -> f64| Figure::new(name, "ms", rounds.iter().map(pick).collect());
    Ok(vec![
        figure("sync_p50", &|(sync, ..)| ms(sync, 0.5)),
        figure("sync_p99", &|(sync, ..)| ms(sync, 0.99)),
        figure("open_loop_ack_p50", &|(_, acknowledged, _)| ms(acknowledged, 0.5)),
        figure("open_loop_ack_p99", &|(_, acknowledged, _)| ms(acknowledged, 0.99)),
        figure("open_loop_p50", &|(.., delivered)| ms(delivered, 0.5)),
        figure("open_loop_p99", &|(.., delivered)| ms(delivered, 0.99)),
        figure("open_loop_max", &|(.., delivered)| ms(delivered, 1.0)),
        figure("open_loop_p50_over_sync", &|(sync, _, delivered)| ms(delivered, 0.5) - ms(sync, 0.5)),
        figure("open_loop_p99_over_sync", &|(sync, _, delivered)| ms(delivered, 0.99) - ms(sync, 0.99)),
    ])
}

type Round = (Histogram<u64>, Histogram<u64>, Histogram<u64>);

fn ms(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1e6
}
