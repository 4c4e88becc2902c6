//! The benchmarks themselves under test: each runs, small, and their proof of durability can fail.

use std::collections::HashSet;
use std::process::Command;

use posthouse_load::check::{self, Sent};
use posthouse_load::figure;
use posthouse_load::fill;
use posthouse_load::process::Process;
use posthouse_load::site::{Site, Stock};
use serde_json::Value;

/// Any core: nothing is timed here.
const CORES: &str = "0-4095";

#[test]
fn every_scenario_runs_and_every_limit_has_a_figure() {
    let server = posthouse_e2e::binaries::server();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_posthouse-load"))
        .envs([("QUICK", "1"), ("RUST_BACKTRACE", "0")])
        .env("BENCH_DIR", folder.path())
        .env("POSTHOUSE_BIN_DIR", server.parent().expect("a program lies in a folder"))
        .env_remove("BENCH")
        .output()
        .expect("the load starts");
    assert!(output.status.success(), "{output:?}");
    let report = std::fs::read_to_string(folder.path().join("report.json")).expect("a report");
    let rows: Vec<Value> = serde_json::from_str(&report).expect("a list");
    let names: HashSet<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names.len(), rows.len(), "each figure has a name of its own: {report}");
    for row in &rows {
        assert!(row["value"].is_f64() && row["min"].is_f64() && row["max"].is_f64(), "not measured: {row}");
    }
    for name in figure::limited() {
        assert!(names.contains(name), "{name} has a limit and was not measured");
    }
    let table = std::fs::read_to_string(folder.path().join("report.md")).expect("a table");
    assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), rows.len() + 2, "{table}");
}

#[test]
fn an_unknown_scenario_is_refused_with_the_names_of_those_there_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(env!("CARGO_BIN_EXE_posthouse-load"))
        .envs([("QUICK", "1"), ("BENCH", "nothing"), ("RUST_BACKTRACE", "0")])
        .env("BENCH_DIR", folder.path())
        .output()
        .expect("the load starts");
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(r#"there is no scenario "nothing""#) && error.contains("pairs"), "{error}");
}

#[tokio::test]
async fn the_proof_of_durability_notices_what_is_missing_doubled_or_out_of_order() {
    posthouse_e2e::binaries::server();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stock = Stock::new(&folder.path().join("cache"), &folder.path().join("work"), CORES).expect("folders");
    let site = stock.people(4).await.expect("four accounts");
    let server = Process::server(&site.data_dir(), CORES).expect("it starts");
    fill::messages(&server, &site.content, 1, 3).await.expect("three messages");
    drop(server);

    let (written, empty) = (0, 1);
    assert_eq!(read_back(&site, written, 0, &[1, 2, 3]).await, Ok(()));
    assert_eq!(read_back(&site, written, 1, &[2, 3]).await, Ok(()));
    assert_eq!(read_back(&site, empty, 0, &[]).await, Ok(()));
    for (conversation, before, numbers, complaint) in [
        (written, 0, &[1, 2, 3, 4][..], "has 3 where 4 was acknowledged"),
        (written, 0, &[0, 1, 2, 3], "has seq 3, not 4"),
        (written, 0, &[1, 3, 2], "has 3 where 2 was acknowledged"),
        (written, 0, &[2, 3], "has seq 3, not 2"),
        (written, 2, &[], "has more than was sent: seq 3"),
        (empty, 0, &[1], "lost 1 messages"),
        (empty, 1, &[], "lost what it had before"),
    ] {
        let error = read_back(&site, conversation, before, numbers).await.expect_err("a difference");
        assert!(error.contains(complaint), "{numbers:?} after {before}: {error}");
    }
}

/// What the check says of a store that has the messages 1, 2 and 3 in its first conversation.
async fn read_back(site: &Site, conversation: usize, before: u64, numbers: &[u64]) -> Result<(), String> {
    let server = Process::server(&site.data_dir(), CORES).expect("it starts");
    let reader = site.content.people[2 * conversation + 1].clone();
    let sent =
        Sent { reader, conversation: site.content.conversations[conversation], before, numbers: numbers.to_vec() };
    check::kill_and_read_back(server, site, CORES, &[sent]).await.map_err(|error| format!("{error:#}"))
}
