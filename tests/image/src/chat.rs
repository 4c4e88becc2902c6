//! Two people who talk through the box, with the real client library. Knows the protocol; knows nothing of machines.

use std::time::Duration;

use anyhow::{Context, ensure};
use posthouse_client::{Client, Events, ServerUrl, new_client_msg_id};
use posthouse_protocol::{
    AccountsCreate, AccountsCreateParams, Connect, ConnectParams, ConversationsDirect, ConversationsDirectParams,
    Event, History, HistoryParams, HistoryResult, Login, LoginParams, Message, Password, Send, SendParams, SendResult,
    Seq, Token, Username, limits,
};

/// An emulated box hashes passwords slowly; a call that takes longer has been lost.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// Until a box that is told to reboot has told its clients, also a busy one.
const GOOD_BYE_LIMIT: Duration = Duration::from_secs(180);

/// Name and password of an account that the box is given.
pub struct Person {
    pub name: &'static str,
    pub password: String,
}

/// A logged-in device of a person.
pub struct Device {
    client: Client,
    events: Events,
    pub token: Token,
}

impl Device {
    /// Logs in with the password.
    pub async fn log_in(server: &ServerUrl, person: &Person) -> anyhow::Result<Self> {
        let (client, events) = open(server).await?;
        let params = LoginParams {
            username: username(person.name)?,
            password: person.password.clone(),
            device: "boot-test".to_owned(),
        };
        let result = bounded("login", client.call::<Login>(&params)).await?;
        Self::begin(client, events, result.token).await
    }

    /// Comes back with the token of an earlier log-in.
    pub async fn come_back(server: &ServerUrl, token: Token) -> anyhow::Result<Self> {
        let (client, events) = open(server).await?;
        Self::begin(client, events, token).await
    }

    async fn begin(client: Client, events: Events, token: Token) -> anyhow::Result<Self> {
        bounded("connect", client.call::<Connect>(&ConnectParams { token: Some(token.clone()), resume: None })).await?;
        Ok(Self { client, events, token })
    }

    /// Makes somebody a member, who keeps this password.
    pub async fn admit(&self, person: &Person) -> anyhow::Result<()> {
        let params = AccountsCreateParams {
            username: username(person.name)?,
            display_name: None,
            role: None,
            password: Some(Password(person.password.clone())),
            keep_password: true,
        };
        bounded("accounts.create", self.client.call::<AccountsCreate>(&params)).await.map(drop)
    }

    /// Sends a text and returns the box's acknowledgement.
    pub async fn send(&self, to: &str, text: &str) -> anyhow::Result<SendResult> {
        let conversation = bounded("conversations.direct", self.client.call::<ConversationsDirect>(&with(to)?)).await?;
        let params = SendParams::text(conversation.conversation_id, new_client_msg_id(), text);
        bounded("send", self.client.call::<Send>(&params)).await
    }

    /// The next message that the box delivers.
    pub async fn receive(&mut self) -> anyhow::Result<Message> {
        loop {
            let event = tokio::time::timeout(CALL_LIMIT, self.events.next()).await.context("no message came")?;
            let push = event.context("the connection ended before the message came")?;
            if let Event::Message(message) = push.event {
                return Ok(message);
            }
        }
    }

    /// Waits until the box says that it goes down.
    pub async fn hear_good_bye(&mut self) -> anyhow::Result<()> {
        loop {
            let event = tokio::time::timeout(GOOD_BYE_LIMIT, self.events.next()).await.context("the box stays up")?;
            let push = event.context("the box went down without a word")?;
            if matches!(push.event, Event::Restarting(_)) {
                return Ok(());
            }
        }
    }

    /// The message with this place in its conversation, passing over those before it.
    pub async fn receive_from(&mut self, seq: Seq) -> anyhow::Result<Message> {
        loop {
            let message = self.receive().await?;
            if message.seq >= seq {
                return Ok(message);
            }
        }
    }

    /// All messages with one other person, however many, oldest first.
    pub async fn whole_history(&self, with_whom: &str) -> anyhow::Result<Vec<Message>> {
        let conversation =
            bounded("conversations.direct", self.client.call::<ConversationsDirect>(&with(with_whom)?)).await?;
        let mut messages: Vec<Message> = Vec::new();
        loop {
            let before = messages.first().map(|message| message.seq);
            let params = HistoryParams {
                conversation_id: conversation.conversation_id,
                before,
                after: None,
                limit: Some(limits::HISTORY_LIMIT_MAX),
            };
            let page = bounded("history", self.client.call::<History>(&params)).await?;
            ensure!(!page.messages.is_empty() || !page.has_more, "an empty page of history with more behind it");
            messages.splice(0..0, page.messages);
            if !page.has_more {
                return Ok(messages);
            }
        }
    }

    /// All messages with one other person, oldest first.
    pub async fn history(&self, with_whom: &str) -> anyhow::Result<Vec<Message>> {
        let page = self.last_page(with_whom).await?;
        ensure!(!page.has_more, "more messages than the test sent");
        Ok(page.messages)
    }

    /// The end of a conversation with one other person, as whoever opens it asks for it.
    pub async fn last_page(&self, with_whom: &str) -> anyhow::Result<HistoryResult> {
        let conversation =
            bounded("conversations.direct", self.client.call::<ConversationsDirect>(&with(with_whom)?)).await?;
        let params = HistoryParams::newest(conversation.conversation_id);
        bounded("history", self.client.call::<History>(&params)).await
    }
}

async fn open(server: &ServerUrl) -> anyhow::Result<(Client, Events)> {
    Client::open(server).await.with_context(|| format!("connecting to {server}"))
}

async fn bounded<T, E>(what: &str, call: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: std::error::Error + std::marker::Send + Sync + 'static,
{
    let outcome = tokio::time::timeout(CALL_LIMIT, call).await;
    outcome
        .with_context(|| format!("{what}: no answer within {} s", CALL_LIMIT.as_secs()))?
        .with_context(|| what.to_owned())
}

fn with(name: &str) -> anyhow::Result<ConversationsDirectParams> {
    Ok(ConversationsDirectParams { username: username(name)? })
}

fn username(name: &str) -> anyhow::Result<Username> {
    name.parse().with_context(|| format!("{name} is no user name"))
}
