//! What a server said that it keeps.

use std::collections::BTreeMap;

use posthouse_protocol::{Body, ConversationId, Message};
use serde_json::Value;

/// Messages that were acknowledged, by their ids: the seq, and the text where it is known.
#[derive(Debug, Default)]
pub struct Acknowledged(BTreeMap<u64, (u64, Option<String>)>);

impl Acknowledged {
    /// Keeps what an answer promises; `request` is what it answers, if that is known.
    pub fn remember(&mut self, request: &[u8], answer: &Value) {
        let request: Value = serde_json::from_slice(request).unwrap_or_default();
        let result = &answer["result"];
        if let (Some(message_id), Some(seq)) = (result["message_id"].as_u64(), result["seq"].as_u64()) {
            let text = request["params"]["body"]["text"].as_str().map(str::to_owned);
            self.0.insert(message_id, (seq, text));
        }
    }

    /// All of them are there as they were acknowledged, and no number of a conversation is left out; where
    /// every answer was heard, nothing else was sent.
    pub fn check(&self, stored: &[Message], every_answer_was_heard: bool) {
        let mut last: BTreeMap<ConversationId, u64> = BTreeMap::new();
        for message in stored {
            let last = last.entry(message.conversation_id).or_default();
            assert_eq!(message.seq.0, *last + 1, "a gap: {stored:?}");
            *last = message.seq.0;
        }
        for (message_id, (seq, text)) in &self.0 {
            let message = stored.iter().find(|message| message.message_id.0 == *message_id);
            let message = message.unwrap_or_else(|| panic!("message {message_id} was acknowledged: {stored:?}"));
            assert_eq!(message.seq.0, *seq, "{message:?}");
            let is_changed = message.edited_ts.is_some() || is_recalled(message);
            let says = |text: &String| is_changed || message.text() == Some(text);
            assert!(text.as_ref().is_none_or(says), "{text:?}: {message:?}");
        }
        // That a group was made bears a name, too.
        let is_sent = |message: &&Message| message.client_msg_id.is_some() && !matches!(message.body, Body::System(_));
        let sent = stored.iter().filter(|message| is_sent(message) || is_recalled(message)).count();
        assert!(!every_answer_was_heard || sent == self.0.len(), "{self:?}: {stored:?}");
    }
}

fn is_recalled(message: &Message) -> bool {
    matches!(message.body, Body::Recalled { .. })
}
