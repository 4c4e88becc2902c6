//! What a durable change is made of, in the log and in the database.
//!
//! A group is a list of [`Entry`]s. A [`Record`] is something that clients may come to see: it has a number
//! of its own (*gseq*), one audience, and stays in the database's `log`. A [`Rewrite`] changes what a record
//! says (an edit, a recall), so that whoever reads it later reads the present; the change itself is another
//! record. A [`Row`] is state that nobody sees as such. Records and rows carry JSON: a later version's
//! fields are kept by an older one, and a record's bytes go to the clients as they are stored.

use bytes::Bytes;
use posthouse_protocol::{AccountId, ClientMsgId, ConversationId, Cursor, Event, Message, Push, Pushed, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::rows::Row;

/// Most events are no longer than this as JSON.
const EVENT_LEN: usize = 1024;

/// One part of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Record(Record),
    Rewrite(Rewrite),
    Row(Row),
    RowRemoved(super::rows::RowKey),
}

/// Something that clients may come to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its place among all records of this database: 1, 2, 3 … without a gap.
    pub gseq: u64,
    pub audience: Audience,
    pub place: Place,
    /// When the server took it.
    pub ts: TimestampMs,
    /// Of a message that a client sent.
    pub sent: Option<SentName>,
    /// The [`Push`] as JSON: serialised once, stored and sent as it is.
    pub frame: Bytes,
}

/// Another content for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rewrite {
    pub gseq: u64,
    pub audience: Audience,
    pub frame: Bytes,
}

/// Who may see a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// The members of a conversation at that time, and who was given its history later.
    Conversation(ConversationId),
    /// One account, on all its devices.
    Account(AccountId),
    /// Everybody.
    Site,
}

impl Audience {
    /// As in the file's keys.
    pub(super) fn parts(self) -> (u8, u64) {
        match self {
            Self::Conversation(id) => (1, id.0),
            Self::Account(id) => (2, id.0),
            Self::Site => (3, 0),
        }
    }

    pub(super) fn from_parts(kind: u8, id: u64) -> Option<Self> {
        match (kind, id) {
            (1, id) => Some(Self::Conversation(ConversationId(id))),
            (2, id) => Some(Self::Account(AccountId(id))),
            (3, 0) => Some(Self::Site),
            _ => None,
        }
    }
}

/// Where a conversation stands with a record; zeros for other audiences. The numbers never fall from one
/// record of a conversation to the next, so that a search by halves finds each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The newest message's number in its conversation.
    pub seq: u64,
    /// How many messages that count as unread there are up to here.
    pub counted: u64,
    /// Whether the record is that message itself.
    pub is_message: bool,
}

/// What a sender calls a message, and enough of it to tell a retry from another message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SentName {
    pub sender: AccountId,
    pub client_msg_id: ClientMsgId,
    pub fingerprint: u32,
}

/// Names the connection that a command came from; the store only carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin(pub u64);

/// A record for those whom it concerns.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its place among all records.
    pub gseq: u64,
    /// Whose devices are to have it.
    pub recipients: Recipients,
    /// The connection that has it already, by its acknowledgement.
    pub origin: Option<Origin>,
    /// The frame for clients.
    pub frame: Bytes,
}

/// Whose devices are to have a record.
#[derive(Clone, Debug)]
pub enum Recipients {
    /// These accounts'.
    Accounts(std::sync::Arc<[AccountId]>),
    /// All.
    Everybody,
}

/// Something stored is not what this version writes, nor what a later one may.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(pub String);

/// The cursor of a client that has seen everything up to this record.
pub fn cursor(gseq: u64) -> Cursor {
    Cursor(gseq.to_string())
}

/// The record that a cursor stands behind; `None` where this server never gave it.
pub fn gseq(cursor: &Cursor) -> Option<u64> {
    let gseq = cursor.0.parse().ok()?;
    (self::cursor(gseq) == *cursor).then_some(gseq)
}

