//! The session: logging in, connecting, catching up.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::method::methods;
use crate::{Account, Cursor, Empty, Epoch, SessionId, Token, Username, limits};

methods! {
    /// Exchanges user name and password for a device's token. Needs no `connect`.
    Login = "login", LoginParams => LoginResult;
    /// Begins the session: from here on events come.
    Connect = "connect", ConnectParams => ConnectResult;
    /// Durable events after a cursor that the account may see, in their order.
    Sync = "sync", SyncParams => SyncResult;
    /// Does nothing; shows that both ends are there. Needs no `connect`.
    Ping = "ping", Empty => Empty;
}

/// Parameters of `login`.
#[derive(Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LoginParams {
    /// Who logs in.
    pub username: Username,
    /// The account's password.
    pub password: String,
    /// A name for this device, to be recognised by in a list of devices.
    #[cfg_attr(test, schemars(length(min = 1, max = limits::DEVICE_NAME_CHARS_MAX)))]
    pub device: String,
}

impl std::fmt::Debug for LoginParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginParams").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Result of `login`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoginResult {
    /// What this device shows from now on; keep it secret.
    pub token: Token,
    /// Whose it is.
    pub account: Account,
}

/// Parameters of `connect`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConnectParams {
    /// From `login`; a browser that has logged in at `/api/v1/login` leaves it out and is known by its cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Where this client stands, if it was connected before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
}

/// Up to where a client has seen everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// From the answer to `connect`.
    pub epoch: Epoch,
    /// Of the last event, or the last `next_cursor` of `sync`.
    pub cursor: Cursor,
}

/// Result of `connect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConnectResult {
    /// Names this connection among those of this server.
    pub session_id: SessionId,
    /// Who is connected.
    pub account: Account,
    /// The life of the database.
    pub epoch: Epoch,
    /// Events of this connection begin right behind it; what lies before comes by `sync`.
    pub cursor: Cursor,
    /// Whether `sync` from the cursor of `resume` leaves no hole. If not, what the client holds is void.
    pub resumed: bool,
    /// The server pings after this many idle seconds.
    pub ping_interval_s: u64,
    /// What this server takes.
    pub limits: LimitsInfo,
}

/// The limits that a client has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LimitsInfo {
    /// See [`limits::FRAME_LEN_MAX`].
    pub frame_len_max: usize,
    /// See [`limits::TEXT_LEN_MAX`].
    pub text_len_max: usize,
    /// See [`limits::HISTORY_LIMIT_MAX`].
    pub history_limit_max: u32,
    /// See [`limits::SYNC_LIMIT_MAX`].
    pub sync_limit_max: u32,
    /// See [`limits::GROUP_MEMBERS_MAX`].
    pub group_members_max: usize,
    /// See [`limits::MEMBERS_CHANGE_MAX`].
    pub members_change_max: usize,
    /// See [`limits::REQUESTS_IN_FLIGHT_MAX`].
    pub requests_in_flight_max: usize,
}

impl LimitsInfo {
    /// The limits of this build.
    pub const CURRENT: Self = Self {
        frame_len_max: limits::FRAME_LEN_MAX,
        text_len_max: limits::TEXT_LEN_MAX,
        history_limit_max: limits::HISTORY_LIMIT_MAX,
        sync_limit_max: limits::SYNC_LIMIT_MAX,
        group_members_max: limits::GROUP_MEMBERS_MAX,
        members_change_max: limits::MEMBERS_CHANGE_MAX,
        requests_in_flight_max: limits::REQUESTS_IN_FLIGHT_MAX,
    };
}

/// Parameters of `sync`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SyncParams {
    /// Everything up to here is known; `"0"` is the beginning.
    pub cursor: Cursor,
    /// Nothing behind here: the cursor that `connect` gave, from where on events come by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Cursor>,
    /// How many events at most: 1 to [`limits::SYNC_LIMIT_MAX`], by default [`limits::SYNC_LIMIT_DEFAULT`]. As
    /// many come as fit into one frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 1, max = limits::SYNC_LIMIT_MAX)))]
    pub limit: Option<u32>,
}

/// Result of `sync`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SyncResult {
    /// As they would have come unasked; [`crate::Push::parse`] reads them.
    #[cfg_attr(test, schemars(with = "Vec<crate::Push>"))]
    pub events: Vec<Box<RawValue>>,
    /// Where the next `sync` goes on. It moves also where there was nothing to see.
    pub next_cursor: Cursor,
    /// Whether more is there already.
    pub has_more: bool,
}
