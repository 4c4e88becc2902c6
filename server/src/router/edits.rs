//! Editing, recalling, reacting.

use posthouse_protocol::{
    ErrorBody, MessagesEdit, MessagesEditParams, MessagesEditResult, MessagesReact, MessagesReactParams,
    MessagesReactResult, MessagesRecall, MessagesRecallParams, MessagesRecallResult, MessagesVersions,
    MessagesVersionsParams, MessagesVersionsResult, Reaction, TimestampMs, is_emoji, limits,
};

use super::call::{Caller, Ordered, Read};
use super::messages::check_body;
use super::{Inner, invalid, refused};
use crate::store::{MessageEdit, MessageReact, MessageRecall};

impl Ordered for MessagesEdit {
    type Command = MessageEdit;

    fn command(caller: Caller, params: MessagesEditParams) -> Result<MessageEdit, ErrorBody> {
        check_body(&params.body)?;
        let MessagesEditParams { conversation_id, message_id, body } = params;
        let Caller { account_id: author, origin } = caller;
        Ok(MessageEdit { author, origin, conversation_id, message_id, body })
    }

    fn result(edited_ts: TimestampMs) -> MessagesEditResult {
        MessagesEditResult { edited_ts }
    }
}

impl Read for MessagesVersions {
    type Answer = MessagesVersionsResult;

    async fn read(inner: &Inner, caller: Caller, params: MessagesVersionsParams) -> Result<Self::Answer, ErrorBody> {
        let MessagesVersionsParams { conversation_id, message_id, after } = params;
        inner
            .read(move |snapshot| snapshot.versions(caller.account_id, conversation_id, message_id, after.unwrap_or(0)))
            .await?
            .map_err(refused)
    }
}

impl Ordered for MessagesRecall {
    type Command = MessageRecall;

    fn command(caller: Caller, params: MessagesRecallParams) -> Result<MessageRecall, ErrorBody> {
        let MessagesRecallParams { conversation_id, message_id } = params;
        let Caller { account_id: by, origin } = caller;
        Ok(MessageRecall { by, origin, conversation_id, message_id })
    }

    fn result(recalled_ts: TimestampMs) -> MessagesRecallResult {
        MessagesRecallResult { recalled_ts }
    }
}

impl Ordered for MessagesReact {
    type Command = MessageReact;

    fn command(caller: Caller, params: MessagesReactParams) -> Result<MessageReact, ErrorBody> {
        let MessagesReactParams { conversation_id, message_id, emoji, add } = params;
        let is_plain = |c: char| !c.is_control() && !c.is_whitespace();
        // One that is there already can be taken away, whatever it is.
        let is_good = if add { is_emoji(&emoji) } else { !emoji.is_empty() && emoji.chars().all(is_plain) };
        if !is_good || emoji.len() > limits::EMOJI_LEN_MAX {
            let most = limits::EMOJI_LEN_MAX;
            return Err(invalid(format!("emoji: 1 to {most} bytes that can be seen, without spaces")));
        }
        let Caller { account_id, origin } = caller;
        Ok(MessageReact { account_id, origin, conversation_id, message_id, emoji, add })
    }

    fn result(reactions: Vec<Reaction>) -> MessagesReactResult {
        MessagesReactResult { reactions }
    }
}
