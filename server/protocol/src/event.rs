//! What the server says unasked: `{"event": NAME, "cursor": …, "data": …}`.

use serde::{Deserialize, Serialize};

use crate::claim::OwnerRecovered;
use crate::{
    ConversationAdded, ConversationRemoved, ConversationUpdated, Cursor, Message, MessageEdited, MessageRecalled,
    Preferences, PresenceNow, Profile, Reacted, ReadState, Receipts, TypingNow,
};

/// An event with its place in the stream. What is durable has one and can be had again by `sync`; what is
/// not is lost with the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Push {
    /// Where this client stands once it has taken the event and all that comes before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened. Unknown events are to be passed over: later versions add some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// A message of one of the account's conversations, after it became durable.
    Message(Message),
    /// What a message says has changed.
    MessageEdited(MessageEdited),
    /// A message says nothing any more.
    MessageRecalled(MessageRecalled),
    /// Somebody has added a reaction to a message, or taken it away.
    Reaction(Reacted),
    /// The account is in a conversation from now on.
    ConversationAdded(ConversationAdded),
    /// A group's title or settings have changed, or the account's role in it.
    ConversationUpdated(ConversationUpdated),
    /// The account is in a conversation no longer.
    ConversationRemoved(ConversationRemoved),
    /// What everybody may know of an account has changed; how it is now.
    AccountUpdated(Profile),
    /// The owner's password was reset with the code of the box's console. Administrators alone are told.
    OwnerRecovered(OwnerRecovered),
    /// The account has muted or pinned a conversation, or no longer.
    Preferences(Preferences),
    /// Somebody is writing. Lossy.
    Typing(TypingNow),
    /// A contact has come, gone, or turned away. Lossy.
    Presence(PresenceNow),
    /// Members of a conversation have come further. Lossy.
    Receipts(Receipts),
    /// The account has read something on one of its devices.
    ReadState(ReadState),
    /// The server is about to close this connection and to come back.
    Restarting(Restarting),
}

/// The data of `restarting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Restarting {
    /// How long to wait before reconnecting, in milliseconds; each client gets another number, so
    /// that they don't all come at once.
    pub retry_ms: u64,
}

/// What a client reads where an event stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// One that this version knows.
    Known(Push),
    /// One of a later version, to be passed over; its cursor counts nevertheless.
    Unknown {
        /// What it is called.
        name: String,
        /// Its place in the stream.
        cursor: Option<Cursor>,
    },
}

#[derive(Deserialize)]
struct PushHead {
    event: String,
    #[serde(default)]
    cursor: Option<Cursor>,
}

impl Push {
    /// Reads an event, from a frame of its own or from the answer to `sync`.
    ///
    /// # Errors
    /// Where it is no event at all.
    pub fn parse(json: &str) -> Result<Pushed, serde_json::Error> {
        let PushHead { event: name, cursor } = serde_json::from_str(json)?;
        Ok(match serde_json::from_str(json) {
            Ok(event) => Pushed::Known(Self { cursor, event }),
            Err(_) => Pushed::Unknown { name, cursor },
        })
    }
}
