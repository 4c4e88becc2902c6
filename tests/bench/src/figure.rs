//! One value a round, of which the middle one counts and the outermost ones are told.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// One figure over all rounds, as programs read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub name: String,
    /// The median of the rounds.
    pub value: f64,
    pub unit: &'static str,
    pub rounds: usize,
    pub min: f64,
    pub max: f64,
}

impl Figure {
    /// From one value a round.
    pub fn new(name: impl Into<String>, unit: &'static str, values: &[f64]) -> Self {
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { name: name.into(), value: median(values), unit, rounds: values.len(), min, max }
    }
}

/// One line for people.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, unit, rounds, min, max } = self;
        write!(f, "{name:<52}{value:>10.2} {unit:<7} ({min:.2} to {max:.2}, {rounds} rounds)")
    }
}

/// The middle one, or the mean of the middle two; no number where there is none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Writes figures, or rows with more than that, as JSON into a file whose folder need not be there yet.
///
/// # Errors
/// The system's.
pub fn write(path: &Path, figures: &[impl Serialize]) -> anyhow::Result<()> {
    let folder = path.parent().with_context(|| format!("{} names no file", path.display()))?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let text = serde_json::to_string_pretty(figures)? + "\n";
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_its_rounds() {
        let of = |values: &[f64]| {
            let figure = Figure::new("boot", "s", values);
            (figure.value, figure.min, figure.max, figure.rounds)
        };
        assert_eq!(of(&[30.0, 10.0, 11.0]), (11.0, 10.0, 30.0, 3));
        assert_eq!(of(&[4.0, 2.0]), (3.0, 2.0, 4.0, 2));
        assert_eq!(of(&[7.0]), (7.0, 7.0, 7.0, 1));
        assert!(median(&[]).is_nan());
    }
}
