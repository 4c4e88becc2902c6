//! Commands that act on a message: it is named by its number in the conversation, as `send` and `read` show it.

use anyhow::{Context, bail};
use clap::Args;
use posthouse_client::{Client, Transport, new_client_msg_id};
use posthouse_protocol::{
    ConversationId, History, HistoryParams, MessageId, MessagesEdit, MessagesEditParams, MessagesReact,
    MessagesReactParams, MessagesRecall, MessagesRecallParams, NewBody, Send, SendParams, Seq,
};

use super::chat::connect;
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

pub async fn reply(transport: Transport, which: Which, text: String, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let (conversation_id, message_id) = find(&client, which).await?;
    let text = SendParams::text(conversation_id, new_client_msg_id(), text);
    let params = SendParams { reply_to: Some(message_id), ..text };
    let sent = client.call::<Send>(&params).await.context("the message was not sent")?;
    output.sent(&sent);
    Ok(())
}

async fn find(client: &Client, which: Which) -> anyhow::Result<(ConversationId, MessageId)> {
    let Which { with, number } = which;
    let conversation_id = with.find(client).await?;
    let after = Some(Seq(number.saturating_sub(1)));
    let params = HistoryParams { conversation_id, before: None, after, limit: Some(1) };
    let page = client.call::<History>(&params).await?;
    match page.messages.first() {
        Some(message) if message.seq == Seq(number) => Ok((conversation_id, message.message_id)),
        _ => bail!("there is no message {number} in the conversation with {with}"),
    }
}
