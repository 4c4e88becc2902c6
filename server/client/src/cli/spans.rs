//! How long something is to last, as a person writes it: `30m`, `8h`, `2d`.

use std::time::{Duration, UNIX_EPOCH};

use posthouse_protocol::TimestampMs;

/// Minutes, hours or days.
///
/// # Errors
/// What would be right.
pub fn span(text: &str) -> Result<Duration, String> {
    let parsed = || {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit_s = match unit {
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        let s = number.trim().parse::<u32>().ok().filter(|number| *number > 0)?;
        Some(Duration::from_secs(u64::from(s) * unit_s))
    };
    parsed().ok_or_else(|| "minutes, hours or days: 30m, 8h, 2d".to_owned())
}

/// When that will be over, by this machine's clock.
pub fn end_of(span: Duration) -> TimestampMs {
    let then = UNIX_EPOCH.elapsed().unwrap_or_default() + span;
    TimestampMs(u64::try_from(then.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_hours_and_days_are_understood_and_nothing_else() {
        for (text, minutes) in [("30m", 30), ("2h", 120), ("1d", 1_440), ("2 h", 120)] {
            assert_eq!(span(text), Ok(Duration::from_secs(minutes * 60)), "{text}");
        }
        for bad in ["", "2", "0h", "-1h", "2 weeks", "é", "99999999999d"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
