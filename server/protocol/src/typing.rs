//! Who is writing just now.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{AccountId, ConversationId, Empty};

methods! {
    /// Says that the caller is writing, to those members who are connected.
    Typing = "typing", TypingParams => Empty;
}

/// Parameters of `typing`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TypingParams {
    /// Where.
    pub conversation_id: ConversationId,
}

/// The data of `typing`: to be shown for [`crate::limits::TYPING_SHOWN_S`], or until a message of that account comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TypingNow {
    /// Where.
    pub conversation_id: ConversationId,
    /// Who.
    pub account_id: AccountId,
}
