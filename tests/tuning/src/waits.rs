//! How long something took each time, and which of these times is told.

use std::time::Duration;

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
    fn percentiles_are_those_of_the_textbook() {
        let waits: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!((percentile_ms(&waits, 50), percentile_ms(&waits, 99)), (100.0, 198.0));
        assert_eq!(percentile_ms(&waits[..1], 99), 200.0);
    }
}
