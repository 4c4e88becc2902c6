//! `make bench`: runs the scenarios one after the other and writes the report.
//!
//! Environment: `BENCH=NAME` runs one scenario; `QUICK=1` runs all of them small, as a smoke test;
//! `BENCH_DIR` is where the reports and the data go (`target/bench` by default).

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use etcetera::BaseStrategy;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use posthouse_load::bench::{Bench, Cores};
use posthouse_load::figure::Verdict;
use posthouse_load::plan::Plan;
use posthouse_load::site::Stock;
use posthouse_load::{report, scenario};

fn main() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    // Before the first thread, so that all of them stay on the load's core.
    let cores = Cores::divide()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(cores))
}

async fn run(cores: Cores) -> anyhow::Result<()> {
    let quick = std::env::var("QUICK").is_ok_and(|value| value == "1");
    let folder = std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    let work = folder.join("data");
    // Small ones are made anew in no time, and their cache goes with the report.
    let cache = if quick { folder.join("cache") } else { cache()? };
    let stock = Stock::new(&cache, &work, &cores.all)?;
    let plan = if quick { Plan::quick() } else { Plan::full() };
    let bench = Bench { plan, stock, work, cores };
    let chosen = chosen()?;
    let mut figures = Vec::new();
    for name in chosen {
        let began = Instant::now();
        let measured = scenario::run(name, &bench).await.with_context(|| format!("scenario {name}"))?;
        println!("{name}: {:.0} s", began.elapsed().as_secs_f64());
        figures.extend(measured);
        // What was measured stays, whatever comes of the rest.
        report::write(&folder, &about(&bench), &figures)?;
    }
    println!("\n{}", report::markdown(&about(&bench), &figures));
    println!("written to {}", folder.join("report.json").display());
    let failed = figures.iter().filter(|figure| figure.verdict() == Some(Verdict::Failed)).count();
    if failed > 0 {
        println!("{failed} figures are beyond their bounds");
    }
    Ok(())
}

fn chosen() -> anyhow::Result<Vec<&'static str>> {
    let Ok(wanted) = std::env::var("BENCH") else { return Ok(scenario::NAMES.to_vec()) };
    let chosen: Vec<_> = scenario::NAMES.into_iter().filter(|name| *name == wanted).collect();
    ensure!(!chosen.is_empty(), "there is no scenario {wanted:?}: BENCH is one of {}", scenario::NAMES.join(", "));
    Ok(chosen)
}

fn cache() -> anyhow::Result<PathBuf> {
    let strategy = etcetera::choose_base_strategy().context("no home folder to keep filled stores in")?;
    Ok(strategy.cache_dir().join("posthouse/bench"))
}

fn about(bench: &Bench) -> String {
    let rounds = bench.plan.rounds;
    let cores = if bench.cores.all.contains(',') { "one core, load on another" } else { "the load's only core" };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let profile = if cfg!(debug_assertions) { "A debug build of the load. " } else { "" };
    format!(
        "{profile}Medians of {rounds} alternating rounds; server on {cores}; {}.",
        model.trim_start_matches([' ', '\t', ':'])
    )
}
