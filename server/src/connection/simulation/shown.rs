//! What a device shows: each message, and what happened to it, in whatever order that was told.

use std::collections::{BTreeMap, BTreeSet};

use posthouse_protocol::{AccountId, Body, ClientMsgId, ConversationId, Event, Message};

/// Where a message stands: conversation and seq.
pub type Place = (ConversationId, u64);

/// An emoji, and who has put it there.
pub type Sticker = (String, AccountId);

/// What the device itself was answered is newer than all that it was told of that before: a change is made by one device.
pub const ANSWERED: u64 = u64::MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    Recalled,
    /// What happened to the group.
    System(String),
}

/// A message as it came.
#[derive(Clone, Debug)]
pub struct Known {
    pub message_id: u64,
    pub sender: AccountId,
    /// The sender's name for it.
    pub name: String,
    pub said: Said,
    pub calls_all: bool,
    pub stickers: BTreeSet<Sticker>,
}

/// What was told of a message beside itself, the last word with its cursor.
#[derive(Default)]
struct Changes {
    message_id: u64,
    said: Option<(u64, Said)>,
    is_recalled: bool,
    stickers: BTreeMap<Sticker, (u64, bool)>,
}

/// See the module.
#[derive(Default)]
pub struct View {
    messages: BTreeMap<Place, Known>,
    changes: BTreeMap<Place, Changes>,
}

impl From<&Message> for Known {
    fn from(message: &Message) -> Self {
        let mut stickers = BTreeSet::new();
        for reaction in &message.reactions {
            assert_eq!(reaction.count, reaction.accounts.len() as u64, "a reaction of few counts them: {message:?}");
            stickers.extend(reaction.accounts.iter().map(|account| (reaction.emoji.clone(), *account)));
        }
        Self {
            message_id: message.message_id.0,
            sender: message.sender.account_id,
            name: message.client_msg_id.as_ref().map_or("", ClientMsgId::as_str).to_owned(),
            said: Said::from(&message.body),
            calls_all: message.mentions.as_ref().is_some_and(|mentions| mentions.all),
            stickers,
        }
    }
}

impl From<&Body> for Said {
    fn from(body: &Body) -> Self {
        match body {
            Body::Text { text } => Self::Text(text.clone()),
            Body::Recalled { .. } => Self::Recalled,
            other => Self::System(serde_json::to_string(other).expect("bodies have string keys")),
        }
    }
}

impl View {
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// A message as an event has it. What is told again is as it is by then.
    fn take(&mut self, message: &Message) {
        let (place, known) = ((message.conversation_id, message.seq.0), Known::from(message));
        if let Some(before) = self.messages.get(&place) {
            before.check_same(place, &known);
        }
        self.messages.insert(place, known);
    }

    /// A message as its sender was answered.
    pub fn sent(&mut self, place: Place, known: Known) {
        match self.messages.get(&place) {
            Some(before) => before.check_same(place, &known),
            None => drop(self.messages.insert(place, known)),
        }
    }

    /// What an event tells of a message; gives its place, where it is about one.
    pub fn take_event(&mut self, cursor: u64, event: &Event) -> Option<Place> {
        Some(match event {
            Event::Message(message) => {
                self.take(message);
                (message.conversation_id, message.seq.0)
            }
            Event::MessageEdited(edited) => {
                let place = (edited.conversation_id, edited.seq.0);
                self.edit(place, edited.message_id.0, (cursor, Said::from(&edited.body)));
                place
            }
            Event::MessageRecalled(recalled) => {
                let place = (recalled.conversation_id, recalled.seq.0);
                self.recall(place, recalled.message_id.0);
                place
            }
            Event::Reaction(reacted) => {
                let place = (reacted.conversation_id, reacted.seq.0);
                let sticker = (reacted.emoji.clone(), reacted.account.account_id);
                self.react(place, reacted.message_id.0, sticker, (cursor, reacted.added));
                place
            }
            _ => return None,
        })
    }

    pub fn edit(&mut self, place: Place, message_id: u64, (cursor, said): (u64, Said)) {
        let last = &mut self.changes(place, message_id).said;
        if last.as_ref().is_none_or(|(before, _)| *before <= cursor) {
            *last = Some((cursor, said));
        }
    }

    pub fn recall(&mut self, place: Place, message_id: u64) {
        self.changes(place, message_id).is_recalled = true;
    }

    pub fn react(&mut self, place: Place, message_id: u64, sticker: Sticker, (cursor, is_there): (u64, bool)) {
        let last = self.changes(place, message_id).stickers.entry(sticker).or_default();
        if last.0 <= cursor {
            *last = (cursor, is_there);
        }
    }

    pub fn get(&self, place: Place) -> Option<&Known> {
        self.messages.get(&place)
    }

    pub fn messages(&self) -> &BTreeMap<Place, Known> {
        &self.messages
    }

    /// What a message says and carries after all that happened to it.
    pub fn now(&self, place: Place) -> Option<(Said, BTreeSet<Sticker>)> {
        let known = self.messages.get(&place)?;
        let none = Changes::default();
        let changes = self.changes.get(&place).unwrap_or(&none);
        let said = changes.said.as_ref().map_or(&known.said, |(_, said)| said).clone();
        if changes.is_recalled || said == Said::Recalled || known.said == Said::Recalled {
            return Some((Said::Recalled, BTreeSet::new()));
        }
        let mut stickers = known.stickers.clone();
        for (sticker, (_, is_there)) in &changes.stickers {
            if *is_there {
                stickers.insert(sticker.clone());
            } else {
                stickers.remove(sticker);
            }
        }
        Some((said, stickers))
    }

    /// Nothing was told of a message that never came.
    pub fn check_whole(&self, name: &str) {
        for (place, changes) in &self.changes {
            let known =
                self.messages.get(place).unwrap_or_else(|| panic!("{name}: what happened to {place:?} came alone"));
            assert_eq!(known.message_id, changes.message_id, "{name}: {place:?} is another message");
        }
    }

    fn changes(&mut self, place: Place, message_id: u64) -> &mut Changes {
        let changes = self.changes.entry(place).or_default();
        assert!(matches!(changes.message_id, 0) || changes.message_id == message_id, "{place:?} has two names");
        changes.message_id = message_id;
        changes
    }
}

impl Known {
    fn check_same(&self, place: Place, other: &Self) {
        let is_same = (self.message_id, self.sender, &self.name) == (other.message_id, other.sender, &other.name);
        assert!(is_same, "{place:?} is another message than before: {other:?}, not {self:?}");
    }
}
