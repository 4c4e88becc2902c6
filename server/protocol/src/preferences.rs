//! What an account has set for itself in a conversation.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{ConversationId, TimestampMs};

methods! {
    /// Asks the account's devices to be silent about a conversation, or no longer.
    ConversationsMute = "conversations.mute", ConversationsMuteParams => Preferences;
    /// Keeps a conversation at the top of the account's list, or no longer.
    ConversationsPin = "conversations.pin", ConversationsPinParams => Preferences;
}

/// Parameters of `conversations.mute`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsMuteParams {
    /// Which.
    pub conversation_id: ConversationId,
    /// Whether it is to be silent.
    pub muted: bool,
    /// Until when; without it for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<TimestampMs>,
}

/// Parameters of `conversations.pin`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsPinParams {
    /// Which.
    pub conversation_id: ConversationId,
    /// Whether it is to be at the top.
    pub pinned: bool,
}

/// What an account has set for itself; the data of `preferences`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Preferences {
    /// Where.
    pub conversation_id: ConversationId,
    /// Whether devices are to be silent, where `muted_until` has not passed.
    pub muted: bool,
    /// None: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<TimestampMs>,
    /// Whether it is to be at the top.
    pub pinned: bool,
}
