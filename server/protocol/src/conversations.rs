//! Conversations: which there are for an account.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{Account, ConversationId, GroupInfo, PageToken, Seq, Username};

methods! {
    /// The account's conversations, the most recently used first, page by page.
    ConversationsList = "conversations.list", ConversationsListParams => ConversationsListResult;
    /// One of the account's conversations.
    ConversationsGet = "conversations.get", ConversationsGetParams => Conversation;
    /// The direct conversation with one other account; made if there is none yet.
    ConversationsDirect = "conversations.direct", ConversationsDirectParams => Conversation;
}

/// A conversation as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Conversation {
    /// Names it in `send` and `history`.
    pub conversation_id: ConversationId,
    /// What it is.
    pub kind: ConversationKind,
    /// The other member of a direct conversation; oneself, in a conversation with oneself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Account>,
    /// Of a group: what it is beside a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupInfo>,
    /// The `seq` of its newest message; 0 while there is none.
    pub last_seq: Seq,
    /// How many messages the account has not read that it can see.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unread: u64,
    /// How many of them mention it; see [`crate::limits::MENTIONS_COUNTED_MAX`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mentions: u64,
    /// Whether the account's devices are to be silent about it, where `muted_until` has not passed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub muted: bool,
    /// None: for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<crate::TimestampMs>,
    /// Whether the account wants it at the top.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// Of two accounts, or of one with itself.
    Direct,
    /// Of any number, with a title, an owner and admins.
    Group,
    /// A kind of a later version.
    #[cfg_attr(test, schemars(skip))]
    #[serde(other)]
    Unknown,
}

/// Parameters of `conversations.list`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsListParams {
    /// `next` of the page before; without it, the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PageToken>,
    /// How many at most: 1 to [`crate::limits::PAGE_LIMIT_MAX`], by default [`crate::limits::PAGE_LIMIT_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 1, max = crate::limits::PAGE_LIMIT_MAX)))]
    pub limit: Option<u32>,
}

/// Result of `conversations.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConversationsListResult {
    /// The most recently used first.
    pub conversations: Vec<Conversation>,
    /// Where the next page begins; none behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PageToken>,
}

/// Parameters of `conversations.get`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsGetParams {
    /// Which.
    pub conversation_id: ConversationId,
}

/// Parameters of `conversations.direct`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsDirectParams {
    /// Whom to talk to.
    pub username: Username,
}
