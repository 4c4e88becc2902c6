//! What the database holds, and what the writer publishes.

use bytes::Bytes;
use posthouse_protocol::{Account, AccountId, Message, TimestampMs};
use serde::{Deserialize, Serialize};

/// An account as stored (JSON).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccountRecord {
    /// As others see it.
    #[serde(flatten)]
    pub account: Account,
    /// PHC string of the password (argon2id).
    pub password_hash: String,
    /// When it was made.
    pub created: TimestampMs,
}

/// A device as stored (JSON), under the hash of its token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeviceRecord {
    pub account_id: AccountId,
    pub name: String,
    pub created: TimestampMs,
}

/// Names the connection that a command came from; the store only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub u64);

/// A message for its conversation's members.
#[derive(Clone, Debug)]
pub struct Published {
    /// Whose devices are to have it.
    pub audience: Vec<AccountId>,
    /// The connection that has it already, by its acknowledgement.
    pub origin: Origin,
    /// A [`Message`] as JSON: serialised once, as it is stored.
    pub message_json: Bytes,
}

/// Records are JSON: a later version's fields are seen in a dump, and kept by an older version.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have string keys and no failing serialisers")
}

pub(super) fn decode<'a, T: Deserialize<'a>>(table: &str, bytes: &'a [u8]) -> Result<T, redb::Error> {
    serde_json::from_slice(bytes).map_err(|error| redb::Error::Corrupted(format!("a record in `{table}`: {error}")))
}

pub(super) fn decode_message(bytes: &[u8]) -> Result<Message, redb::Error> {
    decode("log", bytes)
}
