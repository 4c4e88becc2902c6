//! Commands for what an account sets for itself in a conversation, and for who has read it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use posthouse_client::view::People;
use posthouse_client::{Client, Transport};
use posthouse_protocol::{
    Account, AccountId, ConversationId, ConversationsMembers, ConversationsMembersParams, ConversationsMute,
    ConversationsMuteParams, ConversationsPin, ConversationsPinParams, ReceiptsGet, ReceiptsGetParams, Seq,
};

use super::chat::connect;
use super::messages::message;
use super::output::{Output, ReadBy};
use super::people::ask;
use super::spans::{end_of, span};
use super::target::Target;

#[derive(Subcommand)]
pub enum ConversationCommand {
    /// Keep a conversation quiet on your devices
    Mute {
        /// A user name, a group's title, or '#number'
        with: Target,
        /// For how long; without it, until you unmute it
        #[arg(value_name = "30m|8h|2d", value_parser = span)]
        time: Option<Duration>,
    },
    /// Let a conversation be heard again
    Unmute {
        /// A user name, a group's title, or '#number'
        with: Target,
    },
    /// Keep a conversation at the top of your list
    Pin {
        /// A user name, a group's title, or '#number'
        with: Target,
    },
    /// Let a conversation go from the top of your list
    Unpin {
        /// A user name, a group's title, or '#number'
        with: Target,
    },
    /// Show how far everybody has read a conversation, or who has read one message
    Receipts {
        /// A user name, a group's title, or '#number'
        with: Target,
        /// The message's number there
        number: Option<u64>,
    },
}

pub async fn run(command: ConversationCommand, transport: Transport, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    match command {
        ConversationCommand::Mute { with, time } => {
            let (conversation_id, until) = (with.find(&client).await?, time.map(end_of));
            mute(&client, ConversationsMuteParams { conversation_id, muted: true, until }, output).await
        }
        ConversationCommand::Unmute { with } => {
            let conversation_id = with.find(&client).await?;
            mute(&client, ConversationsMuteParams { conversation_id, muted: false, until: None }, output).await
        }
        ConversationCommand::Pin { with } => pin(&client, with.find(&client).await?, true, output).await,
        ConversationCommand::Unpin { with } => pin(&client, with.find(&client).await?, false, output).await,
        ConversationCommand::Receipts { with, number: None } => {
            receipts(&client, with.find(&client).await?, output).await
        }
        ConversationCommand::Receipts { with, number: Some(number) } => {
            receipts_of(&client, &with, Seq(number), output).await
        }
    }
}

async fn mute(client: &Client, params: ConversationsMuteParams, output: Output) -> anyhow::Result<()> {
    output.muted(&client.call::<ConversationsMute>(&params).await.context("nothing was changed")?);
    Ok(())
}

async fn pin(client: &Client, conversation_id: ConversationId, pinned: bool, output: Output) -> anyhow::Result<()> {
    let params = ConversationsPinParams { conversation_id, pinned };
    let now = client.call::<ConversationsPin>(&params).await.context("nothing was changed")?;
    output.done_with(if now.pinned { "Pinned." } else { "Not pinned any more." }, &now);
    Ok(())
}

async fn receipts(client: &Client, conversation_id: ConversationId, output: Output) -> anyhow::Result<()> {
    let found = client.call::<ReceiptsGet>(&ReceiptsGetParams { conversation_id }).await?;
    if let Some(counts) = &found.counts {
        output.read_counts(counts);
        return Ok(());
    }
    let members = members(client, conversation_id).await?;
    let mut people = People::default();
    ask(client, &mut people, members.values(), output).await;
    for mark in &found.marks {
        if let Some(member) = members.get(&mark.account_id) {
            output.read_to(member, mark, &people);
        }
    }
    Ok(())
}

/// Its sender, who has read it before anybody, is left out.
async fn receipts_of(client: &Client, with: &Target, seq: Seq, output: Output) -> anyhow::Result<()> {
    let conversation_id = with.find(client).await?;
    let about = message(client, conversation_id, seq, with).await?;
    let found = client.call::<ReceiptsGet>(&ReceiptsGetParams { conversation_id }).await?;
    match &found.counts {
        Some(counts) if counts.seq == seq => output.read_counts(counts),
        Some(counts) => bail!("{with} has so many members that only the newest message is counted: {}", counts.seq),
        None => {
            let members = members(client, conversation_id).await?;
            let mut people = People::default();
            ask(client, &mut people, members.values(), output).await;
            for mark in found.marks.iter().filter(|mark| mark.account_id != about.sender.account_id) {
                if let Some(member) = members.get(&mark.account_id) {
                    output.read_by(member, mark, ReadBy::of(mark, seq), &people);
                }
            }
        }
    }
    Ok(())
}

async fn members(client: &Client, conversation_id: ConversationId) -> anyhow::Result<HashMap<AccountId, Account>> {
    let mut params = ConversationsMembersParams { conversation_id, after: None, limit: None };
    let mut members = HashMap::new();
    loop {
        let page = client.call::<ConversationsMembers>(&params).await?;
        members.extend(page.members.into_iter().map(|member| (member.account.account_id, member.account)));
        if page.next.is_none() {
            return Ok(members);
        }
        params.after = page.next;
    }
}
