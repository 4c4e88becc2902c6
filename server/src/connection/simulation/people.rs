//! Who is there and who writes, as one connection is told. Kept is where it stood when it was told, so that it can be asked
//! whether that was for it.

use std::collections::{BTreeMap, BTreeSet};

use posthouse_protocol::{AccountId, ConversationId, PresenceNow, PresenceResult, PresenceStatus};

/// What came without a cursor.
pub enum Heard {
    /// Of these members of a conversation.
    Members(ConversationId, Vec<AccountId>),
    /// Of somebody who shares one.
    Contact(AccountId),
}

/// See the module.
#[derive(Default)]
pub struct People {
    /// What the connection has said last of its owner, with the number of that.
    said: Option<(u64, PresenceStatus)>,
    is_answered: bool,
    /// Those who are not offline.
    there: BTreeMap<AccountId, PresenceStatus>,
    /// Told since that was asked: newer than its answer.
    told: BTreeSet<AccountId>,
}

impl People {
    /// It says so; gives the number of that.
    pub fn say(&mut self, status: PresenceStatus) -> u64 {
        let number = self.said.map_or(0, |(number, _)| number + 1);
        self.said = Some((number, status));
        (self.is_answered, self.told) = (false, BTreeSet::new());
        number
    }

    pub fn on_answer(&mut self, number: u64, result: &PresenceResult) {
        if self.said.is_none_or(|(last, _)| last != number) {
            return;
        }
        self.is_answered = true;
        self.there.retain(|account, _| self.told.contains(account));
        for PresenceNow { account_id, status } in &result.accounts {
            assert_ne!(*status, PresenceStatus::Offline, "the answer names who is there");
            if !self.told.contains(account_id) {
                self.there.insert(*account_id, *status);
            }
        }
    }

    pub fn on_presence(&mut self, PresenceNow { account_id, status }: PresenceNow) {
        assert!(self.said.is_some(), "who says nothing of itself is told nothing");
        self.told.insert(account_id);
        self.there.insert(account_id, status);
    }

    /// How somebody is, where the connection is to know.
    pub fn status_of(&self, account: AccountId) -> Option<PresenceStatus> {
        let takes_part = self.is_answered && self.mine() != PresenceStatus::Offline;
        takes_part.then(|| self.there.get(&account).copied().unwrap_or(PresenceStatus::Offline))
    }

    /// How its owner is by what it said.
    pub fn mine(&self) -> PresenceStatus {
        self.said.map_or(PresenceStatus::Offline, |(_, status)| status)
    }
}
