//! Close codes, of a WebSocket and of an event stream. 1xxx are RFC 6455's §7.4.1, 4xxx are ours.

/// The frame violates RFC 6455.
pub const PROTOCOL_ERROR: u16 = 1002;
/// A binary message: this subprotocol speaks text.
pub const UNSUPPORTED: u16 = 1003;
/// A text message that is not UTF-8.
pub const INVALID_UTF8: u16 = 1007;
/// A message longer than [`crate::limits::FRAME_LEN_MAX`].
pub const TOO_BIG: u16 = 1009;
/// The server stops or restarts: come back after the `retry_ms` of the `restarting` event.
pub const RESTARTING: u16 = 1012;
/// The token is unknown or revoked, or nobody logged in in time: log in again.
pub const REAUTHENTICATE: u16 = 4001;
/// Events came faster than this connection took them: reconnect and catch up.
pub const SLOW_CONSUMER: u16 = 4008;
/// Nothing was heard from the client for too long.
pub const IDLE: u16 = 4009;
