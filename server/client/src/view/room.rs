//! One conversation of a view.

use std::collections::BTreeMap;

use posthouse_protocol::{
    Account, AccountId, ClientMsgId, Conversation, HistoryResult, Mark, Message, MessageId, Preferences, ReadState,
    SendParams, SendResult, Seq, TimestampMs,
};

use super::reading::{Reading, Unread};

/// Messages that are held of one conversation; of those past it the oldest go, and come again by history.
const MESSAGES_LEN_MAX: usize = 5_000;

/// A conversation with what is held of its messages: a stretch without a hole that ends with the newest one.
#[derive(Default)]
pub struct Room {
    /// None until the server has told it.
    conversation: Option<Conversation>,
    messages: BTreeMap<Seq, Message>,
    outgoing: Vec<Outgoing>,
    reading: Reading,
    /// How far each member has come, as far as the server has told.
    marks: BTreeMap<AccountId, Mark>,
    /// Who is in it, once that was asked.
    members: Vec<Account>,
    /// When it was last used, as a number that grows.
    used: i64,
    /// Whether a page of history has come, so that the stretch begins where history does.
    has_page: bool,
    /// Whether the server has older messages than the oldest that is held.
    has_older: bool,
}

/// A message that this client sends and that is not acknowledged.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// As it was given to the link.
    pub params: SendParams,
    /// How it stands.
    pub state: OutgoingState,
}

/// How a message that was not acknowledged stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutgoingState {
    /// On its way; the link sends it again as often as it takes.
    Sending,
    /// Refused for good, for this reason.
    Failed(String),
}

/// Where something stands in a conversation, in the order of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A stored message.
    Message(Seq),
    /// The n-th of those that are not acknowledged.
    Outgoing(usize),
}

impl Room {
    pub(super) fn describe(&mut self, conversation: Conversation) {
        let unread = Unread { messages: conversation.unread, mentions: conversation.mentions };
        self.reading.tell(unread, conversation.last_seq);
        self.has_older |= !self.has_page && conversation.last_seq.0 > 0;
        self.conversation = Some(conversation);
    }

    pub(super) fn insert(&mut self, message: Message) {
        if self.conversation.is_none() && self.messages.is_empty() {
            // The first that is heard of it: what was before is not counted.
            self.reading.settle(Seq(message.seq.0.saturating_sub(1)));
        }
        self.has_older |= !self.has_page && message.seq.0 > 1;
        self.messages.insert(message.seq, message);
        if self.messages.len() > MESSAGES_LEN_MAX {
            self.messages.pop_first();
            self.has_older = true;
        }
    }

    pub(super) fn take_history(&mut self, before: Option<Seq>, page: HistoryResult) {
        // An answer to a question about another stretch, from before a reset or a cut, would leave a hole.
        if before.is_some() && before != self.oldest() {
            return;
        }
        self.has_page = true;
        let first = page.messages.first().map(|message| message.seq);
        // What came by itself may reach further back than the newest page.
        if first.is_none() || self.oldest().is_none() || first <= self.oldest() {
            self.has_older = page.has_more;
        }
        self.messages.extend(page.messages.into_iter().map(|message| (message.seq, message)));
    }

    pub(super) fn sending(&mut self, params: SendParams) {
        self.outgoing.push(Outgoing { params, state: OutgoingState::Sending });
        self.mark_read();
    }

    pub(super) fn sent(&mut self, me: Account, name: &ClientMsgId, result: SendResult) {
        let Some(index) = self.index(name) else { return };
        let Outgoing { params, .. } = self.outgoing.remove(index);
        self.insert(Message {
            message_id: result.message_id,
            conversation_id: params.conversation_id,
            seq: result.seq,
            ts: result.ts,
            sender: me,
            client_msg_id: Some(params.client_msg_id),
            body: params.body.into(),
            reply_to: params.reply_to,
            mentions: params.mentions,
            edited_ts: None,
            reactions: Vec::new(),
        });
        self.wrote(result.seq);
    }

    /// Who writes has read what is above.
    pub(super) fn wrote(&mut self, seq: Seq) {
        self.reading.wrote(seq);
    }

    pub(super) fn failed(&mut self, name: &ClientMsgId, reason: String) {
        if let Some(index) = self.index(name) {
            self.outgoing[index].state = OutgoingState::Failed(reason);
        }
    }

    pub(super) fn take_failed(&mut self) -> Option<SendParams> {
        let index = self.outgoing.iter().position(|outgoing| outgoing.state != OutgoingState::Sending)?;
        Some(self.outgoing.remove(index).params)
    }

    pub(super) fn mark_read(&mut self) {
        self.reading.read_to(self.last_seq());
    }

    pub(super) fn settle(&mut self) {
        self.reading.settle(self.last_seq());
    }

    pub(super) fn read_elsewhere(&mut self, state: &ReadState) {
        let left = Unread { messages: state.unread, mentions: state.mentions };
        self.reading.read_elsewhere(state.read, left, state.last_seq);
    }

    pub(super) fn draw_line(&mut self, me: Option<AccountId>) {
        self.reading.draw_line(&self.messages, self.last_seq(), me);
    }

    pub(super) fn find_line(&mut self, me: Option<AccountId>) {
        self.reading.find_line(&self.messages, me);
    }

