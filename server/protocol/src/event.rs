//! What the server says unasked: `{"event": NAME, "data": …}`.

use serde::{Deserialize, Serialize};

use crate::Message;

/// A push from the server. Unknown events are to be passed over: later versions add some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum Event {
    /// A message of one of the account's conversations, after it became durable.
    Message(Message),
    /// The server is about to close this connection and to come back.
    Restarting(Restarting),
}

/// The data of `restarting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarting {
    /// How long to wait before reconnecting, in milliseconds; each client gets another number, so
    /// that they don't all come at once.
    pub retry_ms: u64,
}
