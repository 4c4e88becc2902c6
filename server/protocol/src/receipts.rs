//! How far the members of a conversation have come: delivered to, read by.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{AccountId, ConversationId, Empty, Seq};

methods! {
    /// Says how far the caller has come. Never goes back.
    Receipt = "receipt", ReceiptParams => Empty;
    /// How far all members have come.
    ReceiptsGet = "receipts.get", ReceiptsGetParams => Receipts;
}

/// Parameters of `receipt`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReceiptParams {
    /// Where.
    pub conversation_id: ConversationId,
    /// Everything up to here was read, and so delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Seq>,
    /// Everything up to here has reached a device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered: Option<Seq>,
}

/// Parameters of `receipts.get`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ReceiptsGetParams {
    /// Where.
    pub conversation_id: ConversationId,
}

/// How far members have come; the data of `receipts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Receipts {
    /// Where.
    pub conversation_id: ConversationId,
    /// Each member; in the event those only that have come further. None where there are more than
    /// [`crate::limits::RECEIPT_MEMBERS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// Where there are more: how many have come to the newest message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<ReceiptCounts>,
}

/// How far a member has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Mark {
    /// Who.
    pub account_id: AccountId,
    /// Has read everything up to here; 0 where nothing.
    pub read: Seq,
    /// Has got everything up to here.
    pub delivered: Seq,
}

/// How many members have come to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceiptCounts {
    /// The newest message.
    pub seq: Seq,
    /// How many have read it.
    pub read: u64,
    /// How many have got it.
    pub delivered: u64,
}

/// What an account has not read in a conversation; the data of `read_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReadState {
    /// Where.
    pub conversation_id: ConversationId,
    /// Everything up to here was read on one of the account's devices.
    pub read: Seq,
    /// The `seq` of the newest message that was counted.
    pub last_seq: Seq,
    /// How many messages are behind `read`, up to `last_seq`, that the account can see.
    pub unread: u64,
    /// How many of them mention the account; counted up to [`crate::limits::MENTIONS_COUNTED_MAX`].
    pub mentions: u64,
}
