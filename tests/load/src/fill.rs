//! Fills a server's store, through the server and as fast as it takes it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use futures_util::{StreamExt, TryStreamExt};
use posthouse_client::admin::Admin;
use posthouse_client::{Client, ClientError};
use posthouse_protocol::admin::AccountAddParams;
use posthouse_protocol::{
    ConversationsDirect, ConversationsDirectParams, ErrorBody, Login, LoginParams, LoginResult, Username,
};

use crate::dialect::{Dialect, Heard, Person};
use crate::line::Line;
use crate::process::Process;
use crate::site::Content;

const PASSWORD: &str = "correct horse";

/// The server hashes two passwords at once.
const HASHES_AT_ONCE: u64 = 2;

/// Log-ins over one connection: it has to end before the server takes it for one that never connects.
const LOGINS_EACH: usize = 50;

/// Requests of one sender that are under way.
const WINDOW: u64 = 16;

/// Makes accounts, logs each in once and opens the conversations of neighbours.
///
/// # Errors
/// The server's.
pub async fn people(server: &Process, admin_socket: &Path, people: u64) -> anyhow::Result<Content> {
    let lanes: FuturesUnordered<_> =
        (0..HASHES_AT_ONCE).map(|lane| some_people(server, admin_socket, lane, people)).collect();
    let mut people: Vec<Person> = lanes.try_collect::<Vec<_>>().await?.concat();
    people.sort_by_key(|person| person.number);
    let pairs: FuturesOrdered<_> = people.chunks_exact(2).map(|pair| conversation(server, pair)).collect();
    let conversations = pairs.try_collect().await?;
    Ok(Content { people, conversations, messages: 0 })
}

/// Every [`HASHES_AT_ONCE`]th of the people, beginning with `lane`.
async fn some_people(server: &Process, admin_socket: &Path, lane: u64, people: u64) -> anyhow::Result<Vec<Person>> {
    let names =
        (lane..people).step_by(usize::try_from(HASHES_AT_ONCE)?).map(|number| (number, format!("user{number}")));
    let names: Vec<(u64, String)> = names.collect();
    let (socket, to_add) = (admin_socket.to_owned(), names.clone());
    let add = move || -> anyhow::Result<()> {
        let mut admin = Admin::open(&socket)?;
        for (_, name) in to_add {
            admin.add_account(&AccountAddParams {
                username: Username::new(&name)?,
                password: PASSWORD.to_owned(),
                role: None,
            })?;
        }
        Ok(())
    };
    tokio::task::spawn_blocking(add).await??;
    let url = format!("http://{}", server.address()).parse()?;
    let mut made = Vec::new();
    for names in names.chunks(LOGINS_EACH) {
        let (client, _events) = Client::open(&url).await?;
        for (number, username) in names {
            let password = PASSWORD.to_owned();
            let params = LoginParams { username: Username::new(username)?, password, device: "load".to_owned() };
            let login = log_in(&client, &params).await?;
            made.push(Person { number: *number, username: username.clone(), token: login.token });
        }
    }
    Ok(made)
}

/// Waits as long as the server says where there are too many log-ins from one address.
async fn log_in(client: &Client, params: &LoginParams) -> anyhow::Result<LoginResult> {
    loop {
        match client.call::<Login>(params).await {
            Err(ClientError::Refused(ErrorBody { retry_after_ms: Some(wait_ms), .. })) => {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
            done => return Ok(done?),
        }
    }
}

async fn conversation(server: &Process, pair: &[Person]) -> anyhow::Result<u64> {
    let [one, other] = pair else { anyhow::bail!("a pair has two") };
    let mut line = Line::open(server.address(), server.dialect(), one).await?;
    let params = ConversationsDirectParams { username: Username::new(&other.username)? };
    Ok(line.call::<ConversationsDirect>(&params).await?.conversation_id.0)
}

/// Sends `each` messages into each of the first conversations, from their first member.
///
/// # Errors
/// The server's.
pub async fn messages(server: &Process, content: &Content, conversations: usize, each: u64) -> anyhow::Result<()> {
    let senders = content.people.iter().step_by(2).zip(&content.conversations).take(conversations);
    let mut senders: FuturesUnordered<_> = senders.map(|(person, to)| send(server, person, *to, each)).collect();
    while let Some(sent) = senders.next().await {
        sent?;
    }
    Ok(())
}

async fn send(server: &Process, person: &Person, to: u64, count: u64) -> anyhow::Result<()> {
    let mut line = Line::open(server.address(), server.dialect(), person).await?;
    for number in 1..=count {
        line.send(Dialect::Server.message(number, to, number)).await?;
        if number > WINDOW {
            answer(&mut line).await.with_context(|| format!("message {number} of {}", person.username))?;
        }
    }
    for _ in 0..count.min(WINDOW) {
        answer(&mut line).await?;
    }
    Ok(())
}

async fn answer(line: &mut Line) -> anyhow::Result<()> {
    loop {
        match line.next().await? {
            Heard::Answer(_) => return Ok(()),
            Heard::Refused(error) => anyhow::bail!("refused: {error}"),
            Heard::Message { .. } | Heard::Other => {}
        }
    }
}
