//! Finds boxes on networks made for the purpose, as other people's programs do: Avahi, python-zeroconf and queries from an
//! ephemeral port, each in a network namespace of its own beside the box's.
//!
//! The real server runs in each box. Everything that is made here (namespaces, bridges, processes) lies in the namespaces that
//! `tests/discovery/run` starts this program in, and ends with them. Each scenario prints its figures.

mod scenarios;
mod server;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use posthouse_discovery_tests::{lan, peers, prepare, query};
use scenarios::{ALL, Scenario};

fn main() -> anyhow::Result<ExitCode> {
    posthouse_bench::namespace::assert_new("tests/discovery/run")?;
    prepare()?;
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let chosen: Vec<&Scenario> = ALL
        .iter()
        .filter(|one| wanted.is_empty() || wanted.iter().any(|name| one.name.contains(name.as_str())))
        .collect();
    anyhow::ensure!(!chosen.is_empty(), "there is no scenario {wanted:?}");
    let began = Instant::now();
    let failed = chosen.iter().filter(|scenario| !passes(scenario)).count();
    println!("discovery: {} of {} passed in {} s", chosen.len() - failed, chosen.len(), began.elapsed().as_secs());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A scenario that panics has failed; the others still run.
fn passes(scenario: &Scenario) -> bool {
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(scenario.run));
    let seconds = began.elapsed().as_secs_f64();
    match &result {
        Ok(figures) => println!("discovery: passed {} ({seconds:.1} s) {figures}", scenario.name),
        Err(_) => println!("discovery: FAILED {} ({seconds:.1} s)", scenario.name),
    }
    result.is_ok()
}
