//! Who is there just now.

use serde::{Deserialize, Serialize};

use crate::AccountId;
use crate::method::methods;

methods! {
    /// Says whether somebody sits before this connection, and asks to be told the same of others.
    Presence = "presence", PresenceParams => PresenceResult;
}

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PresenceStatus {
    /// On none of the account's connections: none has said anything, or all have ended.
    Offline,
    /// Connected, but not looking.
    Away,
    /// Looking.
    Online,
}

/// Parameters of `presence`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PresenceParams {
    /// Of this connection: an account is what the most present of its connections is. `offline` takes it back.
    pub status: PresenceStatus,
}

/// Result of `presence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PresenceResult {
    /// Those who are not offline of the account's contacts, in the order of their `account_id`: who is in a direct
    /// conversation with it, or in a group of up to [`crate::limits::PRESENCE_MEMBERS_MAX`] members. At most
    /// [`crate::limits::PRESENCE_SHOWN_MAX`].
    pub accounts: Vec<PresenceNow>,
}

/// How it is with an account; the data of `presence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PresenceNow {
    /// Whose.
    pub account_id: AccountId,
    /// What it is.
    pub status: PresenceStatus,
}
