//! Rows: state under a key, in tables of the same shape. What reads them is whatever serde makes of JSON.

use bytes::Bytes;
use posthouse_protocol::{
    Account, AccountId, AccountRole, AccountStatus, Body, ConversationId, ConversationKind, DisplayName, HistoryAccess,
    MessageId, Preferences, Profile, Seq, TimestampMs, Title,
};
use serde::{Deserialize, Serialize};

use super::choice::Choice;
use super::device_index::TokenHash;
use super::probe;
use super::record::{Malformed, encode_json};
use super::state::Standing;

/// A value under a key of one of the row tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub key: RowKey,
    pub value: Bytes,
}

/// Where a row is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowKey {
    /// A number of [`RowTable`], or of a later version's.
    pub table: u8,
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
    /// account, conversation → [`super::membership::MembershipRow`]
    Membership = 5,
    /// conversation, account → nothing: who is in it now
    Member = 6,
    /// a name to be found by, a zero byte, account → nothing; see [`AccountRow::search_names`]
    AccountName = 16,
    /// SHA-256 of a code → [`InviteRow`]
    Invite = 17,
    /// message, number → [`VersionRow`]: what it said before
    Version = 20,
    /// message, emoji → the accounts that have added it (8 bytes each, big-endian, ascending)
    Reaction = 21,
    /// conversation, account, `seq` → nothing: the message there mentions the account; account 0 stands for all
    Mention = 22,
    /// conversation, account → [`MarkRow`]
    Mark = 23,
    /// account, conversation → [`PreferencesRow`]
    Preferences = 24,
    /// what is set for the whole site, by its name
    Setting = 25,
    /// conversation → `seq` and count of its last record that is no longer kept (see `retention.rs`)
    Erased = 26,
}

