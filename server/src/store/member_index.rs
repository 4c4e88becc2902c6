//! Who is in which conversation, for receipts: they come often, and must not wait for the database.
//!
//! The writer changes it as it decides, a moment before the change is durable. So it is for checks alone: by it somebody may
//! be refused or left out a moment early, and nobody is let in.

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

    /// Whether an account is in a conversation.
    pub fn has(&self, conversation_id: ConversationId, account_id: AccountId) -> bool {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        index.get(&conversation_id).is_some_and(|members| members.binary_search(&account_id).is_ok())
    }

    /// Those of former members who still are.
    pub fn still(&self, conversation_id: ConversationId, members: &Arc<[AccountId]>) -> Arc<[AccountId]> {
        let index = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match index.get(&conversation_id) {
            Some(now) if Arc::ptr_eq(now, members) => Arc::clone(members),
            Some(now) => members.iter().copied().filter(|member| now.binary_search(member).is_ok()).collect(),
            None => Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_in_it_until_they_leave() {
        let (index, board) = (MemberIndex::default(), ConversationId(7));
        let are_in = |index: &MemberIndex| [1, 2, 4].map(|number| index.has(board, AccountId(number)));
        assert_eq!(are_in(&index), [false, false, false]);
        index.set(board, [AccountId(1), AccountId(4)].into());
        assert_eq!(are_in(&index), [true, false, true]);
        let before: Arc<[AccountId]> = [AccountId(1), AccountId(4)].into();
        assert_eq!(index.still(board, &before), before);
        index.set(board, [AccountId(1), AccountId(2)].into());
        assert_eq!(are_in(&index), [true, true, false]);
        assert_eq!(index.still(board, &before)[..], [AccountId(1)], "who has come since was not among them");
        assert!(index.still(ConversationId(8), &before).is_empty());
    }
}
