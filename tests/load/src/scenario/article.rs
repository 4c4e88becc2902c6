//! The load of the article that Posthouse starts from: 4,000 users who are logged in, 19.1 messages a
//! second between them.

use crate::bench::{Bench, Target};
use crate::check;
use crate::dialect::Dialect;
use crate::figure::Figure;
use crate::fleet;

/// Messages a second, on average over its 41 minutes.
const RATE: f64 = 19.1;

/// The server's share of one core, and the latency.
pub async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut cpu, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new());
    let users = bench.plan.article_users;
    for _ in 0..bench.plan.rounds {
        let target = bench.start(Dialect::Server).await?;
        let outcome = fleet::run(&target, users, users / 2, RATE, bench.plan.article).await?;
        let Target { process, site } = target;
        check::kill_and_read_back(process, &site, &bench.cores.all, &outcome.sent).await?;
        let used = outcome.after.cpu - outcome.before.cpu;
        cpu.push(100.0 * used.as_secs_f64() / outcome.length.as_secs_f64());
        p50.push(outcome.delivered.value_at_quantile(0.5) as f64 / 1e6);
        p99.push(outcome.delivered.value_at_quantile(0.99) as f64 / 1e6);
    }
    Ok(vec![
        Figure::new("article_cpu", "% of a core", cpu),
        Figure::new("article_p50", "ms", p50),
        Figure::new("article_p99", "ms", p99),
    ])
}
