//! What happened in the conversations, as those tell it who were always in them; and from that, by PROTOCOL.md alone, who is to
//! see what of it.

use std::collections::{BTreeMap, BTreeSet};

use posthouse_protocol::{AccountId, Body, ConversationId, Event, Push, Pushed, SystemBody};

use super::PAIRS;
use super::device::Device;
use super::shown::{Known, Place, Said, Sticker};
use crate::store::Store;

/// A message, and what happened to it.
pub struct Message {
    pub known: Known,
    /// What it said from when on. Of one that was recalled only the last one is known.
    pub versions: Vec<(u64, Said)>,
    pub recalled: Option<u64>,
    pub reacted: Vec<(u64, Sticker, bool)>,
}

/// See the module.
pub struct Record {
    group: ConversationId,
    pairs: BTreeMap<ConversationId, [AccountId; 2]>,
    pub messages: BTreeMap<Place, Message>,
    /// Each event's conversation, and the message that it is about.
    events: BTreeMap<u64, (ConversationId, Option<u64>)>,
    /// When each account was in the group: from a message up to, and without, what follows the last one.
    stays: BTreeMap<AccountId, Vec<(u64, u64)>>,
}

impl Record {
    /// From the events of each account, the first one's first. `written` has what each message said at first.
    pub fn new(
        all: &[Vec<(u64, Event)>],
        conversations: &[ConversationId],
        written: &BTreeMap<String, String>,
    ) -> Self {
        let pairs = PAIRS.iter().zip(conversations);
        let pairs = pairs.map(|((one, other), id)| (*id, [AccountId(*one), AccountId(*other)])).collect();
        let group = *conversations.last().expect("the group is the last one");
        let (messages, events, stays) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut record = Self { group, pairs, messages, events, stays };
        for (account, events) in (1..).zip(all) {
            for (cursor, event) in events {
                let Some(conversation) = conversation_of(event) else { continue };
                // The group is the first one's, and each pair that of its first.
                let witness = record.pairs.get(&conversation).map_or(AccountId(1), |pair| pair[0]);
                if witness == AccountId(account) {
                    record.note(*cursor, conversation, event, written);
                }
            }
        }
        record
    }

    fn note(&mut self, cursor: u64, conversation: ConversationId, event: &Event, written: &BTreeMap<String, String>) {
        let about = match event {
            Event::Message(message) => {
                if let Body::System(what) = &message.body {
                    self.note_stay(cursor, message.sender.account_id, what);
                }
                let known = Known::from(message);
                let first = match (&known.said, written.get(&known.name)) {
                    (Said::Text(_), Some(text)) => Said::Text(text.clone()),
                    (said, _) => said.clone(),
                };
                let noted = Message { known, versions: vec![(cursor, first)], recalled: None, reacted: Vec::new() };
                let before = self.messages.insert((conversation, message.seq.0), noted);
                assert!(before.is_none(), "message {cursor} is stored in the place of another one");
                None
            }
            Event::MessageEdited(edited) => {
                let message = self.message(cursor, (conversation, edited.seq.0), edited.message_id.0);
                message.versions.push((cursor, Said::from(&edited.body)));
                Some(edited.message_id.0)
            }
            Event::MessageRecalled(recalled) => {
                let is_owner = self.is_owner(recalled.by, conversation);
                let message = self.message(cursor, (conversation, recalled.seq.0), recalled.message_id.0);
                let may = recalled.by == message.known.sender || is_owner;
                assert!(may, "record {cursor} recalls what another one wrote");
                message.versions.push((cursor, Said::Recalled));
                message.recalled = Some(cursor);
                Some(recalled.message_id.0)
            }
            Event::Reaction(reacted) => {
                let sticker = (reacted.emoji.clone(), reacted.account.account_id);
                let message = self.message(cursor, (conversation, reacted.seq.0), reacted.message_id.0);
                let was_there = message.stickers_until(cursor).contains(&sticker);
                assert_ne!(was_there, reacted.added, "record {cursor} changes nothing");
                message.reacted.push((cursor, sticker, reacted.added));
                let now = message.stickers_until(u64::MAX);
                let count = now.iter().filter(|(emoji, _)| *emoji == reacted.emoji).count();
                assert_eq!(count as u64, reacted.count, "record {cursor} counts the reactions");
                Some(reacted.message_id.0)
            }
            _ => None,
        };
        self.events.insert(cursor, (conversation, about));
    }