    pub(super) fn report(&mut self) -> (Option<Seq>, Option<Seq>) {
        self.reading.report(self.last_seq())
    }

    pub(super) fn has_unreported(&self) -> bool {
        self.reading.unreported(self.last_seq()) != (None, None)
    }

    pub(super) fn take_marks(&mut self, marks: &[Mark]) {
        for mark in marks {
            let held = self.marks.entry(mark.account_id).or_insert(*mark);
            (held.read, held.delivered) = (held.read.max(mark.read), held.delivered.max(mark.delivered));
        }
    }

    pub(super) fn set_members(&mut self, members: Vec<Account>) {
        self.members = members;
    }

    pub(super) fn prefer(&mut self, preferences: &Preferences) {
        if let Some(conversation) = &mut self.conversation {
            conversation.muted = preferences.muted;
            conversation.muted_until = preferences.muted_until;
            conversation.pinned = preferences.pinned;
        }
    }

    pub(super) fn forget(&mut self) {
        let outgoing = std::mem::take(&mut self.outgoing);
        *self = Self { outgoing, ..Self::default() };
    }

    fn index(&self, name: &ClientMsgId) -> Option<usize> {
        self.outgoing.iter().position(|outgoing| &outgoing.params.client_msg_id == name)
    }

    /// What it is, once the server has told.
    pub fn conversation(&self) -> Option<&Conversation> {
        self.conversation.as_ref()
    }

    /// The messages that are held, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.messages.values()
    }

    /// One message.
    pub fn message(&self, seq: Seq) -> Option<&Message> {
        self.messages.get(&seq)
    }

    pub(super) fn message_mut(&mut self, seq: Seq) -> Option<&mut Message> {
        self.messages.get_mut(&seq)
    }

    /// The message of that number, where it is held. Numbers rise within a conversation.
    pub fn by_id(&self, id: MessageId) -> Option<&Message> {
        self.messages.values().rev().take_while(|message| message.message_id >= id).find(|it| it.message_id == id)
    }

    /// How many others have read a message, and how many have got it.
    pub fn come_to(&self, message: &Message) -> (usize, usize) {
        let others = || self.marks.values().filter(|mark| mark.account_id != message.sender.account_id);
        let read = others().filter(|mark| mark.read >= message.seq).count();
        (read, others().filter(|mark| mark.delivered >= message.seq).count())
    }

    /// Who is in it, as far as that was asked.
    pub fn members(&self) -> &[Account] {
        &self.members
    }

    /// Whether it is kept at the top.
    pub fn is_pinned(&self) -> bool {
        self.conversation.as_ref().is_some_and(|conversation| conversation.pinned)
    }

    /// Whether the account wants to hear nothing of it at that time.
    pub fn is_muted(&self, now: TimestampMs) -> bool {
        self.conversation.as_ref().is_some_and(|it| it.muted && it.muted_until.is_none_or(|until| now < until))
    }

    /// Own messages that are not acknowledged, oldest first. They stand below all others.
    pub fn outgoing(&self) -> &[Outgoing] {
        &self.outgoing
    }

    /// The last place.
    pub fn last(&self) -> Option<Place> {
        match self.outgoing.len().checked_sub(1) {
            Some(index) => Some(Place::Outgoing(index)),
            None => self.messages.keys().next_back().copied().map(Place::Message),
        }
    }

    /// The place above.
    pub fn above(&self, place: Place) -> Option<Place> {
        match place {
            Place::Outgoing(index) if index > 0 => Some(Place::Outgoing(index - 1)),
            Place::Outgoing(_) => self.messages.keys().next_back().copied().map(Place::Message),
            Place::Message(seq) => self.messages.range(..seq).next_back().map(|(seq, _)| Place::Message(*seq)),
        }
    }

    /// The place below.
    pub fn below(&self, place: Place) -> Option<Place> {
        let outgoing = |index: usize| (index < self.outgoing.len()).then_some(Place::Outgoing(index));
        match place {
            Place::Outgoing(index) => outgoing(index + 1),
            Place::Message(seq) => {
                let next = self.messages.range(Seq(seq.0 + 1)..).next().map(|(seq, _)| Place::Message(*seq));
                next.or_else(|| outgoing(0))
            }
        }
    }

    /// Whether a page of history has come.
    pub fn has_page(&self) -> bool {
        self.has_page
    }

    /// Whether the server has a message before the oldest that is held.
    pub fn has_older(&self) -> bool {
        self.has_older
    }

    /// The oldest that is held.
    pub fn oldest(&self) -> Option<Seq> {
        self.messages.keys().next().copied()
    }

    /// The first of the messages that were new when somebody began to look at the conversation.
    pub fn line(&self) -> Option<Seq> {
        self.reading.line()
    }

    fn last_seq(&self) -> Seq {
        let told = self.conversation.as_ref().map_or(Seq(0), |conversation| conversation.last_seq);
        self.messages.keys().next_back().copied().map_or(told, |held| held.max(told))
    }

    pub(super) fn unread(&self, me: Option<AccountId>) -> Unread {
        self.reading.unread(&self.messages, me)
    }

    /// When it was last used, as a number that grows.
    pub(super) fn used(&self) -> i64 {
        self.used
    }

    pub(super) fn set_used(&mut self, used: i64) {
        self.used = used;
    }
}
