//! How updates stand, in lines for people.

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use posthouse_protocol::update::{
    HistoryEntry, SlotInfo, SlotKind, UpdateOutcome, UpdateSource, UpdateStatus, UpdateVerdict,
};

use crate::screen::printable;

/// A text of the server's in one line, which can't steer the terminal.
pub fn plain(text: &str) -> String {
    printable(&text.replace(['\r', '\n'], " "))
}

/// Everything, the most important first.
pub fn status(status: &UpdateStatus) -> String {
    let state = &status.state;
    let mut lines = vec![format!("Runs: {}", slot(&state.current))];
    if let Some(trial) = &state.trial {
        let left = format!("may start {} times and crash {} times more", trial.starts_left, trial.crashes_left);
        lines.push(format!("Being tried: {}; {left}", slot(&trial.slot)));
    }
    lines.extend(state.previous.as_ref().map(|previous| format!("Can go back to: {}", slot(previous))));
    lines.extend(state.last.as_ref().map(last));
    if let Some(refused) = &state.refused {
        lines.push(format!("Refused{}: {}", when(refused.at_ms), plain(&refused.reason)));
    }
    lines.extend(available(status));
    lines.push(source(&status.source));
    lines.extend(status.problem.as_ref().map(|problem| format!("Problem: {}", plain(problem))));
    lines.extend(state.trouble.as_ref().map(|trouble| format!("Trouble: {}", plain(trouble))));
    lines.extend(trusted(status));
    if status.stale {
        let day = state.current.expires_day.map(day).unwrap_or_default();
        lines.push(format!("Warning: there should be a newer version since {day}; this one may lack important fixes."));
    }
    lines.join("\n")
}

/// What has happened, a line each.
pub fn history(history: &[HistoryEntry]) -> String {
    if history.is_empty() {
        return "Nothing has happened yet.".to_owned();
    }
    let line = |entry: &HistoryEntry| {
        let at = entry.at_ms.map_or_else(|| "(no time)".to_owned(), local);
        let part = |before: &str, text: &Option<String>| {
            text.as_deref().map(|text| format!("{before}{}", plain(text))).unwrap_or_default()
        };
        let what = plain(&entry.what.replace('_', " "));
        let (version, by) = (part(" ", &entry.version), part(" by ", &entry.by));
        format!("{at}  {what}{version}{by}{}", part(": ", &entry.reason))
    };
    history.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn slot(slot: &SlotInfo) -> String {
    let mut said = format!("version {}", plain(&slot.version));
    if slot.kind == SlotKind::Factory {
        said.push_str(", as it came with the image");
    }
    if let Some(seq) = slot.seq {
        said.push_str(&format!(", number {seq}"));
    }
    if !slot.signed_by.is_empty() {
        said.push_str(&format!(", signed by {}", plain(&slot.signed_by.join(", "))));
    }
    if let Some(issued) = slot.issued_day {
        said.push_str(&format!(", of {}", day(issued)));
    }
    said
}

fn last(last: &UpdateVerdict) -> String {
    let version = plain(last.version.as_deref().unwrap_or_default());
    let said = match last.outcome {
        UpdateOutcome::Confirmed => format!("version {version} has proved itself"),
        UpdateOutcome::RolledBack => format!("version {version} was given up"),
        UpdateOutcome::WentBack => "somebody went back to the version before".to_owned(),
    };
    let reason = last.reason.as_deref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
    format!("Last{}: {said}{reason}", when(last.at_ms))
}

fn available(status: &UpdateStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(found) = &status.available {
        let here = if found.bundle.is_some() { ", downloaded" } else { "" };
        let due = found.due_ms.map(|due| format!(", installed by itself from {} on", local(due))).unwrap_or_default();
        let (version, seq, len) = (plain(&found.version), found.seq, found.length);
        lines.push(format!("New: version {version}, number {seq}, {len} bytes{here}{due}"));
        if !found.notes.is_empty() {
            lines.push(format!("     {}", plain(&found.notes)));
        }
    }
    lines
}

fn source(source: &UpdateSource) -> String {
    let Some(url) = &source.url else {
        return "Source: no update URL is set; bring a bundle with `posthouse update push`".to_owned();
    };
    let checked =
        source.checked_ms.map_or_else(|| ", not asked yet".to_owned(), |at| format!(", asked at {}", local(at)));
    let how = match (&source.paused, source.postponed_until_ms) {
        (Some(reason), _) => format!("not installed by itself: {}", plain(reason)),
        (None, Some(until)) => format!("postponed until {}", local(until)),
        (None, None) => format!("installed by itself at {}", plain(&source.window)),
    };
    format!("Source: {} ({}){checked}; {how}", plain(url), plain(&source.channel))
}

fn trusted(status: &UpdateStatus) -> Option<String> {
    let (root, ratchet) = (&status.state.root, status.state.ratchet);
    let keys = plain(&root.keys.join(", "));
    (root.threshold > 0).then(|| {
        format!(
            "Trusted: {} of {} keys ({keys}); root {}, generation {}; taken: above number {}, back to {}",
            root.threshold,
            root.keys.len(),
            root.version,
            root.generation,
            ratchet.seq,
            ratchet.min_seq
        )
    })
}

fn when(at_ms: Option<u64>) -> String {
    at_ms.map(|at| format!(" ({})", local(at))).unwrap_or_default()
}

/// In this machine's time zone.
fn local(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(
        || "(no time)".to_owned(),
        |at| at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}

fn day(days: u32) -> String {
    let span = Span::new().try_days(i64::from(days));
    let day = span.and_then(|span| date(1970, 1, 1).checked_add(span));
    day.map_or_else(|_| "(no day)".to_owned(), |day| day.to_string())
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::update::{UpdateRefusal, UpdateState};

    use super::*;

    #[test]
    fn what_a_server_says_never_steers_the_terminal_and_a_day_is_a_date() {
        let reason = "\u{1b}[2Jgone\nWarning: all is well".to_owned();
        let refused = Some(UpdateRefusal { reason, ..UpdateRefusal::default() });
        let current = SlotInfo { version: "1".to_owned(), expires_day: Some(20_780), ..SlotInfo::default() };
        let state = UpdateState { refused, current, ..UpdateState::default() };
        let said = status(&UpdateStatus { state, stale: true, ..UpdateStatus::default() });
        assert!(!said.contains('\u{1b}') && !said.contains("\nWarning: all"), "{said:?}");
        assert!(said.contains("Runs: version 1, as it came with the image\n"), "{said}");
        assert!(said.contains("since 2026-11-23"), "{said}");
        assert_eq!(day(u32::MAX), "(no day)");
        assert_eq!(local(u64::MAX), "(no time)");
    }
}
