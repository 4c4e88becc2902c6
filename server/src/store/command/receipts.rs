//! How far members have come.

use posthouse_protocol::{AccountId, ConversationId};

use super::{Decision, Group, Write};
use crate::store::authority;
use crate::store::rows::{MarkRow, Row, RowKey};

/// One member's step forward in a conversation; numbers of messages, 0 where it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who; is passed over unless it is a member.
    pub account_id: AccountId,
    /// Where.
    pub conversation_id: ConversationId,
    /// Has read everything up to here.
    pub read: u64,
    /// Has got everything up to here.
    pub delivered: u64,
}

/// Notes how far members have come. What is behind the newest message counts as that one; nothing goes back.
pub struct MarksMove {
    /// At most [`MarksMove::LEN_MAX`].
    pub steps: Vec<Step>,
}

impl MarksMove {
    /// So many fit into a group of the log.
    pub const LEN_MAX: usize = 4096;
}

impl Write for MarksMove {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        for Step { account_id, conversation_id, read, delivered } in self.steps {
            let Ok(conversation) = authority::as_member(group.state, account_id, conversation_id) else { continue };
            let last = conversation.last_seq;
            let row = MarkRow { read: read.min(last), delivered: delivered.max(read).min(last) };
            // Applying takes the larger of what is there and what comes.
            group.put(Row::plain(RowKey::mark(conversation_id, account_id), row.to_bytes()));
        }
        Ok(Ok(()))
    }
}
