//! The methods: what each takes and gives.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    AccountId, ClientMsgId, ConversationId, Cursor, Epoch, MessageId, Seq, TimestampMs, Token, Username, limits,
};

/// Ties a method's name to its parameters and its result, for clients and server alike.
pub trait Method {
    /// The `method` of the request.
    const NAME: &'static str;
    /// The `params` of the request.
    type Params: Serialize + DeserializeOwned;
    /// The `result` of the answer.
    type Result: Serialize + DeserializeOwned;
}

macro_rules! method {
    ($(#[$doc:meta])* $name:ident = $wire:literal, $params:ty => $result:ty) => {
        $(#[$doc])*
        pub enum $name {}

        impl Method for $name {
            const NAME: &'static str = $wire;
            type Params = $params;
            type Result = $result;
        }
    };
}

method! {
    /// Exchanges user name and password for a device's token. Needs no `connect`.
    Login = "login", LoginParams => LoginResult
}
method! {
    /// Begins the session: from here on events come.
    Connect = "connect", ConnectParams => ConnectResult
}
method! {
    /// The account's conversations, the most recently used first.
    ConversationsList = "conversations.list", Empty => ConversationsListResult
}
method! {
    /// The direct conversation with one other account; made if there is none yet.
    ConversationsDirect = "conversations.direct", ConversationsDirectParams => Conversation
}
method! {
    /// Sends a message. The answer comes after it is on the disk, and not before.
    Send = "send", SendParams => SendResult
}
method! {
    /// Messages of a conversation, oldest first.
    History = "history", HistoryParams => HistoryResult
}
method! {
    /// Does nothing; shows that both ends are there.
    Ping = "ping", Empty => Empty
}

/// No parameters, or a result without content: `{}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// An account as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Never given to another account.
    pub account_id: AccountId,
    /// The name to log in with and to be found by.
    pub username: Username,
}

/// A conversation as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// Names it in `send` and `history`.
    pub conversation_id: ConversationId,
    /// The other member of a direct conversation; oneself, in a conversation with oneself.
    pub peer: Account,
    /// The `seq` of its newest message; 0 while there is none.
    pub last_seq: Seq,
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Unique on this site.
    pub message_id: MessageId,
    /// The conversation it belongs to.
    pub conversation_id: ConversationId,
    /// Its place there.
    pub seq: Seq,
    /// When the server took it. Never decreases within a conversation.
    pub ts: TimestampMs,
    /// Who sent it.
    pub sender: Account,
    /// The sender's own name for it.
    pub client_msg_id: ClientMsgId,
    /// What was written, as sent.
    pub text: String,
}

/// Parameters of `login`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginParams {
    /// Who logs in.
    pub username: Username,
    /// The account's password.
    pub password: String,
    /// A name for this device, to be recognised by in a list of devices.
    pub device: String,
}

impl std::fmt::Debug for LoginParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginParams").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Result of `login`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginResult {
    /// What this device shows from now on; keep it secret.
    pub token: Token,
    /// Whose it is.
    pub account: Account,
}

/// Parameters of `connect`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectParams {
    /// From `login`.
    pub token: Token,
}

/// Result of `connect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectResult {
    /// Who is connected.
    pub account: Account,
    /// The life of the database.
    pub epoch: Epoch,
    /// Everything up to here was stored before this session; events continue behind it.
    pub cursor: Cursor,
    /// The server pings after this many idle seconds.
    pub ping_interval_s: u64,
    /// What this server takes.
    pub limits: LimitsInfo,
}

/// The limits that a client has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsInfo {
    /// See [`limits::FRAME_LEN_MAX`].
    pub frame_len_max: usize,
    /// See [`limits::TEXT_LEN_MAX`].
    pub text_len_max: usize,
    /// See [`limits::HISTORY_LIMIT_MAX`].
    pub history_limit_max: u32,
    /// See [`limits::REQUESTS_IN_FLIGHT_MAX`].
    pub requests_in_flight_max: usize,
}

impl LimitsInfo {
    /// The limits of this build.
    pub const CURRENT: Self = Self {
        frame_len_max: limits::FRAME_LEN_MAX,
        text_len_max: limits::TEXT_LEN_MAX,
        history_limit_max: limits::HISTORY_LIMIT_MAX,
        requests_in_flight_max: limits::REQUESTS_IN_FLIGHT_MAX,
    };
}

/// Result of `conversations.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationsListResult {
    /// The most recently used first.
    pub conversations: Vec<Conversation>,
}

/// Parameters of `conversations.direct`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationsDirectParams {
    /// Whom to talk to.
    pub username: Username,
}

/// Parameters of `send`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendParams {
    /// Where to.
    pub conversation_id: ConversationId,
    /// Fresh for each message, the same for each try of it.
    pub client_msg_id: ClientMsgId,
    /// 1 to [`limits::TEXT_LEN_MAX`] bytes of UTF-8.
    pub text: String,
}

/// Result of `send`: the message is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendResult {
    /// Unique on this site.
    pub message_id: MessageId,
    /// Its place in the conversation.
    pub seq: Seq,
    /// When the server took it.
    pub ts: TimestampMs,
}

/// Parameters of `history`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HistoryParams {
    /// Whose messages.
    pub conversation_id: ConversationId,
    /// Only messages with a smaller `seq`; without it, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Seq>,
    /// How many at most: 1 to [`limits::HISTORY_LIMIT_MAX`], by default
    /// [`limits::HISTORY_LIMIT_DEFAULT`]. As many come as fit into one frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Result of `history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryResult {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Whether there are older ones.
    pub has_more: bool,
}