/// An event as clients get it and the log keeps it.
pub(super) fn encode_event(gseq: u64, event: Event) -> Bytes {
    // Written where most have room, so that they need not move as they grow, and kept without room to spare.
    let mut bytes = Vec::with_capacity(EVENT_LEN);
    write_json(&Push { cursor: Some(cursor(gseq)), event }, &mut bytes);
    Bytes::copy_from_slice(&bytes)
}

pub(super) fn encode_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_json(value, &mut bytes);
    bytes
}

fn write_json<T: Serialize>(value: &T, bytes: &mut Vec<u8>) {
    serde_json::to_writer(bytes, value).expect("rows and events have string keys and no failing serialisers");
}

pub(super) fn decode_json<'a, T: Deserialize<'a>>(what: &str, bytes: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(bytes).map_err(|error| Malformed(format!("{what}: {error}")))
}

/// The message in a record's frame.
pub(super) fn decode_message(frame: &[u8]) -> Result<Message, Malformed> {
    let text = std::str::from_utf8(frame).map_err(|error| Malformed(format!("an event: {error}")))?;
    match Push::parse(text).map_err(|error| Malformed(format!("an event: {error}")))? {
        Pushed::Known(Push { event: Event::Message(message), .. }) => Ok(message),
        other => Err(Malformed(format!("a message was expected, not {other:?}"))),
    }
}

/// The message in a record's frame, if it is one.
pub(super) fn known_message(frame: &[u8]) -> Result<Option<Message>, Malformed> {
    if is_message(frame) { decode_message(frame).map(Some) } else { Ok(None) }
}

/// Whether a frame is a message, by its beginning: as [`encode_event`] writes it.
fn is_message(frame: &[u8]) -> bool {
    let after_cursor = frame.strip_prefix(br#"{"cursor":""#);
    let digits = after_cursor.map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    after_cursor.is_some_and(|rest| rest[digits..].starts_with(br#"","event":"message","#))
}

/// The message that a record of a conversation is about, where it is none itself.
pub(super) fn about(frame: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Head {
        data: About,
    }
    #[derive(Deserialize)]
    struct About {
        message_id: Option<u64>,
    }
    if is_message(frame) {
        return None;
    }
    serde_json::from_slice::<Head>(frame).ok()?.data.message_id
}

/// Another content for a message, with those fields of the old frame that this version does not know.
pub(super) fn with_unknown(gseq: u64, frame: &[u8], before: &Message, after: Message) -> Result<Bytes, Malformed> {
    type Fields = serde_json::Map<String, serde_json::Value>;
    #[derive(Deserialize)]
    struct Frame {
        data: Fields,
    }
    let known: Fields = decode_json("a message", &encode_json(before))?;
    let mut unknown = decode_json::<Frame>("an event", frame)?.data;
    unknown.retain(|name, _| !known.contains_key(name));
    if unknown.is_empty() {
        return Ok(encode_event(gseq, Event::Message(after)));
    }
    let mut data: Fields = decode_json("a message", &encode_json(&after))?;
    data.extend(unknown);
    let data = String::from_utf8(encode_json(&data)).map_err(|error| Malformed(error.to_string()))?;
    Ok(format!(r#"{{"cursor":"{gseq}","event":"message","data":{data}}}"#).into_bytes().into())
}

/// The frame as it is, for a list of events.
pub(super) fn raw_event(frame: &[u8]) -> Result<Box<RawValue>, Malformed> {
    decode_json::<&RawValue>("an event", frame).map(RawValue::to_owned)
}

/// What the frame's `data` says, as it is.
pub(super) fn raw_data(frame: &[u8]) -> Result<Box<RawValue>, Malformed> {
    #[derive(Deserialize)]
    struct Frame<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    decode_json::<Frame<'_>>("an event", frame).map(|frame| frame.data.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_taken_back_as_it_was_given_and_in_no_other_form() {
        for number in [0, 1, 41, u64::MAX] {
            assert_eq!(gseq(&cursor(number)), Some(number));
        }
        for text in ["", "-1", "+1", "01", "1 ", "1.0", "18446744073709551616", "x"] {
            assert_eq!(gseq(&Cursor(text.to_owned())), None, "{text}");
        }
    }
}
