//! What an account is to a conversation: which of its records it may see, and what it may do there.

use posthouse_protocol::{HistoryAccess, MemberRole, TimestampMs, limits};
use serde::{Deserialize, Serialize};

use super::rows::Unknown;

/// What an account is to a conversation that it is in or was in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MembershipRow {
    /// Which records of the conversation it may see; ascending, apart from each other.
    pub intervals: Vec<Interval>,
    #[serde(default)]
    pub role: MemberRole,
    /// When it joined last, by the clock.
    pub joined: TimestampMs,
    /// The next record at that time: tells who came first, also where the clock has jumped.
    #[serde(default)]
    pub entered: u64,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// From one record to another, both included; to the newest while there is no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(u64, Option<u64>)", from = "(u64, Option<u64>)")]
pub(super) struct Interval {
    pub from: u64,
    pub to: Option<u64>,
}

impl From<Interval> for (u64, Option<u64>) {
    fn from(interval: Interval) -> Self {
        (interval.from, interval.to)
    }
}

impl From<(u64, Option<u64>)> for Interval {
    fn from((from, to): (u64, Option<u64>)) -> Self {
        Self { from, to }
    }
}

impl MembershipRow {
    /// Of an account that has not been a member.
    pub fn never() -> Self {
        let (role, joined) = (MemberRole::Member, TimestampMs(0));
        Self { intervals: Vec::new(), role, joined, entered: 0, unknown: Unknown::new() }
    }

    /// The account is a member again, or for the first time; the next record is `gseq`.
    pub fn enter(&mut self, history: HistoryAccess, gseq: u64, now: TimestampMs) {
        match history {
            // It holds all earlier ones. Record 1 lies before the conversation's first.
            HistoryAccess::All => self.intervals = vec![Interval { from: 1, to: None }],
            HistoryAccess::FromJoining => self.intervals.push(Interval { from: gseq, to: None }),
        }
        if self.intervals.len() > limits::STAYS_MAX {
            self.intervals.remove(0);
        }
        (self.role, self.joined, self.entered) = (MemberRole::Member, now, gseq);
    }

    /// The account is a member no longer; `gseq` is the last record that it sees.
    pub fn exit(&mut self, gseq: u64) {
        self.role = MemberRole::Member;
        if let Some(interval) = self.intervals.last_mut() {
            interval.to = Some(gseq);
        }
    }

    /// Whether the account is a member now.
    pub fn is_current(&self) -> bool {
        self.current_from().is_some()
    }

    /// The record from which on a member sees everything.
    pub fn current_from(&self) -> Option<u64> {
        self.intervals.last().filter(|interval| interval.to.is_none()).map(|interval| interval.from)
    }

    /// Whether the account may see this record.
    pub fn sees(&self, gseq: u64) -> bool {
        self.within(gseq, gseq).next().is_some()
    }

    /// The parts of `first..=last` that the account may see, in ascending order.
    pub fn within(&self, first: u64, last: u64) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        let clipped = move |interval: &Interval| {
            let (from, to) = (interval.from.max(first), interval.to.unwrap_or(u64::MAX).min(last));
            (from <= to).then_some((from, to))
        };
        self.intervals.iter().filter_map(clipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::encode_json;

    /// A member from this record on.
    fn since(gseq: u64, joined: TimestampMs) -> MembershipRow {
        let mut row = MembershipRow::never();
        row.enter(HistoryAccess::FromJoining, gseq, joined);
        row
    }

    #[test]
    fn a_member_sees_what_lies_within_the_intervals_and_nothing_else() {
        let ended = Interval { from: 3, to: Some(5) };
        let mut row = MembershipRow { intervals: vec![ended], ..since(0, TimestampMs(0)) };
        assert!(!row.is_current());
        row.intervals.push(Interval { from: 8, to: None });
        assert!(row.is_current());
        let seen: Vec<u64> = (1..=10).filter(|gseq| row.sees(*gseq)).collect();
        assert_eq!(seen, [3, 4, 5, 8, 9, 10]);
        assert_eq!(row.within(4, 9).collect::<Vec<_>>(), [(4, 5), (8, 9)]);
        assert_eq!(row.within(6, 7).next(), None);
    }

    #[test]
    fn who_comes_back_sees_the_time_between_only_where_history_is_open_and_stays_are_bounded() {
        let mut row = since(3, TimestampMs(1));
        row.exit(5);
        row.role = MemberRole::Admin;
        row.enter(HistoryAccess::FromJoining, 8, TimestampMs(2));
        assert_eq!((row.role, row.entered, row.joined), (MemberRole::Member, 8, TimestampMs(2)));
        assert_eq!(row.within(0, 9).collect::<Vec<_>>(), [(3, 5), (8, 9)]);
        for gseq in 10..200 {
            row.exit(gseq * 2);
            row.enter(HistoryAccess::FromJoining, gseq * 2 + 1, TimestampMs(2));
            assert!(row.intervals.len() <= limits::STAYS_MAX && row.is_current());
        }
        assert!(!row.sees(4) && row.sees(399), "the oldest stays are forgotten");
        row.exit(400);
        row.enter(HistoryAccess::All, 500, TimestampMs(3));
        assert_eq!(row.within(0, 600).collect::<Vec<_>>(), [(1, 600)]);
    }

    #[test]
    fn an_interval_is_stored_as_a_pair() {
        let row = since(7, TimestampMs(1));
        let stored = encode_json(&row);
        assert_eq!(
            String::from_utf8_lossy(&stored),
            r#"{"intervals":[[7,null]],"role":"member","joined":1,"entered":7}"#
        );
        assert_eq!(serde_json::from_slice::<MembershipRow>(&stored).expect("reads"), row);
    }
}
