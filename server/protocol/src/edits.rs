//! What happens to messages after they were sent: edits, recalls, reactions.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{Account, AccountId, Body, ConversationId, MessageId, NewBody, Seq, TimestampMs};

methods! {
    /// Changes what one's own message says. What it said before stays readable (`messages.versions`).
    MessagesEdit = "messages.edit", MessagesEditParams => MessagesEditResult;
    /// Everything that a message has said, oldest first.
    MessagesVersions = "messages.versions", MessagesVersionsParams => MessagesVersionsResult;
    /// Erases what a message says and ever said.
    MessagesRecall = "messages.recall", MessagesRecallParams => MessagesRecallResult;
    /// Adds a reaction to a message, or takes it away.
    MessagesReact = "messages.react", MessagesReactParams => MessagesReactResult;
}

/// One emoji under a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reaction {
    /// As it was sent.
    pub emoji: String,
    /// How many accounts have added it.
    pub count: u64,
    /// Those with the lowest numbers, up to [`crate::limits::REACTION_ACCOUNTS_SHOWN`].
    pub accounts: Vec<AccountId>,
}

/// Parameters of `messages.edit`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MessagesEditParams {
    /// Where it is.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
    /// What it is to say.
    pub body: NewBody,
}

/// Result of `messages.edit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessagesEditResult {
    /// When it got the text that it has now.
    pub edited_ts: TimestampMs,
}

/// Parameters of `messages.versions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MessagesVersionsParams {
    /// Where it is.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
    /// Only versions with a larger number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u32>,
}

/// Result of `messages.versions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessagesVersionsResult {
    /// Oldest first; the last of all is what it says now. As many as fit into one frame.
    pub versions: Vec<Version>,
    /// Whether there are later ones.
    pub has_more: bool,
}

/// What a message said at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Version {
    /// 1, 2, 3 …
    pub version: u32,
    /// Since when.
    pub ts: TimestampMs,
    /// What.
    pub body: Body,
}

/// Parameters of `messages.recall`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MessagesRecallParams {
    /// Where it is.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
}

/// Result of `messages.recall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessagesRecallResult {
    /// When it was recalled.
    pub recalled_ts: TimestampMs,
}

/// Parameters of `messages.react`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MessagesReactParams {
    /// Where it is.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
    /// 1 to [`crate::limits::EMOJI_LEN_MAX`] bytes, all of them visible or part of an emoji.
    #[cfg_attr(test, schemars(length(min = 1, max = crate::limits::EMOJI_LEN_MAX)))]
    #[cfg_attr(test, schemars(extend("x-max-bytes" = crate::limits::EMOJI_LEN_MAX)))]
    pub emoji: String,
    /// Whether the caller's reaction is to be there; it may be already, or be gone.
    pub add: bool,
}

/// Result of `messages.react`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessagesReactResult {
    /// All reactions to the message, as they are now.
    pub reactions: Vec<Reaction>,
}

/// The data of `message_edited`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessageEdited {
    /// Where it is.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
    /// Its place in the conversation.
    pub seq: Seq,
    /// What it says now.
    pub body: Body,
    /// When it was edited.
    pub edited_ts: TimestampMs,
}

/// The data of `message_recalled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessageRecalled {
    /// Where it was.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
    /// Its place in the conversation.
    pub seq: Seq,
    /// Who recalled it.
    pub by: AccountId,
    /// When.
    pub ts: TimestampMs,
}

/// The data of `reaction`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Reacted {
    /// Where it is.
    pub conversation_id: ConversationId,
    /// To which message.
    pub message_id: MessageId,
    /// Its place in the conversation.
    pub seq: Seq,
    /// Whose reaction.
    pub account: Account,
    /// Which.
    pub emoji: String,
    /// Whether it was added; otherwise it was taken away.
    pub added: bool,
    /// How many accounts have it there now.
    pub count: u64,
}
