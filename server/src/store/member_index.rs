//! Who is in which conversation, for those who ask often and must not wait for the database: receipts, typing.
//!
//! The writer changes it as it decides, a moment before the change is durable. What is told by it is kept nowhere: who was let
//! in may hear that somebody types before it hears that it is in, and who was put out hears less, sooner.

use std::sync::{Arc, PoisonError, RwLock};

use foldhash::{HashMap as IdMap, HashMapExt};
use posthouse_protocol::{AccountId, ConversationId};

/// See the module.
pub struct MemberIndex(RwLock<IdMap<ConversationId, Arc<[AccountId]>>>);

impl Default for MemberIndex {
    fn default() -> Self {
        Self(RwLock::new(IdMap::new()))
    }
}

impl MemberIndex {
    /// These are its members now, in ascending order.
    pub(super) fn set(&self, conversation_id: ConversationId, members: Arc<[AccountId]>) {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(conversation_id, members);
    }

    /// All members, for one of them.
    pub fn of(&self, member: AccountId, conversation_id: ConversationId) -> Option<Arc<[AccountId]>> {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        index.get(&conversation_id).filter(|members| members.binary_search(&member).is_ok()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_members_learn_who_is_in_a_conversation() {
        let (index, board) = (MemberIndex::default(), ConversationId(7));
        let members = [AccountId(1), AccountId(4)];
        assert_eq!(index.of(AccountId(1), board), None);
        index.set(board, members.into());
        assert_eq!(index.of(AccountId(4), board).as_deref(), Some(&members[..]));
        assert_eq!(index.of(AccountId(2), board), None);
        index.set(board, [AccountId(1)].into());
        assert_eq!(index.of(AccountId(4), board), None, "who has left");
    }
}
