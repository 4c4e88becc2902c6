//! `report.json` for programs and `report.md` for people.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::figure::{Figure, Verdict};

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    server: posthouse_bench::Figure,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<f64>,
}

impl Row {
    fn new(figure: &Figure) -> Self {
        let server = posthouse_bench::Figure::new(figure.name, figure.unit, &figure.rounds);
        Self { server, relay: figure.relay_value() }
    }
}

/// Writes both into `folder`.
///
/// # Errors
/// The system's.
pub fn write(folder: &Path, about: &str, figures: &[Figure]) -> anyhow::Result<()> {
    let rows: Vec<Row> = figures.iter().map(Row::new).collect();
    posthouse_bench::write(&folder.join("report.json"), &rows)?;
    let path = folder.join("report.md");
    std::fs::write(&path, markdown(about, figures)).with_context(|| format!("cannot write {}", path.display()))
}

/// The table that people read.
pub fn markdown(about: &str, figures: &[Figure]) -> String {
    let mut text = format!(
        "# Benchmarks\n\n{about}\n\n| figure | value | unit | min – max | relay | bound | aim | |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for figure in figures {
        let row = Row::new(figure);
        let limit = figure.limit();
        let cell = |value: Option<f64>| value.map_or_else(String::new, number);
        let verdict = match figure.verdict() {
            Some(Verdict::Aim) => "aim reached",
            Some(Verdict::Bound) => "within the bound",
            Some(Verdict::Failed) => "**beyond the bound**",
            None => "",
        };
        writeln!(
            text,
            "| {} | {} | {} | {} – {} | {} | {} | {} | {verdict} |",
            figure.name,
            number(row.server.value),
            row.server.unit,
            number(row.server.min),
            number(row.server.max),
            cell(row.relay),
            cell(limit.map(|limit| limit.bound)),
            cell(limit.map(|limit| limit.aim)),
        )
        .expect("a string takes everything");
    }
    text
}

/// Three digits that count.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        small if small < 1.0 => 3,
        medium if medium < 10.0 => 2,
        large if large < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misses_its_bound_is_said_and_rows_have_all_their_fields() {
        let figures = [
            Figure::new("start_after_kill", "s", vec![3.5, 2.0, 4.25]),
            Figure { name: "pairs_rate", unit: "messages/s", rounds: vec![100.0], relay: vec![250.0] },
        ];
        let text = markdown("A machine.", &figures);
        assert!(text.contains("| start_after_kill | 3.50 | s | 2.00 – 4.25 |  | 3.00 | 0.500 | **beyond"), "{text}");
        assert!(text.contains("| pairs_rate | 100 | messages/s | 100 – 100 | 250 |  |  |  |"), "{text}");
        let rows: Vec<Row> = figures.iter().map(Row::new).collect();
        let json = serde_json::to_value(&rows).expect("rows are JSON");
        let expected = serde_json::json!({
            "name": "start_after_kill", "value": 3.5, "unit": "s", "rounds": 3, "min": 2.0, "max": 4.25
        });
        assert_eq!(json[0], expected);
        assert_eq!(json[1]["relay"], 250.0);
    }
}
