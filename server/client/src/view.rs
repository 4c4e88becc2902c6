//! What a program shows of an account's conversations: ordered, without holes and doubles, as pure code.
//!
//! Events, pages of history, and what became of the own messages go in, in whatever order they come; conversations
//! with their messages and unread marks come out. Does no I/O and reads no clock: who uses it has a
//! [`Link`](crate::Link) and hands on what comes from there.

mod change;
mod people;
mod reading;
mod room;

use std::collections::BTreeMap;

use posthouse_protocol::{
    Account, AccountId, ClientMsgId, Conversation, ConversationId, Event, HistoryResult, Member, Message, Preferences,
    Reaction, ReceiptParams, Receipts, SendParams, SendResult, Seq,
};

pub use people::People;
pub use reading::Unread;
pub use room::{Outgoing, OutgoingState, Place, Room};

/// The conversations of one account.
#[derive(Default)]
pub struct View {
    me: Option<Account>,
    people: People,
    rooms: BTreeMap<ConversationId, Room>,
    /// The last place given to a conversation by its being listed; they come most recently used first.
    listed: i64,
    /// The last place given to a conversation because something happened there.
    happened: i64,
    /// Whether everything comes again.
    is_refilling: bool,
}

impl View {
    /// Who looks at it: known once the link was online.
    pub fn set_me(&mut self, me: Account) {
        self.people.meet(&me);
        self.me = Some(me);
    }

    /// Who looks at it.
    pub fn me(&self) -> Option<&Account> {
        self.me.as_ref()
    }

    /// A conversation, as the server tells it now.
    pub fn list(&mut self, conversation: Conversation) {
        conversation.peer.iter().for_each(|peer| self.people.meet(peer));
        let room = self.rooms.entry(conversation.conversation_id).or_default();
        if room.used() == 0 {
            self.listed -= 1;
            room.set_used(self.listed);
        }
        room.describe(conversation);
    }

    /// Something happened. Answers the conversation that has to be asked for, where it is in one that is not
    /// listed yet, or that has changed.
    pub fn take(&mut self, event: &Event) -> Option<ConversationId> {
        let unlisted = match event {
            Event::Message(message) => self.take_message(message.clone()),
            Event::ConversationAdded(added) => {
                self.happened += 1;
                self.rooms.entry(added.conversation_id).or_default().set_used(self.happened);
                Some(added.conversation_id)
            }
            Event::ConversationUpdated(updated) => Some(updated.conversation_id),
            Event::ConversationRemoved(removed) => {
                self.rooms.remove(&removed.conversation_id);
                None
            }
            Event::MessageEdited(_) | Event::MessageRecalled(_) | Event::Reaction(_) => {
                self.change(event);
                None
            }
            Event::ReadState(state) => {
                if let Some(room) = self.rooms.get_mut(&state.conversation_id) {
                    room.read_elsewhere(state);
                }
                None
            }
            Event::Presence(now) => {
                self.people.come_or_go(*now);
                None
            }
            Event::Receipts(receipts) => {
                self.take_receipts_of_others(receipts);
                None
            }
            Event::Preferences(preferences) => {
                self.prefer(preferences);
                None
            }
            Event::AccountUpdated(profile) => {
                self.people.tell(profile);
                None
            }
            Event::OwnerRecovered(_) | Event::Typing(_) | Event::Restarting(_) => None,
        };
        // What comes again is listed once it is whole.
        unlisted.filter(|_| !self.is_refilling)
    }

    fn take_message(&mut self, message: Message) -> Option<ConversationId> {
        let (id, seq) = (message.conversation_id, message.seq);
        let is_mine = self.is_mine(&message);
        self.happened += 1;
        self.people.meet_all_in(&message);
        let room = self.rooms.entry(id).or_default();
        room.set_used(self.happened);
        room.insert(message);
        if is_mine {
            room.wrote(seq);
        }
        room.conversation().is_none().then_some(id)
    }

    /// Something happened to a message that may be held.
    fn change(&mut self, event: &Event) {
        let (id, seq) = match event {
            Event::MessageEdited(edited) => (edited.conversation_id, edited.seq),
            Event::MessageRecalled(recalled) => (recalled.conversation_id, recalled.seq),
            Event::Reaction(reacted) => (reacted.conversation_id, reacted.seq),
            _ => return,
        };
        let Some(message) = self.rooms.get_mut(&id).and_then(|room| room.message_mut(seq)) else { return };
        change::change(message, event);
    }

    /// How far others have come: told unasked, or asked for.
    pub fn take_receipts_of_others(&mut self, receipts: &Receipts) {
        if let Some(room) = self.rooms.get_mut(&receipts.conversation_id) {
            room.take_marks(&receipts.marks);
        }
    }

    /// Who is in a conversation.
    pub fn take_members(&mut self, id: ConversationId, members: Vec<Member>) {
        members.iter().for_each(|member| self.people.meet(&member.account));
        if let Some(room) = self.rooms.get_mut(&id) {
            room.set_members(members.into_iter().map(|member| member.account).collect());
        }
    }

    /// What the account has set for itself.
    pub fn prefer(&mut self, preferences: &Preferences) {
        if let Some(room) = self.rooms.get_mut(&preferences.conversation_id) {
            room.prefer(preferences);
        }
    }

    /// What became of a message's reactions.
    pub fn set_reactions(&mut self, id: ConversationId, seq: Seq, reactions: Vec<Reaction>) {
        if let Some(message) = self.rooms.get_mut(&id).and_then(|room| room.message_mut(seq)) {
            message.reactions = reactions;
        }
    }

