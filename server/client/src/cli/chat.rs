//! Commands that talk to a server as an account.

use anyhow::bail;
use posthouse_client::view::People;
use posthouse_client::{Client, ClientError, Events, Login, ServerUrl, Transport};
use posthouse_protocol::{
    Connect, ConnectParams, ConversationId, ConversationsList, ConversationsListParams, ErrorCode, History,
    HistoryParams, LoginParams, Receipt, ReceiptParams, Seq, Username, limits,
};

use super::listen::{self, TakesPart};
use super::output::Output;
use super::people::{ask, ask_about};
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
        Command::Send { call, to, text } => messages::send(transport, &to, call, text.join(" "), output).await,
        Command::Read { with, mark_read, limit } => {
            let (client, _events) = connect(transport).await?;
            let conversation_id = with.find(&client).await?;
            let newest = read(&client, conversation_id, limit, output).await?;
            if let Some(read) = newest.filter(|_| mark_read) {
                let params = ReceiptParams { conversation_id, read: Some(read), delivered: None };
                client.call::<Receipt>(&params).await?;
            }
            Ok(())
        }
        Command::Chat { with } => {
            if matches!(output, Output::Json) {
                bail!("chat is for people: for programs there is `posthouse listen --json`");
            }
            screen::run(transport, with).await
        }
        Command::Edit { which, text } => messages::edit(transport, which, text.join(" "), output).await,
        Command::Versions { which } => messages::versions(transport, which, output).await,
        Command::Recall { which } => messages::recall(transport, which, output).await,
        Command::React { which, emoji, remove } => messages::react(transport, which, emoji, !remove, output).await,
        Command::Reply { call, which, text } => messages::reply(transport, which, call, text.join(" "), output).await,
        Command::Listen { presence } => {
            listen::run(transport, if presence { TakesPart::Yes } else { TakesPart::No }, output).await
        }
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

/// Gives the newest that was shown.
async fn read(
    client: &Client,
    conversation_id: ConversationId,
    limit: u32,
    output: Output,
) -> anyhow::Result<Option<Seq>> {
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
    let mut people = People::default();
    ask_about(client, &mut people, pages.iter().flatten(), output).await;
    let mut newest = None;
    for message in pages.iter().rev().flatten() {
        output.message(message, &people);
        newest = Some(message.seq);
    }
    Ok(newest)
}

async fn conversations(transport: Transport, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let (mut params, mut people) = (ConversationsListParams::default(), People::default());
    loop {
        let page = client.call::<ConversationsList>(&params).await?;
        let peers = page.conversations.iter().filter_map(|conversation| conversation.peer.as_ref());
        ask(&client, &mut people, peers, output).await;
        page.conversations.iter().for_each(|conversation| output.conversation(conversation, &people));
        if page.next.is_none() {
            return Ok(());
        }
        params.after = page.next;
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
    let host = host_name().unwrap_or_default();
    let name = format!("posthouse on {}", if host.trim().is_empty() { std::env::consts::OS } else { host.trim() });
    name.chars().take(limits::DEVICE_NAME_CHARS_MAX).collect()
}

#[cfg(unix)]
fn host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

#[cfg(not(unix))]
fn host_name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}