/// What a later version wrote into a row: kept as it is when this one writes the row again.
pub type Unknown = serde_json::Map<String, serde_json::Value>;

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountRow {
    /// As others see it.
    #[serde(flatten)]
    pub account: Account,
    /// The name to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<DisplayName>,
    /// What it may do on this site.
    #[serde(default, skip_serializing_if = "is_default")]
    pub role: Choice<AccountRole>,
    /// Whether somebody may log in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: Choice<AccountStatus>,
    /// PHC string of the password (argon2id).
    pub password_hash: String,
    /// Whether the password has to be changed before the next log-in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub must_change: bool,
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
    /// By the clock, for people.
    pub used: TimestampMs,
    /// In hours of serving, for expiry.
    pub used_hour: u64,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// An invite.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct InviteRow {
    pub created_by: AccountId,
    pub created: TimestampMs,
    /// In seconds of serving.
    pub expires_s: u64,
    pub uses_left: u32,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A conversation. Who is in it stands in the memberships.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConversationRow {
    pub kind: Choice<ConversationKind>,
    /// Of a direct one: the two, the lower number first; twice the same for notes to oneself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<[AccountId; 2]>,
    /// Of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupRow>,
    pub created: TimestampMs,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What a group is beside a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GroupRow {
    #[serde(flatten)]
    pub settings: GroupSettings,
    /// Whether every account is in it.
    pub everybody: bool,
    /// How many are in it, so that a list need not count them.
    pub member_count: u64,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What its admins choose for a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSettings {
    /// What it is called.
    pub title: Title,
    /// Whether only the owner and admins may send.
    pub announcement_only: bool,
    /// What those see who join from now on.
    pub history: HistoryAccess,
}

/// How far a member has come in a conversation. A value of two numbers, because there are many and they change often;
/// what is written never takes it back (`apply.rs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MarkRow {
    pub read: u64,
    pub delivered: u64,
}

impl MarkRow {
    pub fn to_bytes(self) -> [u8; 16] {
        pair_key(self.read, self.delivered)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        pair_of(bytes).map(|(read, delivered)| Self { read, delivered })
    }

    /// The further of two.
    pub fn furthest(self, other: Self) -> Self {
        Self { read: self.read.max(other.read), delivered: self.delivered.max(other.delivered) }
    }
}

/// What a member has set for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PreferencesRow {
    pub muted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<TimestampMs>,
    pub pinned: bool,
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl PreferencesRow {
    /// As clients see it.
    pub fn of(&self, conversation_id: ConversationId) -> Preferences {
        let Self { muted, muted_until, pinned, .. } = *self;
        Preferences { conversation_id, muted, muted_until, pinned }
    }
}

/// For how long a site keeps what was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RetentionRow {
    /// In days of serving; for ever without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What belongs to whoever owns the box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OwnershipRow {
    /// What backups are to be encrypted with; the owner has it on paper.
    pub backup_key: String,
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What a message said until it was edited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VersionRow {
    /// Since when.
    pub ts: TimestampMs,
    pub body: Body,
    /// The record of the edit that put another text in its place.
    pub replaced_by: u64,
}

impl AccountRow {
    /// What everybody may know.
    pub fn profile(&self) -> Profile {
        let Account { account_id, username } = self.account.clone();
        let Standing { role, status } = self.standing();
        Profile { account_id, username, display_name: self.display_name.clone(), role, status }
    }

    pub(super) fn standing(&self) -> Standing {
        Standing { role: self.role.value(), status: self.status.value() }
    }

    /// What the account is found by, in lower case and in ascending order: its names, and the display name's words.
    /// Nobody looks for who has departed.
    pub(super) fn search_names(&self) -> Vec<String> {
        if self.status.value() == AccountStatus::Departed {
            return Vec::new();
        }
        let mut names = vec![self.account.username.as_str().to_owned()];
        if let Some(display_name) = &self.display_name {
            let folded = display_name.as_str().to_lowercase();
            names.extend(folded.split_whitespace().map(str::to_owned));
            names.push(folded);
        }
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl GroupRow {
    /// Of a group that nobody is in yet.
    pub fn new(settings: GroupSettings) -> Self {
        Self { settings, everybody: false, member_count: 0, unknown: Unknown::new() }
    }
}

impl RowKey {
    pub fn new(table: RowTable, key: impl Into<Vec<u8>>) -> Self {
        Self { table: table as u8, key: Bytes::from(key.into()) }
    }

    /// That of the probe lies apart from those of people.
    pub fn account(account: AccountId) -> Self {
        if account == probe::ACCOUNT {
            return Self::new(RowTable::Setting, *b"probe");
        }
        Self::new(RowTable::Account, number_key(account.0))
    }

    pub fn username(name: &str) -> Self {
        Self::new(RowTable::Username, name.as_bytes())
    }

    pub fn device(token_hash: &TokenHash) -> Self {
        Self::new(RowTable::Device, *token_hash)
    }

    pub fn invite(code_hash: &TokenHash) -> Self {
        Self::new(RowTable::Invite, *code_hash)
    }

    pub fn account_name(name: &str, account: AccountId) -> Self {
        Self::new(RowTable::AccountName, account_name_key(name, account))
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

impl RowKey {
    pub fn version(message: MessageId, version: u32) -> Self {
        Self::new(RowTable::Version, pair_key(message.0, u64::from(version)))
    }

    pub fn reaction(message: MessageId, emoji: &str) -> Self {
        Self::new(RowTable::Reaction, [&number_key(message.0), emoji.as_bytes()].concat())
    }

    pub fn mention(conversation: ConversationId, account: AccountId, seq: Seq) -> Self {
        Self::new(RowTable::Mention, [pair_key(conversation.0, account.0).as_slice(), &number_key(seq.0)].concat())
    }

    pub fn preferences(account: AccountId, conversation: ConversationId) -> Self {
        Self::new(RowTable::Preferences, pair_key(account.0, conversation.0))
    }

    pub fn ownership() -> Self {
        Self::new(RowTable::Setting, "ownership".as_bytes())
    }

    pub fn retention() -> Self {
        Self::new(RowTable::Setting, *b"retention")
    }

    pub fn erased(conversation: ConversationId) -> Self {
        Self::new(RowTable::Erased, number_key(conversation.0))
    }

    /// The message that the row hangs on, where that is known by its key.
    pub fn message(&self) -> Option<u64> {
        let number = |key: &[u8]| key.first_chunk().copied().map(u64::from_be_bytes);
        [RowTable::Version as u8, RowTable::Reaction as u8].contains(&self.table).then(|| number(&self.key)).flatten()
    }

    pub fn mark(conversation: ConversationId, account: AccountId) -> Self {
        Self::new(RowTable::Mark, pair_key(conversation.0, account.0))
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

/// Names have no zero byte, so that the order of the keys is that of the names.
pub(super) fn account_name_key(name: &str, account: AccountId) -> Vec<u8> {
    [name.as_bytes(), &[0], &number_key(account.0)].concat()
}

/// The name and the account in a key of `AccountName`.
pub(super) fn account_name_of(key: &[u8]) -> Result<(&str, AccountId), Malformed> {
    let malformed = || Malformed("a name to be found by has no account".to_owned());
    let (name, account) = key.split_last_chunk::<8>().ok_or_else(malformed)?;
    let name = name.strip_suffix(&[0]).and_then(|name| std::str::from_utf8(name).ok()).ok_or_else(malformed)?;
    Ok((name, AccountId(u64::from_be_bytes(*account))))
}

/// The SHA-256 in a key.
pub(super) fn token_hash_of(key: &[u8]) -> Result<TokenHash, Malformed> {
    key.try_into().map_err(|_| Malformed("a hash has not 32 bytes".to_owned()))
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(super) fn pair_key(first: u64, second: u64) -> [u8; 16] {
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
    fn what_a_later_version_wrote_into_a_row_is_kept() {
        let later = r#"{"account_id":1,"username":"anna","role":"auditor","status":"asleep","password_hash":"x","created":1,"shoe_size":38}"#;
        let row: AccountRow = serde_json::from_str(later).expect("reads");
        let again: serde_json::Value = serde_json::to_value(&row).expect("serialises");
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(later).expect("JSON"));
    }
}
