//! Every limit that a client can meet, in one place. Clients learn the ones that matter to them from
//! the answer to `connect`, and of the others from the error `rate_limited`.

/// Longest WebSocket message and request body, in bytes. A text of the longest kind, with every
/// character escaped as `\uXXXX`, and its envelope fit.
pub const FRAME_LEN_MAX: usize = 128 * 1024;

/// Largest number that stands for something: what every JSON reader keeps exact (RFC 8259 §6).
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Longest text of a message, in bytes of UTF-8: some four printed pages.
pub const TEXT_LEN_MAX: usize = 16 * 1024;

/// How often a message can be edited.
pub const EDITS_MAX: u32 = 20;

/// For so many hours at least its author can recall a message. Counted in the server's running time, as all that
/// expires: no jump of the clock ends it early.
pub const RECALL_WINDOW_HOURS: u64 = 24;

/// Most different emoji under one message.
pub const REACTIONS_MAX: usize = 20;

/// Longest emoji of a reaction, in bytes: a family of four with joiners and skin tones has 41.
pub const EMOJI_LEN_MAX: usize = 64;

/// Accounts that a message names for each of its reactions; the rest are only counted.
pub const REACTION_ACCOUNTS_SHOWN: usize = 10;

/// Most accounts that a message mentions one by one.
pub const MENTIONS_MAX: usize = 50;

/// In a conversation of more members receipts are only counted.
pub const RECEIPT_MEMBERS_MAX: usize = 100;

/// In a conversation of more members nobody is told who is writing.
pub const TYPING_MEMBERS_MAX: usize = 100;

/// For so many seconds a client shows that somebody is writing; the one who writes says so again every three.
pub const TYPING_SHOWN_S: u64 = 6;

/// A group of more members makes nobody a contact: presence is not told there.
pub const PRESENCE_MEMBERS_MAX: usize = 100;

/// Most contacts in one answer to `presence`: some 80 KB of JSON.
pub const PRESENCE_SHOWN_MAX: usize = 2000;

/// Unread messages that mention an account are counted up to this.
pub const MENTIONS_COUNTED_MAX: usize = 1000;

/// Fewest days for which a site keeps what was said: more than those for which a retry of a message is recognised.
pub const RETENTION_DAYS_MIN: u32 = 8;

/// Most days, if not for ever.
pub const RETENTION_DAYS_MAX: u32 = 3650;

/// Longest `client_msg_id`, in bytes; a UUID has 36.
pub const CLIENT_MSG_ID_LEN_MAX: usize = 64;

/// Longest user name, in characters.
pub const USERNAME_CHARS_MAX: usize = 32;

/// Longest display name, in characters.
pub const DISPLAY_NAME_CHARS_MAX: usize = 64;

/// Devices of one account: who logs in on another one signs out the one that was unused for longest.
pub const DEVICES_MAX: usize = 100;

/// A device that was not used for this many days of serving has to log in again.
pub const DEVICE_KEPT_DAYS: u64 = 90;

/// Invites that may be open at once.
pub const INVITES_MAX: usize = 1000;

/// Accounts that one invite may make.
pub const INVITE_USES_MAX: u32 = 1000;

/// Longest life of an invite, in seconds: 90 days.
pub const INVITE_LIFE_S_MAX: u64 = 90 * 86_400;

/// Life of an invite that names none: a week.
pub const INVITE_LIFE_S_DEFAULT: u64 = 7 * 86_400;

/// Accounts in one `accounts.import`: each new one costs a password hash, some 50 ms of a Pi's core.
pub const IMPORT_ROWS_MAX: usize = 100;

/// Shortest password, in characters (NIST SP 800-63B-4 §3.1.1.2 asks for 8 where a second factor may
/// be added).
pub const PASSWORD_CHARS_MIN: usize = 8;

/// Longest password, in bytes; bounds the work of one hash.
pub const PASSWORD_LEN_MAX: usize = 256;

/// Longest title of a group, in characters.
pub const TITLE_CHARS_MAX: usize = 100;

/// Most members of a group; the one for everybody has as many as there are accounts.
pub const GROUP_MEMBERS_MAX: usize = 2000;

/// Most members that one request adds: their names fit one message, and their records one group of the store's log.
pub const MEMBERS_CHANGE_MAX: usize = 100;