    /// The one that an event is about; nothing happens to it once it was recalled.
    fn message(&mut self, cursor: u64, place: Place, message_id: u64) -> &mut Message {
        let message = self.messages.get_mut(&place).unwrap_or_else(|| panic!("record {cursor} is about no message"));
        assert_eq!((message.known.message_id, message.recalled), (message_id, None), "record {cursor}");
        message
    }

    fn note_stay(&mut self, cursor: u64, sender: AccountId, what: &SystemBody) {
        let (come, gone): (Vec<AccountId>, Option<AccountId>) = match what {
            SystemBody::Created { members, .. } => {
                (members.iter().map(|member| member.account_id).chain([sender]).collect(), None)
            }
            SystemBody::Added { members } => (members.iter().map(|member| member.account_id).collect(), None),
            SystemBody::Removed { member } => (Vec::new(), Some(member.account_id)),
            SystemBody::Left { .. } => (Vec::new(), Some(sender)),
            _ => return,
        };
        for account in come {
            self.stays.entry(account).or_default().push((cursor, u64::MAX));
        }
        if let Some(account) = gone {
            let last = self.stays.get_mut(&account).and_then(|stays| stays.last_mut());
            let last = last.unwrap_or_else(|| panic!("{account} left what it was not in"));
            // That it left is the last that it sees.
            last.1 = cursor + 1;
        }
    }

    /// Whether an account is in a conversation where the records have come so far.
    pub fn is_in(&self, account: AccountId, conversation: ConversationId, cursor: u64) -> bool {
        match self.pairs.get(&conversation) {
            Some(pair) => pair.contains(&account),
            None => self.stays(account).iter().any(|(from, to)| (*from..*to).contains(&cursor)),
        }
    }

    /// Whether an account comes to the group with this message.
    pub fn begins(&self, account: AccountId, conversation: ConversationId, message_id: u64) -> bool {
        conversation == self.group && self.stays(account).iter().any(|(from, _)| *from == message_id)
    }

    /// Whether two accounts share a conversation where the records have come so far.
    pub fn are_contacts(&self, one: AccountId, other: AccountId, cursor: u64) -> bool {
        let mut all = self.pairs.keys().chain([&self.group]);
        one != other && all.any(|id| self.is_in(one, *id, cursor) && self.is_in(other, *id, cursor))
    }

    /// Whether it may recall there what others wrote.
    pub fn is_owner(&self, account: AccountId, conversation: ConversationId) -> bool {
        conversation == self.group && account == AccountId(1)
    }

    /// Whether it comes and goes there.
    pub fn comes_and_goes(&self, account: AccountId, conversation: ConversationId) -> bool {
        conversation == self.group && account != AccountId(1)
    }

    /// Up to where an account may see what a conversation holds.
    fn end(&self, account: AccountId, conversation: ConversationId) -> u64 {
        if self.pairs.contains_key(&conversation) {
            return u64::MAX;
        }
        self.stays(account).last().map_or(0, |(_, to)| *to)
    }

    fn stays(&self, account: AccountId) -> &[(u64, u64)] {
        self.stays.get(&account).map_or(&[], Vec::as_slice)
    }

    /// The events of conversations that an account is to get, all in all.
    pub fn events_of(&self, account: AccountId) -> BTreeSet<u64> {
        let is_for = |(cursor, (conversation, about)): &(&u64, &(ConversationId, Option<u64>))| {
            let sees = |cursor| self.is_in(account, *conversation, cursor);
            sees(**cursor) && about.is_none_or(sees)
        };
        self.events.iter().filter(is_for).map(|(cursor, _)| *cursor).collect()
    }

