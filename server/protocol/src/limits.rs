//! Every limit that a client can meet, in one place. Clients learn the ones that matter to them from
//! the answer to `connect`.

/// Longest WebSocket message and request body, in bytes. A text of the longest kind, with every
/// character escaped as `\uXXXX`, and its envelope fit.
pub const FRAME_LEN_MAX: usize = 128 * 1024;

/// Longest text of a message, in bytes of UTF-8: some four printed pages.
pub const TEXT_LEN_MAX: usize = 16 * 1024;

/// Longest `client_msg_id`, in bytes; a UUID has 36.
pub const CLIENT_MSG_ID_LEN_MAX: usize = 64;

/// Longest user name, in characters.
pub const USERNAME_CHARS_MAX: usize = 32;

/// Shortest password, in characters (NIST SP 800-63B-4 §3.1.1.2 asks for 8 where a second factor may
/// be added).
pub const PASSWORD_CHARS_MIN: usize = 8;

/// Longest password, in bytes; bounds the work of one hash.
pub const PASSWORD_LEN_MAX: usize = 256;

/// Longest name of a device, in characters.
pub const DEVICE_NAME_CHARS_MAX: usize = 64;

/// Most messages in one answer to `history`.
pub const HISTORY_LIMIT_MAX: u32 = 200;

/// Messages in an answer to `history` that names no limit.
pub const HISTORY_LIMIT_DEFAULT: u32 = 50;

/// Most events in one answer to `sync`.
pub const SYNC_LIMIT_MAX: u32 = 500;

/// Events in an answer to `sync` that names no limit.
pub const SYNC_LIMIT_DEFAULT: u32 = 200;

/// Most entries in one page of any list.
pub const PAGE_LIMIT_MAX: u32 = 200;

/// Entries in a page of a list, where the request names no limit.
pub const PAGE_LIMIT_DEFAULT: u32 = 100;

/// Most requests of one connection that may be under way; past it the server reads no further until
/// one is answered.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 64;

/// Events that wait for one connection before it counts as a slow consumer (close code 4008).
pub const OUTBOX_LEN_MAX: usize = 256;

/// The same in bytes: as many texts of the longest kind.
pub const OUTBOX_BYTES_MAX: usize = OUTBOX_LEN_MAX * TEXT_LEN_MAX;

/// A client that has not connected (see `connect`) this many seconds after the upgrade is closed.
pub const CONNECT_TIMEOUT_S: u64 = 30;

/// Every so many seconds the server pings a connection that is silent, and closes one that has been silent
/// for twice as long or more. Below 60 s, the shortest idle timeout of common home routers.
pub const PING_INTERVAL_S: u64 = 45;
