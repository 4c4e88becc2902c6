//! What a durable change is made of, in the log and in the database.
//!
//! A group is a list of entries. A [`Record`] is something that clients may come to see: it has a number
//! of its own (*gseq*), an audience, and stays in the database's `log`. A [`Row`] is state that nobody
//! sees as such (a password's hash, a device). Both carry JSON: a later version's fields are kept by an
//! older one, and a record's bytes go to the clients as they are stored.

use bytes::{Buf, BufMut, Bytes};
use posthouse_protocol::{Account, AccountId, ClientMsgId, ConversationId, Event, Message, TimestampMs};
use serde::{Deserialize, Serialize};

/// One part of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Record(Record),
    Row(Row),
}

/// Something that clients may come to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its place among all records of this database: 1, 2, 3 … without a gap.
    pub gseq: u64,
    /// The members of this conversation are to see it.
    pub conversation_id: ConversationId,
    /// Its place among the conversation's messages.
    pub seq: u64,
    /// When the server took it.
    pub ts: TimestampMs,
    /// Who sent it, under which name of their own.
    pub sender: AccountId,
    pub client_msg_id: ClientMsgId,
    /// The [`Event`] as JSON: serialised once, stored and sent as it is.
    pub frame: Bytes,
}

/// State: a value under a key of one of the row tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub table: RowTable,
    pub key: Bytes,
    pub value: Bytes,
}

/// The kinds of rows; the numbers are the file format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum RowTable {
    /// account (8 bytes, big-endian) → [`AccountRow`]
    Account = 1,
    /// user name → account (8 bytes, big-endian)
    Username = 2,
    /// SHA-256 of a token → [`DeviceRow`]
    Device = 3,
    /// conversation (8 bytes, big-endian) → [`ConversationRow`]
    Conversation = 4,
    /// account, conversation (8 bytes each, big-endian) → nothing
    Membership = 5,
}

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
}

/// A log-in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeviceRow {
    pub account_id: AccountId,
    pub name: String,
    pub created: TimestampMs,
}

/// A conversation.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ConversationRow {
    /// In ascending order.
    pub members: Vec<AccountId>,
    pub created: TimestampMs,
}

/// Names the connection that a command came from; the store only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub u64);

/// A record for those whom it concerns.
#[derive(Clone, Debug)]
pub struct Published {
    /// Whose devices are to have it.
    pub audience: std::sync::Arc<[AccountId]>,
    /// The connection that has it already, by its acknowledgement.
    pub origin: Origin,
    /// The frame for clients.
    pub frame: Bytes,
}

impl Row {
    /// A row with a JSON value.
    pub fn json<T: Serialize>(table: RowTable, key: impl Into<Vec<u8>>, value: &T) -> Self {
        Self { table, key: Bytes::from(key.into()), value: encode_json(value).into() }
    }

    /// A row with a value of plain bytes.
    pub fn plain(table: RowTable, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { table, key: Bytes::from(key.into()), value: Bytes::from(value.into()) }
    }
}

/// Numbers as keys: big-endian, so that their order as bytes is theirs as numbers.
pub(super) fn number_key(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The key of a membership.
pub(super) fn membership_key(account: u64, conversation: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&account.to_be_bytes());
    key[8..].copy_from_slice(&conversation.to_be_bytes());
    key
}

/// The number in an eight-byte key or value.
pub(super) fn number_of(bytes: &[u8]) -> Result<u64, Malformed> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| Malformed("a number has not eight bytes".to_owned()))
}

/// Something stored is not what this version writes, nor what a later one may.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub String);

pub(super) fn encode_json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("rows and events have string keys and no failing serialisers")
}

pub(super) fn decode_json<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|error| Malformed(format!("{what}: {error}")))
}

/// The message of a record's frame.
pub(super) fn decode_message(frame: &[u8]) -> Result<Message, Malformed> {
    match decode_json("a record", frame)? {
        Event::Message(message) => Ok(message),
        other => Err(Malformed(format!("a message was expected, not {other:?}"))),
    }
}

const RECORD: u8 = 1;
const ROW: u8 = 2;

