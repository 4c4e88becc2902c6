//! What is measured: one value a round, of which the middle one counts and the outermost ones are told.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

#[derive(Debug, Serialize)]
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
    /// From one value a round, of which there is at least one.
    pub fn new(name: String, unit: &'static str, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (min, max) = (values[0], values[values.len() - 1]);
        Self { name, value: values[values.len() / 2], unit, rounds: values.len(), min, max }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, unit, rounds, min, max } = self;
        write!(f, "{name:<52}{value:>10.2} {unit:<7} ({min:.2} to {max:.2}, {rounds} rounds)")
    }
}

/// That of the waits which so many hundredths of them do not exceed, in milliseconds.
pub fn percentile_ms(waits: &[Duration], hundredths: usize) -> f64 {
    let mut waits = waits.to_vec();
    waits.sort();
    let place = (waits.len() * hundredths).div_ceil(100).clamp(1, waits.len());
    waits[place - 1].as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_medians_are_those_of_the_textbook() {
        let waits: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!((percentile_ms(&waits, 50), percentile_ms(&waits, 99)), (100.0, 198.0));
        assert_eq!(percentile_ms(&waits[..1], 99), 200.0);
        let figure = Figure::new("x".to_owned(), "ms", vec![3.0, 1.0, 2.0]);
        assert_eq!((figure.min, figure.value, figure.max, figure.rounds), (1.0, 2.0, 3.0, 3));
    }
}
