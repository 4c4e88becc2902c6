//! What the app wants of the server, and what comes of it.

use posthouse_client::ClientError;
use posthouse_protocol::{
    Account, AccountId, ClientMsgId, Conversation, ConversationId, HistoryResult, Member, PresenceNow, PresenceStatus,
    Profile, ReceiptParams, Receipts, SendParams, SendResult, Seq,
};

use crate::screen::deed::{Deed, Done};

/// What is to be asked of the server.
#[derive(Debug)]
pub enum Request {
    /// Who this is, and all conversations.
    List,
    /// One conversation.
    Get(ConversationId),
    /// The conversation that a person calls so.
    Open(String),
    /// Older messages.
    History(ConversationId, Option<Seq>),
    Send(Box<SendParams>),
    /// How far this device has come.
    Receipt(ReceiptParams),
    /// How far the others have come.
    Marks(ConversationId),
    Members(ConversationId),
    /// What those are called.
    Profiles(Vec<AccountId>),
    Typing(ConversationId),
    Presence(PresenceStatus),
    /// A change, and the command that it was typed as.
    Deed(Box<Deed>, String),
}

/// What became of it.
pub enum Outcome {
    Me(Account),
    Listed(Vec<Conversation>),
    ListEnded(Result<(), ClientError>),
    Opened(Conversation),
    NotOpened(String, ClientError),
    Got(Result<Conversation, ClientError>),
    History(ConversationId, Option<Seq>, Result<HistoryResult, ClientError>),
    Sent(ConversationId, ClientMsgId, Result<SendResult, ClientError>),
    Marks(Receipts),
    Members(ConversationId, Vec<Member>),
    Profiles(Vec<Profile>),
    Present(Vec<PresenceNow>),
    Done(String, Result<Done, ClientError>),
}
