//! Sending and reading messages.

use posthouse_protocol::{
    ErrorBody, History, HistoryParams, HistoryResult, Mentions, NewBody, Send, SendParams, SendResult, limits,
};
use serde_json::value::RawValue;

use super::call::{Caller, Ordered, Read};
use super::{Inner, invalid, page_limit, refused};
use crate::store::{MessageAppend, Refusal, Which};

impl Ordered for Send {
    type Command = MessageAppend;

    fn command(caller: Caller, params: SendParams) -> Result<MessageAppend, ErrorBody> {
        check_body(&params.body)?;
        let SendParams { conversation_id, client_msg_id, body, reply_to, mentions } = params;
        let mentions = mentions.map(check_mentions).transpose()?.flatten();
        let Caller { account_id: sender, origin } = caller;
        Ok(MessageAppend { sender, origin, conversation_id, client_msg_id, body, reply_to, mentions })
    }

    fn result(output: SendResult) -> SendResult {
        output
    }
}

impl Read for History {
    type Answer = HistoryResult<Box<RawValue>>;

    async fn read(inner: &Inner, caller: Caller, params: HistoryParams) -> Result<Self::Answer, ErrorBody> {
        let limit = page_limit(params.limit, limits::HISTORY_LIMIT_DEFAULT, limits::HISTORY_LIMIT_MAX)?;
        let which = match (params.before, params.after) {
            (None, None) => Which::Newest,
            (Some(before), None) => Which::Before(before),
            (None, Some(after)) => Which::After(after),
            (Some(_), Some(_)) => return Err(invalid("before, after: one of them")),
        };
        let conversation_id = params.conversation_id;
        inner
            .read(move |snapshot| snapshot.history(caller.account_id, conversation_id, which, limit))
            .await?
            .ok_or_else(|| refused(Refusal::NoSuchConversation))
    }
}

pub(super) fn check_body(body: &NewBody) -> Result<(), ErrorBody> {
    let NewBody::Text { text } = body;
    if text.is_empty() || text.len() > limits::TEXT_LEN_MAX {
        return Err(invalid(format!("text: 1 to {} bytes, not {}", limits::TEXT_LEN_MAX, text.len())));
    }
    Ok(())
}

/// Each account once, in ascending order; nothing where nobody is mentioned.
fn check_mentions(mut mentions: Mentions) -> Result<Option<Mentions>, ErrorBody> {
    if mentions.accounts.len() > limits::MENTIONS_MAX {
        return Err(invalid(format!("mentions: at most {} accounts", limits::MENTIONS_MAX)));
    }
    mentions.accounts.sort_unstable();
    mentions.accounts.dedup();
    Ok((mentions.all || !mentions.accounts.is_empty()).then_some(mentions))
}
