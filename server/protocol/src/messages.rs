//! Messages: sending them, reading them.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{Account, AccountId, ClientMsgId, ConversationId, MessageId, Reaction, Seq, SystemBody, TimestampMs};

methods! {
    /// Sends a message. The answer comes after it is on the disk, and not before.
    Send = "send", SendParams => SendResult;
    /// Messages of a conversation, oldest first.
    History = "history", HistoryParams => HistoryResult;
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Message {
    /// Unique on this site.
    pub message_id: MessageId,
    /// The conversation it belongs to.
    pub conversation_id: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// When the server took it. Never decreases within a conversation.
    pub ts: TimestampMs,
    /// Who sent it.
    pub sender: Account,
    /// The sender's own name for it; none where no client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<ClientMsgId>,
    /// What it says.
    pub body: Body,
    /// The message of the same conversation that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// Whom it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentions: Option<Mentions>,
    /// When it got the text that it has now, if that is not its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_ts: Option<TimestampMs>,
    /// What others have put under it, in the order in which each emoji came first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
}

/// Whom a message calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mentions {
    /// Members of the conversation, up to [`crate::limits::MENTIONS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(length(max = crate::limits::MENTIONS_MAX)))]
    pub accounts: Vec<AccountId>,
    /// All members.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

impl Message {
    /// The text, of a message that is one.
    pub fn text(&self) -> Option<&str> {
        match &self.body {
            Body::Text { text } => Some(text),
            Body::Recalled { .. } | Body::System(_) | Body::Unknown(_) => None,
        }
    }
}

/// What a message says. A kind of a later version is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    /// Plain text, as sent.
    Text {
        /// What was written.
        text: String,
    },
    /// Nothing any more: it was recalled, and what it said is erased.
    Recalled {
        /// By whom.
        by: AccountId,
        /// When.
        ts: TimestampMs,
    },
    /// What happened to a group, in its place among what was said.
    System(SystemBody),
    /// A kind that this version does not know: to be shown as "a newer kind of message".
    #[serde(untagged)]
    Unknown(serde_json::Map<String, serde_json::Value>),
}

/// What a client may send. Unlike [`Body`] it takes nothing that it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum NewBody {
    /// Plain text.
    Text {
        /// 1 to [`crate::limits::TEXT_LEN_MAX`] bytes of UTF-8, kept as they are.
        #[cfg_attr(test, schemars(length(min = 1, max = crate::limits::TEXT_LEN_MAX)))]
        #[cfg_attr(test, schemars(extend("x-max-bytes" = crate::limits::TEXT_LEN_MAX)))]
        text: String,
    },
}

impl NewBody {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }
}

impl From<NewBody> for Body {
    fn from(body: NewBody) -> Self {
        match body {
            NewBody::Text { text } => Self::Text { text },
        }
    }
}

/// Parameters of `send`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SendParams {
    /// Where to.
    pub conversation_id: ConversationId,
    /// Fresh for each message, the same for each try of it.
    pub client_msg_id: ClientMsgId,
    /// What it says.
    pub body: NewBody,
    /// A message of the same conversation that the sender can see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// Whom it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mentions: Option<Mentions>,
}

impl SendParams {
    /// A text that answers nothing and calls nobody.
    pub fn text(conversation_id: ConversationId, client_msg_id: ClientMsgId, text: impl Into<String>) -> Self {
        Self { conversation_id, client_msg_id, body: NewBody::text(text), reply_to: None, mentions: None }
    }
}

/// Result of `send`: the message is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SendResult {
    /// Unique on this site.
    pub message_id: MessageId,
    /// Its place in the conversation.
    pub seq: Seq,
    /// When the server took it.
    pub ts: TimestampMs,
}

/// Parameters of `history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HistoryParams {
    /// Whose messages.
    pub conversation_id: ConversationId,
    /// Only messages with a smaller `seq`. Without it and without `after`: the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Seq>,
    /// Only messages with a larger `seq`, beginning with the one right behind. Not together with `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Seq>,
    /// How many at most: 1 to [`crate::limits::HISTORY_LIMIT_MAX`], by default
    /// [`crate::limits::HISTORY_LIMIT_DEFAULT`]. As many come as fit into one frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 1, max = crate::limits::HISTORY_LIMIT_MAX)))]
    pub limit: Option<u32>,
}

impl HistoryParams {
    /// The newest messages of a conversation, as many as there are by default.
    pub fn newest(conversation_id: ConversationId) -> Self {
        Self { conversation_id, before: None, after: None, limit: None }
    }
}

/// Result of `history`. The server writes messages as it has them stored, which is why their type is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "HistoryResult"))]
pub struct HistoryResult<M = Message> {
    /// Oldest first.
    pub messages: Vec<M>,
    /// Whether there are more in the direction of reading: older ones, or newer ones with `after`.
    pub has_more: bool,
}
