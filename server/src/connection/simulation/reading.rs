//! How far the members of conversations have come: what a device says of its owner, and what it was told of all.

use std::collections::{BTreeMap, BTreeSet};

use posthouse_protocol::{AccountId, ConversationId, Mark, ReadState, Receipts};

/// Up to which messages somebody has come: read, delivered.
pub type Way = (u64, u64);

/// What a device has said of a conversation: messages that it shows, and what it said at most.
#[derive(Clone, Copy, Default)]
pub struct Report {
    pub shown: Way,
    pub most: Way,
}

/// See the module.
#[derive(Default)]
pub struct Reading {
    pub said: BTreeMap<ConversationId, Report>,
    /// By events and answers.
    pub told: BTreeMap<(ConversationId, AccountId), Way>,
    /// By events, which come in their order.
    by_events: BTreeMap<(ConversationId, AccountId), Way>,
    /// In the order in which they came.
    pub states: BTreeMap<ConversationId, Vec<ReadState>>,
    /// What a connection has asked for, and said once more: who comes back asks again.
    asked: BTreeSet<ConversationId>,
    said_again: BTreeSet<ConversationId>,
    answered: BTreeSet<ConversationId>,
    /// Receipts by which the account itself had come further than any `read_state` before had said, and than this device has said.
    pub unsaid: Vec<(ConversationId, u64)>,
    /// Where it was refused.
    pub refused: BTreeSet<ConversationId>,
}

pub fn furthest(one: Way, other: Way) -> Way {
    (one.0.max(other.0), one.1.max(other.1))
}

fn way(mark: &Mark) -> Way {
    let Mark { account_id, read, delivered } = mark;
    assert!(read <= delivered, "{account_id} has read what has not reached it: {mark:?}");
    (read.0, delivered.0)
}

impl Reading {
    /// On a new connection nothing was asked for.
    pub fn begin(&mut self) {
        self.asked.clear();
        self.said_again.clear();
        self.answered.clear();
    }

    /// What was told of a conversation is old: the account was out of it, or events may have been dropped.
    pub fn distrust(&mut self, conversation: ConversationId) {
        self.asked.remove(&conversation);
        self.answered.remove(&conversation);
    }

    pub fn distrust_all(&mut self) {
        self.asked.clear();
        self.answered.clear();
    }

    /// The owner has come so far; `most` lies behind the newest message, or is the same.
    pub fn say(&mut self, conversation: ConversationId, shown: Way, most: Way) {
        let report = self.said.entry(conversation).or_default();
        (report.shown, report.most) = (furthest(report.shown, shown), furthest(report.most, most));
    }

    /// How far each member had come when it is asked for: the answer can't say less.
    pub fn ask(&mut self, conversation: ConversationId) -> BTreeMap<AccountId, Way> {
        self.asked.insert(conversation);
        let told = self.told.iter().filter(|((id, _), _)| *id == conversation);
        told.map(|((_, account), way)| (*account, *way)).collect()
    }

    /// Which of these conversations it has not asked for.
    pub fn unasked(&self, conversations: &BTreeSet<ConversationId>) -> Vec<ConversationId> {
        conversations.difference(&self.asked).copied().collect()
    }

    /// What the server has lost, or never got: to be said again, once a connection.
    pub fn unheard(&mut self, me: AccountId, conversations: &BTreeSet<ConversationId>) -> Vec<(ConversationId, Way)> {
        let mut again = Vec::new();
        for (conversation, report) in &self.said {
            let told = self.told.get(&(*conversation, me)).copied().unwrap_or_default();
            let is_lost = furthest(told, report.shown) != told;
            if is_lost && conversations.contains(conversation) && self.said_again.insert(*conversation) {
                again.push((*conversation, report.shown));
            }
        }
        again
    }

    pub fn on_answer(&mut self, at_least: &BTreeMap<AccountId, Way>, receipts: &Receipts) {
        for mark in &receipts.marks {
            let (now, before) = (way(mark), at_least.get(&mark.account_id).copied().unwrap_or_default());
            assert_eq!(furthest(now, before), now, "{receipts:?} says less than was told before");
            let told = self.told.entry((receipts.conversation_id, mark.account_id)).or_default();
            *told = furthest(*told, now);
        }
        self.answered.insert(receipts.conversation_id);
    }

    pub fn on_receipts(&mut self, me: AccountId, receipts: &Receipts) {
        for mark in &receipts.marks {
            let (member, now) = ((receipts.conversation_id, mark.account_id), way(mark));
            let before = self.by_events.insert(member, now).unwrap_or_default();
            assert_eq!(furthest(now, before), now, "{receipts:?} goes back");
            let said = self.last_state(member.0).map_or(0, |state| state.read.0);
            let said = said.max(self.said.get(&member.0).map_or(0, |report| report.most.0));
            let told = self.told.entry(member).or_default();
            if member.1 == me && self.answered.contains(&member.0) && now.0 > told.0.max(said) {
                self.unsaid.push((member.0, now.0));
            }
            *told = furthest(*told, now);
        }
    }

    pub fn on_state(&mut self, state: ReadState) {
        assert!(state.mentions <= state.unread, "{state:?}");
        if let Some(before) = self.last_state(state.conversation_id) {
            let is_behind = before.read <= state.read && before.last_seq <= state.last_seq;
            assert!(is_behind, "{state:?} goes back behind {before:?}");
        }
        self.states.entry(state.conversation_id).or_default().push(state);
    }

    fn last_state(&self, conversation: ConversationId) -> Option<&ReadState> {
        self.states.get(&conversation)?.last()
    }
}
