//! How far members have come.

use std::sync::Arc;

use posthouse_protocol::{AccountId, ConversationId, Mark, Seq};

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

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where.
    pub conversation_id: ConversationId,
    /// Who, and how far it is now: at least so far, where others have written since it did.
    pub mark: Mark,
    /// Whether it has read more than before.
    pub has_read: bool,
    /// The newest message.
    pub last: Seq,
    /// Who is in the conversation.
    pub members: Arc<[AccountId]>,
}

/// Notes how far members have come, and gives those who came further. What is behind the newest message counts as that one;
/// nothing goes back.
pub struct MarksMove {
    /// At most [`MarksMove::LEN_MAX`].
    pub steps: Vec<Step>,
}

impl MarksMove {
    /// So many fit into a group of the log, and keep what follows waiting for some milliseconds.
    pub const LEN_MAX: usize = 512;
}

impl Write for MarksMove {
    type Output = Vec<Moved>;

    fn decide(self, group: &mut Group<'_>) -> Decision<Vec<Moved>> {
        let mut moved = Vec::new();
        for Step { account_id, conversation_id, read, delivered } in self.steps {
            let Ok(conversation) = authority::as_member(group.state, account_id, conversation_id) else { continue };
            let (last, members) = (conversation.last_seq, Arc::clone(&conversation.members));
            let sent = if conversation.last_sender == Some(account_id) { last } else { 0 };
            let key = RowKey::mark(conversation_id, account_id);
            let before = group.overlay.row(&key)?.map_or(Ok(MarkRow::default()), |row| MarkRow::from_bytes(&row))?;
            let (read, delivered) = (read.min(last), delivered.max(read).min(last));
            let before = before.furthest(MarkRow { read: sent, delivered: sent });
            let row = before.furthest(MarkRow { read, delivered });
            if row == before {
                continue;
            }
            group.put(Row::plain(key, row.to_bytes()));
            let mark = Mark { account_id, read: Seq(row.read), delivered: Seq(row.delivered) };
            moved.push(Moved { conversation_id, mark, has_read: row.read > before.read, last: Seq(last), members });
        }
        Ok(Ok(moved))
    }
}