/// Appends an entry to a group's payload: kind, length of the rest, the rest.
pub(super) fn encode(entry: &Entry, payload: &mut Vec<u8>) {
    let (kind, length_at) = match entry {
        Entry::Record(_) => (RECORD, payload.len() + 1),
        Entry::Row(_) => (ROW, payload.len() + 1),
    };
    payload.put_u8(kind);
    payload.put_u32_le(0);
    match entry {
        Entry::Record(record) => {
            for number in [record.gseq, record.conversation_id.0, record.seq, record.ts.0, record.sender.0] {
                payload.put_u64_le(number);
            }
            put_bytes(payload, record.client_msg_id.as_str().as_bytes());
            payload.put_slice(&record.frame);
        }
        Entry::Row(row) => {
            payload.put_u8(row.table as u8);
            put_bytes(payload, &row.key);
            payload.put_slice(&row.value);
        }
    }
    let length = u32::try_from(payload.len() - length_at - 4).expect("a frame of the protocol bounds an entry");
    payload[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Reads the entries of a group.
pub(super) fn decode(payload: Vec<u8>) -> Result<Vec<Entry>, Malformed> {
    let mut rest = Bytes::from(payload);
    let mut entries = Vec::new();
    while rest.has_remaining() {
        let cut = || Malformed("an entry of the log is cut short".to_owned());
        let kind = rest.try_get_u8().map_err(|_| cut())?;
        let length = usize::try_from(rest.try_get_u32_le().map_err(|_| cut())?).map_err(|_| cut())?;
        if length > rest.len() {
            return Err(cut());
        }
        let body = rest.split_to(length);
        entries.push(decode_entry(kind, body).ok_or_else(cut)??);
    }
    Ok(entries)
}

fn decode_entry(kind: u8, mut body: Bytes) -> Option<Result<Entry, Malformed>> {
    match kind {
        RECORD => {
            let mut number = || body.try_get_u64_le().ok();
            let (gseq, conversation, seq, ts, sender) = (number()?, number()?, number()?, number()?, number()?);
            let id = String::from_utf8(take_bytes(&mut body)?.to_vec()).ok()?;
            let client_msg_id = ClientMsgId::new(id).ok()?;
            let conversation_id = ConversationId(conversation);
            let (ts, sender) = (TimestampMs(ts), AccountId(sender));
            let record = Record { gseq, conversation_id, seq, ts, sender, client_msg_id, frame: body };
            Some(Ok(Entry::Record(record)))
        }
        ROW => {
            let table = match body.try_get_u8().ok()? {
                1 => RowTable::Account,
                2 => RowTable::Username,
                3 => RowTable::Device,
                4 => RowTable::Conversation,
                5 => RowTable::Membership,
                other => return Some(Err(Malformed(format!("the log has a row of an unknown table ({other})")))),
            };
            let key = take_bytes(&mut body)?;
            Some(Ok(Entry::Row(Row { table, key, value: body })))
        }
        other => Some(Err(Malformed(format!("the log has an entry of an unknown kind ({other})")))),
    }
}

fn put_bytes(payload: &mut Vec<u8>, bytes: &[u8]) {
    payload.put_u16_le(u16::try_from(bytes.len()).expect("keys are short"));
    payload.put_slice(bytes);
}

fn take_bytes(body: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(body.try_get_u16_le().ok()?);
    (length <= body.len()).then(|| body.split_to(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        let record = (any::<[u64; 5]>(), "[a-z0-9-]{1,64}", bytes()).prop_map(|(numbers, id, frame)| {
            let [gseq, conversation, seq, ts, sender] = numbers;
            Entry::Record(Record {
                gseq,
                conversation_id: ConversationId(conversation),
                seq,
                ts: TimestampMs(ts),
                sender: AccountId(sender),
                client_msg_id: ClientMsgId::new(id).expect("1 to 64 bytes"),
                frame,
            })
        });
        let row = (bytes(), bytes()).prop_map(|(key, value)| Entry::Row(Row { table: RowTable::Device, key, value }));
        proptest::collection::vec(prop_oneof![record, row], 0..8)
    }

    proptest! {
        #[test]
        fn a_group_comes_back_as_it_was(entries in entries()) {
            let mut payload = Vec::new();
            entries.iter().for_each(|entry| encode(entry, &mut payload));
            prop_assert_eq!(decode(payload).expect("reads"), entries);
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused_but_never_trusted(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(payload);
        }
    }

    #[test]
    fn a_group_cut_short_is_refused() {
        let mut payload = Vec::new();
        encode(&Entry::Row(Row::plain(RowTable::Username, *b"anna", number_key(1))), &mut payload);
        for cut in 1..payload.len() {
            assert!(decode(payload[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }
}
