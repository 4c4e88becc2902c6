//! What people are called, for commands that show them to people.

use std::time::Duration;

use posthouse_client::view::People;
use posthouse_client::{Client, Link};
use posthouse_protocol::{Account, Event, Message};

use super::output::Output;

/// What comes is shown so late at most: with user names alone, where the server does not tell more.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks for those that are not known yet, but not for programs: they are given what the server gave. Where it can't be had, user
/// names do.
pub async fn ask<'a>(
    client: &Client,
    people: &mut People,
    accounts: impl Iterator<Item = &'a Account>,
    output: Output,
) {
    if matches!(output, Output::Text) {
        accounts.for_each(|account| people.meet(account));
        fill(client, people).await;
    }
}

/// The same of all that messages name.
pub async fn ask_about<'a>(
    client: &Client,
    people: &mut People,
    messages: impl Iterator<Item = &'a Message>,
    output: Output,
) {
    if matches!(output, Output::Text) {
        messages.for_each(|message| people.meet_all_in(message));
        fill(client, people).await;
    }
}

async fn fill(client: &Client, people: &mut People) {
    let unknown = people.take_unknown();
    people.fill(&client.profiles(&unknown).await.unwrap_or_default());
}

/// Learns from what happens, and asks for those that it names.
pub async fn learn(link: &Link, people: &mut People, event: &Event) {
    match event {
        Event::AccountUpdated(profile) => people.tell(profile),
        Event::Message(message) => people.meet_all_in(message),
        Event::Reaction(reacted) => people.meet(&reacted.account),
        Event::OwnerRecovered(recovered) => people.meet(&recovered.account),
        _ => {}
    }
    let unknown = people.take_unknown();
    if !unknown.is_empty()
        && let Ok(Ok(profiles)) = tokio::time::timeout(PATIENCE, link.profiles(&unknown)).await
    {
        people.fill(&profiles);
    }
}
