//! Commands that talk to a server as an account.

use anyhow::{Context, bail};
use posthouse_client::{
    Client, ClientError, Events, Item, Link, Login, ServerUrl, Start, Transport, new_client_msg_id,
};
use posthouse_protocol::{
    Connect, ConnectParams, ConversationsList, ConversationsListParams, ErrorCode, Event, History, HistoryParams,
    LoginParams, Send, SendParams, Username, limits,
};

use super::output::Output;
use super::target::Target;
use super::{Command, group, messages, password};
use crate::screen;

pub async fn run(command: Command, transport: Transport, output: Output) -> anyhow::Result<()> {
    match command {
        Command::Login { server, password_stdin, name } => {
            // Before a password is asked for, and sent.
            let server = server.trusted().await?;
            log_in((server, transport), name, password("Password: ", password_stdin)?, output).await
        }
        Command::Group(command) => group::run(command, transport, output).await,
        Command::Send { to, text } => send(transport, &to, text.join(" "), output).await,
        Command::Read { with, limit } => read(transport, &with, limit, output).await,
        Command::Chat { with } => {
            if matches!(output, Output::Json) {
                bail!("chat is for people: for programs there is `posthouse listen --json`");
            }
            screen::run(transport, with).await
        }
        Command::Edit { which, text } => messages::edit(transport, which, text.join(" "), output).await,
        Command::Recall { which } => messages::recall(transport, which, output).await,
        Command::React { which, emoji, remove } => messages::react(transport, which, emoji, !remove, output).await,
        Command::Reply { which, text } => messages::reply(transport, which, text.join(" "), output).await,
        Command::Listen => listen(transport, output).await,
        Command::Conversations => conversations(transport, output).await,
        _ => unreachable!("it was carried out before"),
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
    let result = match client.call::<posthouse_protocol::Login>(&params).await {
        Err(ClientError::Refused(error)) if error.code == ErrorCode::PasswordChangeRequired => {
            bail!("this password was only for the first log-in: run `posthouse passwd --server {server} {username}`")
        }
        result => result?,
    };
    let login = Login { server, username, token: result.token };
    login.save()?;
    output.logged_in(&login);
    Ok(())
}

async fn send(transport: Transport, to: &Target, text: String, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let conversation_id = to.find(&client).await?;
    let params = SendParams::text(conversation_id, new_client_msg_id(), text);
    let sent = client.call::<Send>(&params).await.context("the message was not sent")?;
    output.sent(&sent);
    Ok(())
}

async fn read(transport: Transport, with: &Target, limit: u32, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let conversation_id = with.find(&client).await?;
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
    let login = Login::load()?;
    let (_link, mut inbox) = Link::start_by(transport, login.server.clone(), login.token.clone(), Start::Now);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut was_online = false;
    loop {
        let item = tokio::select! {
            item = inbox.next() => item,
            caught = &mut interrupted => return caught.context("can't wait for an interrupt"),
        };
        match item {
            Some(Item::Event(push)) => match &push.event {
                Event::Message(message) => output.message(message),
                change @ (Event::MessageEdited(_) | Event::MessageRecalled(_) | Event::Reaction(_)) => {
                    output.change(change);
                }
                Event::OwnerRecovered(recovered) => output.owner_recovered(recovered),
                _ => {}
            },
            Some(Item::Online) if was_online => output.online_again(),
            Some(Item::Online) => {
                was_online = true;
                output.listening();
            }
            // What never was there is rather a wrong address than a server that comes back.
            Some(Item::Offline { error, .. }) if !was_online && error.retry_after_ms().is_none() => {
                return Err(error.into());
            }
            Some(Item::Offline { error, retry_in }) => output.offline(&error, retry_in),
            Some(Item::Reset) => bail!("the server's database is another one: listen again"),
            Some(Item::LoggedOut) => bail!(logged_out(&login)),
            Some(Item::At(_)) => {}
            None => bail!("the connection to the server ended"),
        }
    }
}

/// What to do where the log-in is no longer valid.
pub fn logged_out(login: &Login) -> String {
    format!("this device is logged out: run `posthouse login --server {} {}`", login.server, login.username)
}

/// A connected session of the kept log-in.
pub async fn connect(transport: Transport) -> anyhow::Result<(Client, Events)> {
    let login = Login::load()?;
    let (client, events) = Client::open_by(&login.server, transport).await?;
    match client.call::<Connect>(&ConnectParams { token: Some(login.token.clone()), resume: None }).await {
        Ok(_) => Ok((client, events)),
        Err(ClientError::Refused(error)) if error.code == ErrorCode::TokenInvalid => {
            bail!(logged_out(&login))
        }
        Err(error) => Err(error.into()),
    }
}

/// What this device is called in the account's list of devices.
pub fn device_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = format!("posthouse on {}", if host.trim().is_empty() { std::env::consts::OS } else { host.trim() });
    name.chars().take(limits::DEVICE_NAME_CHARS_MAX).collect()
}
