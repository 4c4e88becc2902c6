//! What a session asks of the router, and what comes back.

use posthouse_protocol::{
    Account, ConnectParams, ConnectResult, Conversation, ConversationsDirectParams, ConversationsListResult, Empty,
    HistoryParams, HistoryResult, LoginParams, LoginResult, SendParams, SendResult,
};
use serde::Serialize;

use super::outbox::OutboxSender;
use crate::store::{Committed, Origin};

/// The connection that a command comes from.
#[derive(Clone)]
pub struct Caller {
    /// Its name.
    pub origin: Origin,
    /// Where its events go once it is connected.
    pub outbox: OutboxSender,
}

/// A request that the session let through. Where it takes an [`Account`], that is who asks.
#[derive(Debug)]
pub enum Command {
    /// Exchange a password for a token.
    Login(LoginParams),
    /// Begin the session.
    Connect(ConnectParams),
    /// List conversations.
    ConversationsList(Account),
    /// Open a direct conversation.
    ConversationsDirect(Account, ConversationsDirectParams),
    /// Send a message.
    Send(Account, SendParams),
    /// Read messages.
    History(Account, HistoryParams),
}

/// What a command came to. What changed the store can only come as [`Committed`].
#[derive(Debug)]
pub enum Outcome {
    /// Of `login`.
    Login(LoginResult),
    /// Of `connect`.
    Connect(ConnectResult),
    /// Of `conversations.list`.
    ConversationsList(ConversationsListResult),
    /// Of `conversations.direct`.
    ConversationsDirect(Conversation),
    /// Of `send`.
    Send(Committed<SendResult>),
    /// Of `history`.
    History(HistoryResult),
    /// Of what gives nothing.
    Empty(Empty),
}

impl Serialize for Outcome {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Login(result) => result.serialize(serializer),
            Self::Connect(result) => result.serialize(serializer),
            Self::ConversationsList(result) => result.serialize(serializer),
            Self::ConversationsDirect(result) => result.serialize(serializer),
            Self::Send(result) => (**result).serialize(serializer),
            Self::History(result) => result.serialize(serializer),
            Self::Empty(result) => result.serialize(serializer),
        }
    }
}
