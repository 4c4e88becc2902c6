//! Commands that talk to a server as an account.

use anyhow::{Context, bail};
use posthouse_client::{Client, ClientError, Events, Login, ServerUrl, Transport, new_client_msg_id};
use posthouse_protocol::{
    Connect, ConnectParams, ConversationId, ConversationsDirect, ConversationsDirectParams, ConversationsList,
    ConversationsListParams, ErrorCode, Event, History, HistoryParams, LoginParams, NewBody, Send, SendParams,
    Username, limits,
};

use super::output::Output;
use super::{Command, password};

pub async fn run(command: Command, transport: Transport, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Login { server, password_stdin, name } => {
            log_in((server, transport), name, password(password_stdin)?, output).await
        }
        Command::Send { to, text } => send(transport, to, text.join(" "), output).await,
        Command::Read { with, limit } => read(transport, with, limit, output).await,
        Command::Listen => listen(transport, output).await,
        Command::Conversations => conversations(transport, output).await,
        #[cfg(unix)]
        Command::User(_) => unreachable!("it needs no server and was carried out before"),
    }
}

async fn log_in(
    (server, transport): (ServerUrl, Transport),
    username: Username,
    password: String,
    output: Output,
) -> anyhow::Result<()> {
    let (client, _) = Client::open_by(&server, transport).await?;
    let params = LoginParams { username: username.clone(), password, device: device_name() };
    let result = client.call::<posthouse_protocol::Login>(&params).await?;
    let login = Login { server, username, token: result.token };
    login.save()?;
    output.logged_in(&login);
    Ok(())
}

async fn send(transport: Transport, to: Username, text: String, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let conversation_id = direct(&client, to).await?;
    let params = SendParams { conversation_id, client_msg_id: new_client_msg_id(), body: NewBody::text(text) };
    let sent = client.call::<Send>(&params).await.context("the message was not sent")?;
    output.sent(&sent);
    Ok(())
}

async fn read(transport: Transport, with: Username, limit: u32, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let conversation_id = direct(&client, with).await?;
    // A page may hold less than was asked for: long messages fill its frame.
    let (mut pages, mut before, mut wanted) = (Vec::new(), None, limit);
    loop {
        let limit = Some(wanted.min(limits::HISTORY_LIMIT_MAX));
        let page = client.call::<History>(&HistoryParams { conversation_id, before, after: None, limit }).await?;
        before = page.messages.first().map(|message| message.seq);
        wanted = wanted.saturating_sub(u32::try_from(page.messages.len()).unwrap_or(u32::MAX));
        pages.push(page.messages);
        if wanted == 0 || !page.has_more {
            break;
        }
    }
    for message in pages.iter().rev().flatten() {
        output.message(message);
    }
    Ok(())
}

async fn conversations(transport: Transport, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let mut params = ConversationsListParams::default();
    loop {
        let page = client.call::<ConversationsList>(&params).await?;
        page.conversations.iter().for_each(|conversation| output.conversation(conversation));
        if page.next.is_none() {
            return Ok(());
        }
        params.after = page.next;
    }
}

/// Until interrupted: that is its ordinary end, and works also where a script started it with the signal ignored.
async fn listen(transport: Transport, output: Output) -> anyhow::Result<()> {
    let (_client, mut events) = connect(transport).await?;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    output.listening();
    loop {
        let push = tokio::select! {
            push = events.next() => push,
            caught = &mut interrupted => return caught.context("can't wait for an interrupt"),
        };
        match push.map(|push| push.event) {
            Some(Event::Message(message)) => output.message(&message),
            Some(Event::Restarting(_)) => bail!("the server is restarting"),
            None => bail!("the connection to the server ended"),
        }
    }
}

/// A connected session of the kept log-in.
async fn connect(transport: Transport) -> anyhow::Result<(Client, Events)> {
    let login = Login::load()?;
    let (client, events) = Client::open_by(&login.server, transport).await?;
    match client.call::<Connect>(&ConnectParams { token: login.token, resume: None }).await {
        Ok(_) => Ok((client, events)),
        Err(ClientError::Refused(error)) if error.code == ErrorCode::TokenInvalid => {
            bail!("this device is logged out: run `posthouse login --server {} {}`", login.server, login.username)
        }
        Err(error) => Err(error.into()),
    }
}

async fn direct(client: &Client, username: Username) -> anyhow::Result<ConversationId> {
    let params = ConversationsDirectParams { username };
    let conversation = client.call::<ConversationsDirect>(&params).await;
    let context = || format!("no conversation with {}", params.username);
    Ok(conversation.with_context(context)?.conversation_id)
}

/// What this device is called in the account's list of devices.
fn device_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = format!("posthouse on {}", if host.trim().is_empty() { std::env::consts::OS } else { host.trim() });
    name.chars().take(limits::DEVICE_NAME_CHARS_MAX).collect()
}
