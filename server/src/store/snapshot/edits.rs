//! What messages said before.

use posthouse_protocol::{AccountId, ConversationId, MessageId, MessagesVersionsResult, Version, limits};

use super::{Page, Snapshot};
use crate::store::membership::MembershipRow;
use crate::store::record::{Audience, decode_json, encode_json, known_message};
use crate::store::rows::{RowKey, VersionRow};
use crate::store::tables::{LOG, row, split_stored};
use crate::store::{Refusal, StoreError};

impl Snapshot {
    /// What a message has said, oldest first, from version `after` on; the last is what it says now.
    pub fn versions(
        &self,
        reader: AccountId,
        conversation_id: ConversationId,
        message_id: MessageId,
        after: u32,
    ) -> Result<Result<MessagesVersionsResult, Refusal>, StoreError> {
        let Some(membership) = self.membership(reader, conversation_id)?.filter(MembershipRow::is_current) else {
            return Ok(Err(Refusal::NoSuchConversation));
        };
        let stored = self.read(|txn| {
            let stored = txn.open_table(LOG)?.get(message_id.0)?;
            Ok(stored
                .and_then(|stored| split_stored(stored.value()).map(|(audience, frame)| (audience, frame.to_vec()))))
        })?;
        let is_seen = membership.sees(message_id.0);
        let of_it =
            |(audience, _): &(Audience, Vec<u8>)| is_seen && *audience == Audience::Conversation(conversation_id);
        let message = stored.filter(of_it).map_or(Ok(None), |(_, frame)| known_message(&frame))?;
        let Some(message) = message else { return Ok(Err(Refusal::NoSuchMessage)) };

        let mut page = Page::new(u32::MAX);
        for version in after.min(limits::EDITS_MAX + 1) + 1.. {
            let stored =
                if version > limits::EDITS_MAX { None } else { row(&self.txn, &RowKey::version(message_id, version))? };
            let is_last = stored.is_none();
            let version = match stored {
                Some(stored) => {
                    let VersionRow { ts, body, .. } = decode_json("a version", &stored)?;
                    Version { version, ts, body }
                }
                // Behind the last one that was replaced stands what it says now, and behind that nothing.
                None if version > 1 && row(&self.txn, &RowKey::version(message_id, version - 1))?.is_none() => break,
                None => Version { version, ts: message.edited_ts.unwrap_or(message.ts), body: message.body.clone() },
            };
            if !page.has_room_for(encode_json(&version).len()) {
                return Ok(Ok(MessagesVersionsResult { versions: page.items, has_more: true }));
            }
            page.items.push(version);
            if is_last {
                break;
            }
        }
        Ok(Ok(MessagesVersionsResult { versions: page.items, has_more: false }))
    }
}
