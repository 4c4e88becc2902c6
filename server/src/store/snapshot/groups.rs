//! Who is in a conversation.

use posthouse_protocol::{AccountId, ConversationId, Member, PageToken, limits};

use super::{Page, Snapshot};
use crate::store::StoreError;
use crate::store::membership::MembershipRow;
use crate::store::record::{decode_json, encode_json};
use crate::store::rows::{ConversationRow, RowKey, RowTable, number_key, pair_of};
use crate::store::tables::{ROWS, each_row, row};

/// A part of a conversation's members.
pub struct MembersPage {
    /// In the order of their accounts.
    pub members: Vec<Member>,
    /// Where the next page begins, if there is one.
    pub next: Option<PageToken>,
}

impl Snapshot {
    /// Who is in a direct conversation with the account, or in a group of it that is not too large; ascending, and
    /// without itself.
    pub fn contacts(&self, account_id: AccountId) -> Result<Vec<AccountId>, StoreError> {
        let mut conversations = Vec::new();
        each_row(&self.txn, RowTable::Membership, &number_key(account_id.0), |key, value| {
            let membership: MembershipRow = decode_json("a membership", value)?;
            if membership.is_current() {
                conversations.push(ConversationId(pair_of(key)?.1));
            }
            Ok::<_, StoreError>(())
        })?;
        let mut contacts = Vec::new();
        for conversation_id in conversations {
            let Some(found) = row(&self.txn, &RowKey::conversation(conversation_id))? else { continue };
            let found: ConversationRow = decode_json("a conversation", &found)?;
            if found.group.is_none_or(|group| group.member_count <= limits::PRESENCE_MEMBERS_MAX as u64) {
                contacts.extend(self.member_ids(conversation_id)?);
            }
        }
        contacts.sort_unstable();
        contacts.dedup();
        contacts.retain(|contact| *contact != account_id);
        Ok(contacts)
    }

    /// Up to `limit` members behind account `after`; `None` where the reader is no member.
    pub fn members(
        &self,
        reader: AccountId,
        conversation_id: ConversationId,
        after: AccountId,
        limit: u32,
    ) -> Result<Option<MembersPage>, StoreError> {
        if !self.membership(reader, conversation_id)?.is_some_and(|membership| membership.is_current()) {
            return Ok(None);
        }
        let rows = self.read(|txn| Ok(txn.open_table(ROWS)?))?;
        let first = RowKey::member(conversation_id, AccountId(after.0.saturating_add(1)));
        let last = RowKey::member(conversation_id, AccountId(u64::MAX));
        let keys = (first.table, &*first.key)..=(last.table, &*last.key);
        let mut page = Page::new(limit);
        for entry in rows.range(keys).map_err(StoreError::database)? {
            let (key, _) = entry.map_err(StoreError::database)?;
            let account_id = AccountId(pair_of(key.value().1)?.1);
            let Some(account) = self.account(account_id)? else { continue };
            let role = self.membership(account_id, conversation_id)?.unwrap_or_else(MembershipRow::never).role;
            let member = Member { account: account.account, role };
            if !page.has_room_for(encode_json(&member).len()) {
                let next = page.items.last().map(|last: &Member| PageToken(last.account.account_id.to_string()));
                return Ok(Some(MembersPage { members: page.items, next }));
            }
            page.items.push(member);
        }
        Ok(Some(MembersPage { members: page.items, next: None }))
    }
}