/// How many stays in one conversation an account's view of it is made of; who comes back more often than that
/// sees the oldest no longer.
pub const STAYS_MAX: usize = 32;

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

/// Requests that an account may make in a second, over all its devices and in the long run. A person makes one
/// now and then, a script that imports a history some dozens.
pub const ACCOUNT_REQUESTS_PER_S: u32 = 200;

/// Requests that an account may make at once, after a pause: a device that catches up, all its requests under
/// way on each of some 30 connections.
pub const ACCOUNT_REQUESTS_BURST: u32 = 2_000;

/// Changes of its profile that an account may make at once: each is kept, and told everybody.
pub const PROFILE_CHANGES_BURST: u32 = 10;

/// After that, one more in so many seconds: 500 people who do nothing else make two records in a second.
pub const PROFILE_CHANGE_INTERVAL_S: u64 = 300;

/// Requests in a second from one address by connections that have not connected yet. A connection's first one is
/// free, so that a whole school behind one address can come back by its tokens; what is left is log-ins, which
/// the box takes some 20 of in a second.
pub const ADDRESS_REQUESTS_PER_S: u32 = 50;

/// The same at once: a school that logs in when the lesson begins.
pub const ADDRESS_REQUESTS_BURST: u32 = 1_000;

/// Wrong passwords for one user name from one address in a row. NIST SP 800-63B-4 §3.2.2 asks for 100 at most.
pub const LOGIN_FAILURES_BURST: u32 = 10;

/// After that, one more in so many seconds.
pub const LOGIN_FAILURE_INTERVAL_S: u64 = 10;

/// Wrong passwords for one user name from all addresses in a row: NIST's limit. Ten addresses that try together
/// meet it; one alone can't lock an account's owner out.
pub const ACCOUNT_LOGIN_FAILURES_BURST: u32 = 100;

/// After that, one more in so many seconds: faster than one address can use them up.
pub const ACCOUNT_LOGIN_FAILURE_INTERVAL_S: u64 = 5;

/// Wrong passwords from one address in a row, whatever the names: a school that mistypes.
pub const ADDRESS_LOGIN_FAILURES_BURST: u32 = 200;

/// After that, so many in a second.
pub const ADDRESS_LOGIN_FAILURES_PER_S: u32 = 2;

/// Wrong codes of the box's console within a minute, from all addresses, that lock everybody out of trying: for a minute first,
/// then for longer. A code has 60 bits.
pub const CODES_WRONG_MAX: u32 = 5;

/// The longest of these locks, in seconds.
pub const CODES_LOCK_S_MAX: u64 = 900;

/// Wrong codes from one address within ten minutes that lock that address: fewer, so that one alone does not lock out everybody.
pub const ADDRESS_CODES_WRONG_MAX: u32 = 3;

/// The longest of these locks, in seconds.
pub const ADDRESS_CODES_LOCK_S_MAX: u64 = 3_600;

/// For how long a code of the box's console is shown, in seconds; the one before stays valid until then.
pub const CODE_LIFE_S: u64 = 900;

/// Connections from one address that ended without `connect` in a row. Past it the address counts as careless.
pub const WASTED_CONNECTIONS_BURST: u32 = 512;

/// It gets back so many of them in a second.
pub const WASTED_CONNECTIONS_PER_S: u32 = 16;

/// A careless address may hold so many connections that have not connected; others hold as many as fit.
pub const CARELESS_WAITING_MAX: u32 = 512;

/// A connection from a careless address has this many seconds for `connect`, in place of
/// [`CONNECT_TIMEOUT_S`].
pub const CARELESS_CONNECT_TIMEOUT_S: u64 = 5;

/// A client that has not connected (see `connect`) this many seconds after the upgrade is closed.
pub const CONNECT_TIMEOUT_S: u64 = 30;

/// A request head, and a request body, must each be complete within this many seconds (slow loris).
pub const HTTP_READ_TIMEOUT_S: u64 = 10;

/// Every so many seconds the server pings a connection that is silent, and closes one that has been silent
/// for twice as long or more. Below 60 s, the shortest idle timeout of common home routers.
pub const PING_INTERVAL_S: u64 = 45;
