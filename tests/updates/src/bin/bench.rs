//! `update-bench CLIENTS FILE`: a crowd goes through a good update, measured; the result is written as JSON and printed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use posthouse_update_tests::crowd;
use posthouse_update_tests::world::Timing;

/// Each client sends so often: a thousand send 500 messages a second.
const SENDS_EVERY: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args().skip(1);
    let clients =
        words.next().context("say how many clients, and which file")?.parse().context("a number of clients")?;
    let file = PathBuf::from(words.next().context("say which file")?);
    let outcome = crowd::update(&Timing::short(), clients, SENDS_EVERY).await;
    let text = serde_json::to_string_pretty(&outcome)? + "\n";
    let folder = file.parent().context("the file lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::write(&file, &text).with_context(|| format!("writing {}", file.display()))?;
    println!("{text}");
    let is_whole = outcome.refused + outcome.lost + outcome.duplicated == 0;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