    /// What a device did to messages itself, which it may be told by answers only.
    pub fn changes_by(&self, device: &Device) -> BTreeSet<u64> {
        let mut own = BTreeSet::new();
        for (place, message) in &self.messages {
            let is_own = message.known.sender == device.account_id;
            if is_own && device.edits(*place) {
                own.extend(message.versions[1..].iter().map(|(cursor, _)| *cursor));
            }
            if device.changing.has_recalled(*place) {
                own.extend(message.recalled);
            }
            let mine =
                |sticker: &Sticker| sticker.1 == device.account_id && device.emoji().contains(&sticker.0.as_str());
            own.extend(message.reacted.iter().filter(|(_, sticker, _)| mine(sticker)).map(|(cursor, ..)| *cursor));
        }
        own
    }

    /// The messages that an account may see.
    pub fn messages_of(&self, account: AccountId) -> impl Iterator<Item = (Place, &Message)> {
        let sees = move |(place, message): &(&Place, &Message)| self.is_in(account, place.0, message.known.message_id);
        self.messages.iter().filter(sees).map(|(place, message)| (*place, message))
    }

    /// Whether a message may read so for an account that has got everything. Who was out when something happened to it may
    /// have heard of it or not: by its being told anew, or not at all.
    pub fn may_read(&self, account: AccountId, place: Place, (said, stickers): &(Said, BTreeSet<Sticker>)) -> bool {
        let message = &self.messages[&place];
        let (is_in, end) = (|cursor| self.is_in(account, place.0, cursor), self.end(account, place.0));
        let last_told = message.versions.iter().rposition(|(cursor, _)| is_in(*cursor)).expect("the message itself");
        if message.recalled.is_some() {
            let was_told = last_told + 1 == message.versions.len();
            return *said == Said::Recalled || !was_told;
        }
        let mut may_say = message.versions[last_told..].iter().filter(|(cursor, _)| is_in(*cursor) || *cursor < end);
        if !may_say.any(|(_, may_say)| may_say == said) {
            return false;
        }
        let all: BTreeSet<&Sticker> = message.reacted.iter().map(|(_, sticker, _)| sticker).chain(stickers).collect();
        all.into_iter().all(|sticker| {
            let changes: Vec<_> = message.reacted.iter().filter(|(_, changed, _)| changed == sticker).collect();
            let last_told = changes.iter().rposition(|(cursor, ..)| is_in(*cursor));
            let told = last_told.is_some_and(|last| changes[last].2);
            let later = changes.iter().skip(last_told.map_or(0, |last| last + 1));
            let mut may_be = later.filter(|(cursor, ..)| *cursor < end).map(|(.., added)| *added).chain([told]);
            may_be.any(|may_be| may_be == stickers.contains(sticker))
        })
    }
}

impl Message {
    /// What is under it behind the records before `cursor`.
    pub fn stickers_until(&self, cursor: u64) -> BTreeSet<Sticker> {
        let mut stickers = BTreeSet::new();
        for (_, sticker, added) in self.reacted.iter().filter(|(at, ..)| *at < cursor) {
            if *added {
                stickers.insert(sticker.clone());
            } else {
                stickers.remove(sticker);
            }
        }
        stickers
    }
}

/// Of an event that a whole conversation gets.
fn conversation_of(event: &Event) -> Option<ConversationId> {
    match event {
        Event::Message(message) => Some(message.conversation_id),
        Event::MessageEdited(edited) => Some(edited.conversation_id),
        Event::MessageRecalled(recalled) => Some(recalled.conversation_id),
        Event::Reaction(reacted) => Some(reacted.conversation_id),
        Event::ConversationUpdated(updated) => updated.role.is_none().then_some(updated.conversation_id),
        _ => None,
    }
}

/// Everything that the store has for an account.
pub async fn stored(store: &Store, account: AccountId) -> Vec<(u64, Event)> {
    let (mut events, mut from) = (Vec::new(), 0);
    loop {
        let page = store.read(move |snapshot| snapshot.sync(account, (from, u64::MAX), u32::MAX)).await.expect("read");
        for event in &page.events {
            let Pushed::Known(Push { cursor, event }) = Push::parse(event.get()).expect("an event") else {
                panic!("unknown event");
            };
            let cursor = cursor.expect("durable events have one").0.parse().expect("this server's cursors are numbers");
            events.push((cursor, event));
        }
        if !page.has_more {
            return events;
        }
        assert!(page.next > from, "a page moves on");
        from = page.next;
    }
}
