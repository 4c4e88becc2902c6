//! The loads, one a file. A new one is a file, a name and a line below.

mod article;
mod crowd;
mod fan_out;
mod open_loop;
mod pairs;
mod reconnect;
mod start;
mod writes;

use crate::bench::Bench;
use crate::figure::Figure;

/// All of them, in the order in which they run.
pub const NAMES: [&str; 8] = ["pairs", "fan_out", "reconnect", "crowd", "open_loop", "article", "start", "writes"];

/// Runs one.
///
/// # Errors
/// Where a load did not come through, or what was acknowledged is not there afterwards.
///
/// # Panics
/// With a name that is not among [`NAMES`].
pub async fn run(name: &str, bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    match name {
        "pairs" => pairs::run(bench).await,
        "fan_out" => fan_out::run(bench).await,
        "reconnect" => reconnect::run(bench).await,
        "crowd" => crowd::run(bench).await,
        "open_loop" => open_loop::run(bench).await,
        "article" => article::run(bench).await,
        "start" => start::run(bench).await,
        "writes" => writes::run(bench).await,
        other => panic!("{other} is none of {NAMES:?}"),
    }
}
