//! Rows: state under a key, in tables of the same shape. What reads them is whatever serde makes of JSON.

use bytes::Bytes;
use posthouse_protocol::{Account, AccountId, ConversationId, ConversationKind, TimestampMs};
use serde::{Deserialize, Serialize};

use super::record::{Malformed, encode_json};

/// A value under a key of one of the row tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub key: RowKey,
    pub value: Bytes,
}

/// Where a row is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowKey {
    pub table: RowTable,
    pub key: Bytes,
}

/// The kinds of rows; the numbers are the file format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum RowTable {
    /// account → [`AccountRow`]
    Account = 1,
    /// user name → account (8 bytes, big-endian)
    Username = 2,
    /// SHA-256 of a token → [`DeviceRow`]
    Device = 3,
    /// conversation → [`ConversationRow`]
    Conversation = 4,
    /// account, conversation → [`MembershipRow`]
    Membership = 5,
    /// conversation, account → nothing: who has a row in `Membership`
    Member = 6,
}

impl RowTable {
    /// All of them, for reading their numbers.
    const ALL: [Self; 6] =
        [Self::Account, Self::Username, Self::Device, Self::Conversation, Self::Membership, Self::Member];

    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }
}

/// What a later version wrote into a row: kept as it is when this one writes the row again.
pub type Unknown = serde_json::Map<String, serde_json::Value>;

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountRow {
    /// As others see it.
    #[serde(flatten)]
    pub account: Account,
    /// PHC string of the password (argon2id).
    pub password_hash: String,
    /// When it was made.
    pub created: TimestampMs,
    /// See [`Unknown`].
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A log-in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeviceRow {
    pub account_id: AccountId,
    pub name: String,
    pub created: TimestampMs,
}

/// A conversation. Who is in it stands in the memberships.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConversationRow {
    pub kind: ConversationKind,
    /// Of a direct one: the two, the lower number first; twice the same for notes to oneself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<[AccountId; 2]>,
    pub created: TimestampMs,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What an account is to a conversation that it is in or was in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MembershipRow {
    /// Which records of the conversation it may see; ascending, apart from each other.
    pub intervals: Vec<Interval>,
    pub joined: TimestampMs,
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
    /// A member from this record on.
    pub fn since(gseq: u64, joined: TimestampMs) -> Self {
        Self { intervals: vec![Interval { from: gseq, to: None }], joined, unknown: Unknown::new() }
    }

    /// Whether the account is a member now.
    pub fn is_current(&self) -> bool {
        self.intervals.last().is_some_and(|interval| interval.to.is_none())
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

impl RowKey {
    pub fn new(table: RowTable, key: impl Into<Vec<u8>>) -> Self {
        Self { table, key: Bytes::from(key.into()) }
    }

    pub fn account(account: AccountId) -> Self {
        Self::new(RowTable::Account, number_key(account.0))
    }

    pub fn username(name: &str) -> Self {
        Self::new(RowTable::Username, name.as_bytes())
    }

    pub fn device(token_hash: &[u8; 32]) -> Self {
        Self::new(RowTable::Device, *token_hash)
    }

    pub fn conversation(conversation: ConversationId) -> Self {
        Self::new(RowTable::Conversation, number_key(conversation.0))
    }

    pub fn membership(account: AccountId, conversation: ConversationId) -> Self {
        Self::new(RowTable::Membership, pair_key(account.0, conversation.0))
    }

    pub fn member(conversation: ConversationId, account: AccountId) -> Self {
        Self::new(RowTable::Member, pair_key(conversation.0, account.0))
    }
}

impl Row {
    /// A row with a JSON value.
    pub fn json<T: Serialize>(key: RowKey, value: &T) -> Self {
        Self { key, value: encode_json(value).into() }
    }

    /// A row with a value of plain bytes.
    pub fn plain(key: RowKey, value: impl Into<Vec<u8>>) -> Self {
        Self { key, value: Bytes::from(value.into()) }
    }
}

/// Numbers as keys: big-endian, so that their order as bytes is theirs as numbers.
pub(super) fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn pair_key(first: u64, second: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&second.to_be_bytes());
    key
}

/// The number in an eight-byte key or value.
pub(super) fn number_of(bytes: &[u8]) -> Result<u64, Malformed> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| Malformed("a number has not eight bytes".to_owned()))
}

/// The numbers in a key of two.
pub(super) fn pair_of(bytes: &[u8]) -> Result<(u64, u64), Malformed> {
    let (first, second) = bytes.split_at_checked(8).unwrap_or((bytes, &[]));
    Ok((number_of(first)?, number_of(second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_sees_what_lies_within_the_intervals_and_nothing_else() {
        let ended = Interval { from: 3, to: Some(5) };
        let mut row = MembershipRow { intervals: vec![ended], ..MembershipRow::since(0, TimestampMs(0)) };
        assert!(!row.is_current());
        row.intervals.push(Interval { from: 8, to: None });
        assert!(row.is_current());
        let seen: Vec<u64> = (1..=10).filter(|gseq| row.sees(*gseq)).collect();
        assert_eq!(seen, [3, 4, 5, 8, 9, 10]);
        assert_eq!(row.within(4, 9).collect::<Vec<_>>(), [(4, 5), (8, 9)]);
        assert_eq!(row.within(6, 7).next(), None);
    }

    #[test]
    fn what_a_later_version_wrote_into_a_row_is_kept() {
        let later = r#"{"account_id":1,"username":"anna","password_hash":"x","created":1,"shoe_size":38}"#;
        let row: AccountRow = serde_json::from_str(later).expect("reads");
        let again: serde_json::Value = serde_json::to_value(&row).expect("serialises");
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(later).expect("JSON"));
    }

    #[test]
    fn an_interval_is_stored_as_a_pair() {
        let row = MembershipRow::since(7, TimestampMs(1));
        let stored = encode_json(&row);
        assert_eq!(String::from_utf8_lossy(&stored), r#"{"intervals":[[7,null]],"joined":1}"#);
        assert_eq!(serde_json::from_slice::<MembershipRow>(&stored).expect("reads"), row);
    }
}
