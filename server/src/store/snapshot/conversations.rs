//! Conversations, as one member sees them.

use posthouse_protocol::{AccountId, Conversation, ConversationId, GroupInfo, PageToken, Preferences, ReadState};

use super::{Page, Snapshot};
use crate::store::StoreError;
use crate::store::membership::MembershipRow;
use crate::store::record::{decode_json, encode_json};
use crate::store::rows::{
    ConversationRow, GroupRow, GroupSettings, PreferencesRow, RowKey, RowTable, number_key, pair_of,
};
use crate::store::tables::{HEADS, each_row, row};

/// A part of an account's conversations.
pub struct ConversationsPage {
    /// The most recently used first.
    pub conversations: Vec<Conversation>,
    /// Where the next page begins, if there is one.
    pub next: Option<PageToken>,
}

/// A conversation's place in the list: its newest message, then its number.
type Rank = (u64, u64);

impl Snapshot {
    /// A page of the account's conversations, the most recently used first; `None` for a token that this
    /// server never gave.
    pub fn conversations(
        &self,
        account_id: AccountId,
        after: Option<&PageToken>,
        limit: u32,
    ) -> Result<Option<ConversationsPage>, StoreError> {
        let before = match after {
            Some(token) => match parse_rank(token) {
                Some(rank) => rank,
                None => return Ok(None),
            },
            None => (u64::MAX, u64::MAX),
        };
        let mut ranks = self.ranks(account_id)?;
        ranks.retain(|rank| *rank < before);
        ranks.sort_unstable_by(|a, b| b.cmp(a));
        let mut page = Page::new(limit);
        let mut last = None;
        for (gseq, conversation) in &ranks {
            let Some(found) = self.conversation(account_id, ConversationId(*conversation))? else { continue };
            if !page.has_room_for(encode_json(&found).len()) {
                let next = last.map(|(gseq, conversation)| PageToken(format!("{gseq}.{conversation}")));
                return Ok(Some(ConversationsPage { conversations: page.items, next }));
            }
            page.items.push(found);
            last = Some((*gseq, *conversation));
        }
        Ok(Some(ConversationsPage { conversations: page.items, next: None }))
    }

    /// One conversation, for a member.
    pub fn conversation(
        &self,
        account_id: AccountId,
        conversation_id: ConversationId,
    ) -> Result<Option<Conversation>, StoreError> {
        let membership = self.membership(account_id, conversation_id)?;
        let Some(membership) = membership.filter(MembershipRow::is_current) else { return Ok(None) };
        let Some(found) = row(&self.txn, &RowKey::conversation(conversation_id))? else { return Ok(None) };
        let found: ConversationRow = decode_json("a conversation", &found)?;
        let peer = found.direct.map(|[low, high]| if low == account_id { high } else { low });
        let peer = peer.map_or(Ok(None), |peer| self.account(peer))?.map(|row| row.account);
        let ReadState { last_seq, unread, mentions, .. } = self.unread(account_id, conversation_id, &membership)?;
        let group = found.group.map(|group| {
            let GroupRow { settings, everybody, member_count, .. } = group;
            let GroupSettings { title, announcement_only, history } = settings;
            GroupInfo { title, announcement_only, history, everybody, member_count, role: membership.role }
        });
        let set = row(&self.txn, &RowKey::preferences(account_id, conversation_id))?;
        let set = set.map(|set| decode_json::<PreferencesRow>("preferences", &set)).transpose()?.unwrap_or_default();
        let Preferences { muted, muted_until, pinned, .. } = set.of(conversation_id);
        let kind = found.kind.value();
        Ok(Some(Conversation {
            conversation_id,
            kind,
            peer,
            group,
            last_seq,
            unread,
            mentions,
            muted,
            muted_until,
            pinned,
        }))
    }

    fn ranks(&self, account_id: AccountId) -> Result<Vec<Rank>, StoreError> {
        let mut current = Vec::new();
        each_row(&self.txn, RowTable::Membership, &number_key(account_id.0), |key, value| {
            let (_, conversation) = pair_of(key)?;
            let membership: MembershipRow = decode_json("a membership", value)?;
            if membership.is_current() {
                current.push(ConversationId(conversation));
            }
            Ok::<_, StoreError>(())
        })?;
        current.into_iter().map(|id| Ok((self.head(id)?.1, id.0))).collect()
    }

    /// seq and gseq of the newest message; zeros where there is none.
    pub(super) fn head(&self, conversation_id: ConversationId) -> Result<(u64, u64), StoreError> {
        self.read(|txn| {
            let head = txn.open_table(HEADS)?.get(conversation_id.0)?.map(|head| head.value());
            Ok(head.map_or((0, 0), |(seq, _, _, gseq)| (seq, gseq)))
        })
    }
}

fn parse_rank(token: &PageToken) -> Option<Rank> {
    let (gseq, conversation) = token.0.split_once('.')?;
    Some((gseq.parse().ok()?, conversation.parse().ok()?))
}
