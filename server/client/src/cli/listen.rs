//! `posthouse listen`: what happens, as it happens.

use anyhow::{Context, bail};
use posthouse_client::view::People;
use posthouse_client::{Item, Link, Login, Start, Transport};
use posthouse_protocol::{Event, Presence, PresenceParams, PresenceStatus};

use super::chat::logged_out;
use super::output::Output;
use super::people::learn;

/// Whether to take part in presence, without which the server tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TakesPart {
    Yes,
    No,
}

/// Until interrupted: that is its ordinary end, and works also where a script started it with the signal ignored.
pub async fn run(transport: Transport, presence: TakesPart, output: Output) -> anyhow::Result<()> {
    let login = Login::load()?;
    let (link, mut inbox) = Link::start_by(transport, login.server.clone(), login.token.clone(), Start::Now);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let (mut was_online, mut people) = (false, People::default());
    loop {
        let item = tokio::select! {
            item = inbox.next() => item,
            caught = &mut interrupted => return caught.context("can't wait for an interrupt"),
        };
        match item {
            Some(Item::Event(push)) => {
                // Programs are given what the server gave.
                if matches!(output, Output::Text) {
                    learn(&link, &mut people, &push.event).await;
                }
                output.event(&push.event, &people);
            }
            Some(Item::Online) => {
                if was_online {
                    output.online_again();
                } else {
                    output.listening();
                }
                was_online = true;
                people.ask_again();
                if presence == TakesPart::Yes {
                    take_part(&link, output).await;
                }
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

/// Nobody sits before this connection. Who is there is told as if they had just come.
async fn take_part(link: &Link, output: Output) {
    let params = PresenceParams { status: PresenceStatus::Away };
    // Where the connection is gone again, the next one says so.
    if let Ok(there) = link.call::<Presence>(&params).await {
        there.accounts.into_iter().for_each(|now| output.event(&Event::Presence(now), &People::default()));
    }
}
