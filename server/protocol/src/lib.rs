//! The wire types and limits of `posthouse.v1`, the protocol that clients and the server speak.
//!
//! Owns: what a frame looks like, what each method takes and gives (one file for each family of methods),
//! every limit a client can meet.
//! Never does I/O, reads no clock, knows no async runtime: it lies under the server and the client
//! alike. `PROTOCOL.md` explains the same in prose, with examples that are tested against this crate.

#![warn(missing_docs)]

mod accounts;
pub mod admin;
pub mod appliance;
pub mod authority;
pub mod claim;
pub mod close;
mod conversations;
mod devices;
mod edits;
mod envelope;
mod error;
mod event;
mod fingerprint;
mod groups;
mod ids;
mod import;
mod invites;
pub mod limits;
mod messages;
mod method;
mod name;
mod preferences;
mod presence;
mod receipts;
mod routes;
#[cfg(test)]
mod schema;
mod session;
pub mod strict;
mod title;
mod typing;
pub mod update;
mod visible;

pub use accounts::*;
pub use conversations::*;
pub use devices::*;
pub use edits::*;
pub use envelope::{Incoming, Outgoing, Request, RequestHead};
pub use error::{ErrorBody, ErrorCode};
pub use event::{Event, Push, Pushed, Restarting};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use groups::*;
pub use ids::{
    AccountId, ClientMsgId, ConversationId, Cursor, DeviceId, Epoch, InviteCode, InviteId, MessageId, PageToken,
    Password, RequestId, Seq, SessionId, TimestampMs, Token,
};
pub use import::*;
pub use invites::*;
pub use messages::*;
pub use method::{Empty, Method};
pub use name::{DisplayName, DisplayNameError, NameError, Username};
pub use preferences::*;
pub use presence::*;
pub use receipts::*;
pub use routes::{Audience, NoRoute, ROUTES, Route};
pub use session::*;
pub use title::{Title, TitleError};
pub use typing::*;
pub use visible::is_emoji;

/// Where the WebSocket is.
pub const WEBSOCKET_PATH: &str = "/ws";

/// The service by which clients find a box on the local network (RFC 6763, §4.1).
pub const DISCOVERY_SERVICE: &str = "_posthouse._tcp.local.";

/// Where the event stream is.
pub const EVENTS_PATH: &str = "/api/v1/events";

/// Where the requests of an event stream's session go.
pub const RPC_PATH: &str = "/api/v1/rpc";

/// Where a browser logs in, and gets a cookie instead of a token.
pub const LOGIN_PATH: &str = "/api/v1/login";

/// Where it signs out.
pub const LOGOUT_PATH: &str = "/api/v1/logout";

/// The WebSocket subprotocol that names this version and its JSON encoding.
pub const SUBPROTOCOL_JSON: &str = "posthouse.v1.json";
