//! The wire types and limits of `posthouse.v1`, the protocol that clients and the server speak.
//!
//! Owns: what a frame looks like, what each method takes and gives, every limit a client can meet.
//! Never does I/O, reads no clock, knows no async runtime: it lies under the server and the client
//! alike. `PROTOCOL.md` explains the same in prose, with examples that are tested against this crate.

#![warn(missing_docs)]

pub mod admin;
pub mod close;
mod envelope;
mod error;
mod event;
mod ids;
pub mod limits;
mod method;
mod name;

pub use envelope::{Incoming, Outgoing, Request, RequestHead};
pub use error::{ErrorBody, ErrorCode};
pub use event::{Event, Restarting};
pub use ids::{AccountId, ClientMsgId, ConversationId, Cursor, Epoch, MessageId, RequestId, Seq, TimestampMs, Token};
pub use method::{
    Account, Connect, ConnectParams, ConnectResult, Conversation, ConversationsDirect, ConversationsDirectParams,
    ConversationsList, ConversationsListResult, Empty, History, HistoryParams, HistoryResult, LimitsInfo, Login,
    LoginParams, LoginResult, Message, Method, Ping, Send, SendParams, SendResult,
};
pub use name::{NameError, Username};

/// The WebSocket subprotocol that names this version and its JSON encoding.
pub const SUBPROTOCOL_JSON: &str = "posthouse.v1.json";
