//! An account's device, through the client library.

use posthouse_client::{Client, ClientError, Events, ServerUrl, Transport};
use posthouse_protocol::{
    Account, ClientMsgId, Connect, ConnectParams, ConversationId, ConversationsDirect, ConversationsDirectParams,
    ErrorBody, Event, History, HistoryParams, Login, LoginParams, Message, Push, Send, SendParams, SendResult, Seq,
    Token, Username,
};

use crate::PASSWORD;
use crate::wait::within;

/// A logged-in and connected device.
pub struct Device {
    /// Whose it is.
    pub account: Account,
    /// What it shows instead of a password.
    pub token: Token,
    /// Its connection.
    pub client: Client,
    /// What comes unasked.
    pub events: Events,
}

impl Device {
    /// Logs in with [`PASSWORD`] and connects.
    pub async fn log_in(server: &ServerUrl, name: &str) -> Self {
        let (client, _events) = Client::open(server).await.expect("the server answers");
        let username = Username::new(name).expect("a user name");
        let params = LoginParams { username, password: PASSWORD.to_owned(), device: "test".to_owned() };
        let login = within("answer to login", client.call::<Login>(&params)).await.expect("the log-in");
        Self::connect(server, login.token).await
    }

    /// Connects with a token.
    pub async fn connect(server: &ServerUrl, token: Token) -> Self {
        Self::connect_by(Transport::default(), server, token).await
    }

    /// The same by a transport of the caller's choice.
    pub async fn connect_by(transport: Transport, server: &ServerUrl, token: Token) -> Self {
        let (client, events) = Client::open_by(server, transport).await.expect("the server answers");
        let params = ConnectParams { token: Some(token.clone()), resume: None };
        let connected = within("answer to connect", client.call::<Connect>(&params)).await.expect("the token is valid");
        Self { account: connected.account, token, client, events }
    }

    /// The conversation with `name`.
    pub async fn direct(&self, name: &str) -> ConversationId {
        let params = ConversationsDirectParams { username: Username::new(name).expect("a user name") };
        let conversation = within("conversation", self.client.call::<ConversationsDirect>(&params)).await;
        conversation.expect("the conversation").conversation_id
    }

    /// Sends a text under a fresh name and waits for the acknowledgement.
    pub async fn send(&self, conversation_id: ConversationId, text: &str) -> SendResult {
        let client_msg_id = posthouse_client::new_client_msg_id();
        self.try_send(conversation_id, client_msg_id, text).await.expect("the acknowledgement")
    }

    /// Sends a text under a name of the caller's choice.
    ///
    /// # Errors
    /// The client library's.
    pub async fn try_send(
        &self,
        conversation_id: ConversationId,
        client_msg_id: ClientMsgId,
        text: &str,
    ) -> Result<SendResult, ClientError> {
        let params = SendParams::text(conversation_id, client_msg_id, text);
        within("answer to send", self.client.call::<Send>(&params)).await
    }

    /// The next message that comes unasked, passing over news of conversations and what is lossy.
    pub async fn next_message(&mut self) -> Message {
        loop {
            match self.next_event().await {
                Event::Message(message) => return message,
                Event::ConversationAdded(_) | Event::ConversationUpdated(_) | Event::ConversationRemoved(_) => {}
                Event::Typing(_) | Event::Receipts(_) | Event::ReadState(_) | Event::Presence(_) => {}
                other => panic!("a message was expected, not {other:?}"),
            }
        }
    }

    /// The next event of any kind.
    pub async fn next_event(&mut self) -> Event {
        let push: Option<Push> = within("event", self.events.next()).await;
        push.expect("the connection lasts").event
    }

    /// A whole conversation, oldest first, page by page.
    pub async fn history(&self, conversation_id: ConversationId) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut before: Option<Seq> = None;
        loop {
            let params = HistoryParams { conversation_id, before, after: None, limit: Some(200) };
            let page = within("history", self.client.call::<History>(&params)).await.expect("the history");
            before = page.messages.first().map(|message| message.seq);
            messages.splice(0..0, page.messages);
            if !page.has_more {
                return messages;
            }
        }
    }
}

/// What the server refused.
///
/// # Panics
/// When it did not.
pub fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ErrorBody {
    match result {
        Err(ClientError::Refused(error)) => error,
        other => panic!("a refusal was expected, not {other:?}"),
    }
}
