//! How long something is to last, as a person writes it: `30m`, `8h`, `2d`.

use std::time::{Duration, UNIX_EPOCH};

use posthouse_protocol::TimestampMs;

/// Ten years: longer is for ever, for which nobody writes a number, and soon past the last date that a calendar has.
const LONGEST_D: u64 = 3_650;

/// Minutes, hours or days, up to [`LONGEST_D`].
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
    let span = parsed().ok_or_else(|| "minutes, hours or days: 30m, 8h, 2d".to_owned())?;
    if span > Duration::from_secs(LONGEST_D * 86_400) {
        return Err(format!("too long: at most {LONGEST_D}d"));
    }
    Ok(span)
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
        assert_eq!(span("3650d"), Ok(Duration::from_secs(3_650 * 86_400)));
        for long in ["3651d", "49710269d", "87601h", "4294967295m"] {
            assert_eq!(span(long), Err("too long: at most 3650d".to_owned()), "{long}");
        }
        for bad in ["", "2", "0h", "-1h", "2 weeks", "é", "99999999999d"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
