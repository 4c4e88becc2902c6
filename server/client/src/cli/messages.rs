//! Commands that send a message or act on one: it is named by its number in the conversation, as `send` and `read` show it.

use anyhow::{Context, bail};
use clap::Args;
use posthouse_client::{Client, Transport, new_client_msg_id};
use posthouse_protocol::{
    AccountsGet, AccountsGetParams, ConversationId, History, HistoryParams, Mentions, Message, MessageId, MessagesEdit,
    MessagesEditParams, MessagesReact, MessagesReactParams, MessagesRecall, MessagesRecallParams, MessagesVersions,
    MessagesVersionsParams, NewBody, Send, SendParams, Seq, Username,
};

use super::chat::connect;
use super::once::{self, Words};
use super::output::Output;
use super::target::Target;

/// Which message.
#[derive(Args)]
pub struct Which {
    /// A user name, a group's title, or '#number'
    with: Target,
    /// The message's number there
    number: u64,
}

/// Whom a message mentions.
#[derive(Args)]
pub struct Call {
    /// Mention a member; may be given several times
    #[arg(long, value_name = "NAME")]
    mention: Vec<Username>,
    /// Mention everybody
    #[arg(long)]
    mention_all: bool,
}

impl Call {
    async fn find(self, client: &Client) -> anyhow::Result<Option<Mentions>> {
        let mut mentions = Mentions { accounts: Vec::new(), all: self.mention_all };
        for username in self.mention {
            let context = format!("account {username}");
            let params = AccountsGetParams { account_id: None, username: Some(username) };
            let account = client.call::<AccountsGet>(&params).await.context(context)?;
            mentions.accounts.push(account.account_id);
        }
        Ok((mentions != Mentions::default()).then_some(mentions))
    }
}

pub async fn send(transport: Transport, to: &Target, call: Call, text: String, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let conversation_id = to.find(&client).await?;
    let mentions = call.find(&client).await?;
    let text = SendParams::text(conversation_id, new_client_msg_id(), text);
    say(transport, &client, SendParams { mentions, ..text }, output).await
}

async fn say(transport: Transport, client: &Client, params: SendParams, output: Output) -> anyhow::Result<()> {
    let words = Words {
        refused: "the message was not sent",
        unknown: "it is not known whether the message was sent (`posthouse read` shows it)",
    };
    output.sent(&once::call::<Send>(transport, client, &params, &words).await?);
    Ok(())
}

pub async fn versions(transport: Transport, which: Which, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let (conversation_id, message_id) = find(&client, which).await?;
    let mut params = MessagesVersionsParams { conversation_id, message_id, after: None };
    loop {
        let page = client.call::<MessagesVersions>(&params).await.context("what it said can't be shown")?;
        page.versions.iter().for_each(|version| output.version(version));
        params.after = page.versions.last().map(|version| version.version);
        if !page.has_more || params.after.is_none() {
            return Ok(());
        }
    }
}

pub async fn edit(transport: Transport, which: Which, text: String, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let (conversation_id, message_id) = find(&client, which).await?;
    let params = MessagesEditParams { conversation_id, message_id, body: NewBody::text(text) };
    let edited = client.call::<MessagesEdit>(&params).await.context("the message was not edited")?;
    output.done_with("Edited.", &edited);
    Ok(())
}

pub async fn recall(transport: Transport, which: Which, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let (conversation_id, message_id) = find(&client, which).await?;
    let params = MessagesRecallParams { conversation_id, message_id };
    let recalled = client.call::<MessagesRecall>(&params).await.context("the message was not recalled")?;
    output.done_with("Recalled.", &recalled);
    Ok(())
}

pub async fn react(transport: Transport, which: Which, emoji: String, add: bool, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let (conversation_id, message_id) = find(&client, which).await?;
    let params = MessagesReactParams { conversation_id, message_id, emoji, add };
    let now = client.call::<MessagesReact>(&params).await.context("the reaction was not taken")?;
    output.done_with(if add { "Added." } else { "Taken away." }, &now);
    Ok(())
}

pub async fn reply(transport: Transport, which: Which, call: Call, text: String, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let (conversation_id, message_id) = find(&client, which).await?;
    let mentions = call.find(&client).await?;
    let text = SendParams::text(conversation_id, new_client_msg_id(), text);
    say(transport, &client, SendParams { reply_to: Some(message_id), mentions, ..text }, output).await
}

async fn find(client: &Client, which: Which) -> anyhow::Result<(ConversationId, MessageId)> {
    let Which { with, number } = which;
    let conversation_id = with.find(client).await?;
    let found = message(client, conversation_id, Seq(number), &with).await?;
    Ok((conversation_id, found.message_id))
}

/// The message of that number in the conversation that was named so.
pub async fn message(
    client: &Client,
    conversation_id: ConversationId,
    seq: Seq,
    with: &Target,
) -> anyhow::Result<Message> {
    let after = Some(Seq(seq.0.saturating_sub(1)));
    let params = HistoryParams { conversation_id, before: None, after, limit: Some(1) };
    let page = client.call::<History>(&params).await?;
    match page.messages.into_iter().next().filter(|message| message.seq == seq) {
        Some(message) => Ok(message),
        None => bail!("there is no message {seq} in the conversation with {with}"),
    }
}