    /// A page of older messages came: the newest ones, or those before the oldest that was held.
    pub fn take_history(&mut self, id: ConversationId, before: Option<Seq>, page: HistoryResult) {
        let me = self.my_id();
        page.messages.iter().for_each(|message| self.people.meet_all_in(message));
        let room = self.rooms.entry(id).or_default();
        room.take_history(before, page);
        room.find_line(me);
    }

    /// A message was given to the link.
    pub fn sending(&mut self, params: SendParams) {
        self.happened += 1;
        let room = self.rooms.entry(params.conversation_id).or_default();
        room.set_used(self.happened);
        room.sending(params);
    }

    /// A message was acknowledged: from here on it stands at its place.
    pub fn sent(&mut self, id: ConversationId, name: &ClientMsgId, result: SendResult) {
        if let (Some(me), Some(room)) = (self.me.clone(), self.rooms.get_mut(&id)) {
            room.sent(me, name, result);
        }
    }

    /// A message was refused, or its link ended.
    pub fn failed(&mut self, id: ConversationId, name: &ClientMsgId, reason: String) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.failed(name, reason);
        }
    }

    /// Takes the oldest message that failed out of its place, to be sent again under the same name.
    pub fn take_failed(&mut self, id: ConversationId) -> Option<SendParams> {
        self.rooms.get_mut(&id)?.take_failed()
    }

    /// Somebody begins to look at the conversation: what they have not read stands below a line from now on.
    pub fn draw_line(&mut self, id: ConversationId) {
        let me = self.my_id();
        if let Some(room) = self.rooms.get_mut(&id) {
            room.draw_line(me);
        }
    }

    /// Somebody looks at the newest messages of the conversation.
    pub fn mark_read(&mut self, id: ConversationId) {
        if let Some(room) = self.rooms.get_mut(&id) {
            room.mark_read();
        }
    }

    /// What was held is void: the database is another one. Messages that were not acknowledged stay. Until
    /// [`View::settled`], what comes is what was there before.
    pub fn reset(&mut self) {
        self.people.forget();
        self.is_refilling = true;
        self.rooms.retain(|_, room| {
            room.forget();
            !room.outgoing().is_empty()
        });
    }

    /// Everything that came since the reset was there before; how much of it is unread the list will tell.
    pub fn settled(&mut self) {
        if std::mem::take(&mut self.is_refilling) {
            self.rooms.values_mut().for_each(Room::settle);
        }
    }

    /// Whether the server does not know how far this device has come.
    pub fn has_receipts(&self) -> bool {
        self.rooms.values().any(|room| room.conversation().is_some() && room.has_unreported())
    }

    /// How far this device has come, where the server does not know. What was lost is asked for again when the
    /// conversation is listed.
    pub fn take_receipts(&mut self) -> Vec<ReceiptParams> {
        let listed = self.rooms.iter_mut().filter(|(_, room)| room.conversation().is_some());
        let told = listed.map(|(id, room)| (*id, room.report()));
        told.filter(|(_, what)| *what != (None, None))
            .map(|(conversation_id, (read, delivered))| ReceiptParams { conversation_id, read, delivered })
            .collect()
    }

    /// A conversation.
    pub fn room(&self, id: ConversationId) -> Option<&Room> {
        self.rooms.get(&id)
    }

    /// Whom the account has to do with.
    pub fn people(&self) -> &People {
        &self.people
    }

    /// The same, to be told of them.
    pub fn people_mut(&mut self) -> &mut People {
        &mut self.people
    }

    /// All conversations: those that are pinned, then the others, the most recently used first.
    pub fn rooms(&self) -> Vec<(ConversationId, &Room)> {
        let mut rooms: Vec<_> = self.rooms.iter().map(|(id, room)| (*id, room)).collect();
        rooms.sort_by_key(|(id, room)| std::cmp::Reverse((room.is_pinned(), room.used(), *id)));
        rooms
    }

    /// What was not read in the conversation, on whatever device.
    pub fn unread(&self, id: ConversationId) -> Unread {
        self.rooms.get(&id).map(|room| room.unread(self.my_id())).unwrap_or_default()
    }

    /// Own messages that are not acknowledged and have not failed.
    pub fn unacknowledged(&self) -> usize {
        let is_open = |outgoing: &&Outgoing| outgoing.state == OutgoingState::Sending;
        self.rooms.values().map(|room| room.outgoing().iter().filter(is_open).count()).sum()
    }

    /// Names that were seen, for completion: those of the conversation first, the latest first.
    pub fn names(&self, first: Option<ConversationId>) -> Vec<String> {
        let (mut names, mut rooms) = (Vec::new(), self.rooms());
        rooms.sort_by_key(|(id, _)| Some(*id) != first);
        for (_, room) in rooms {
            let peer = room.conversation().and_then(|conversation| conversation.peer.as_ref());
            let senders = room.messages().rev().map(|message| &message.sender);
            for account in peer.into_iter().chain(senders).chain(room.members()) {
                let name = account.username.to_string();
                if self.me.as_ref() != Some(account) && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    fn my_id(&self) -> Option<AccountId> {
        self.me.as_ref().map(|me| me.account_id)
    }

    /// Whether it mentions the account that looks.
    pub fn calls_me(&self, message: &Message) -> bool {
        reading::is_called(message, self.my_id())
    }

    /// Whether the account that looks sent it.
    pub fn is_mine(&self, message: &Message) -> bool {
        self.me.as_ref().is_some_and(|me| me.account_id == message.sender.account_id)
    }
}

#[cfg(test)]
mod tests;
