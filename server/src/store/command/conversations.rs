//! Conversations and who is in them.

use std::collections::HashMap;

use posthouse_protocol::{AccountId, ConversationId, ConversationKind, Seq};

use super::{Decision, Group, Refusal, Write};
use crate::store::rows::{ConversationRow, Row, RowKey, Unknown};
use crate::store::sight::Sight;

/// The direct conversation of two accounts (or of one with itself), made if there is none.
pub struct DirectOpen {
    /// One.
    pub account_id: AccountId,
    /// The other.
    pub peer_id: AccountId,
}

impl Write for DirectOpen {
    type Output = (ConversationId, Seq);

    fn decide(self, group: &mut Group<'_>) -> Decision<Self::Output> {
        let (low, high) = (self.account_id.min(self.peer_id), self.account_id.max(self.peer_id));
        if let Some(existing) = group.state.direct.get(&(low, high)) {
            let last_seq = group.state.conversations.get(existing).map_or(0, |conversation| conversation.last_seq);
            return Ok(Ok((*existing, Seq(last_seq))));
        }
        // Who has departed hears nothing any more, as in groups.
        if ![low, high].iter().all(|account| group.state.can_join(*account)) {
            return Ok(Err(Refusal::NoSuchAccount));
        }
        let conversation_id = ConversationId(group.state.last_conversation + 1);
        let row = ConversationRow {
            kind: ConversationKind::Direct.into(),
            direct: Some([low, high]),
            group: None,
            created: group.now,
            unknown: Unknown::new(),
        };
        group.put(Row::json(RowKey::conversation(conversation_id), &row));
        let mut members = vec![low, high];
        members.dedup();
        group.state.add_conversation(conversation_id, &row, [].into(), Sight::default());
        group.enter(conversation_id, &members, &HashMap::new())?;
        Ok(Ok((conversation_id, Seq(0))))
    }
}
