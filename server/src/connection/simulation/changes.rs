//! What a device has done to messages: edits, recalls, reactions. They are asked for until they are answered.
//!
//! An answer says nothing of the order among the changes of others. So one message's text is edited by one device of its author,
//! and each device has emoji of its own.

use std::collections::{BTreeMap, BTreeSet};

use posthouse_protocol::{ErrorCode, MessagesEdit, MessagesReact, MessagesRecall, Method};
use serde_json::{Value, json};

use super::shown::Place;

/// What is to happen to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Edit(String),
    Recall,
    React(&'static str, bool),
}

#[derive(Clone, Debug)]
pub struct Asked {
    pub place: Place,
    pub message_id: u64,
    pub change: Change,
}

/// Of two changes with the same one the later one counts.
pub type Key = (Place, &'static str);

/// See the module.
#[derive(Default)]
pub struct Changing {
    next: u64,
    pending: BTreeMap<u64, Asked>,
    /// Tried before, and nothing was heard of it.
    unheard: BTreeSet<Key>,
    /// Refused after a try of which nothing was heard: it may have been carried out.
    pub unsure: BTreeSet<Place>,
    /// By their number.
    pub acknowledged: BTreeMap<u64, Asked>,
    pub refused: Vec<(Asked, ErrorCode)>,
}

impl Asked {
    pub fn key(&self) -> Key {
        let kind = match &self.change {
            Change::Edit(_) => "edit",
            Change::Recall => "recall",
            Change::React(emoji, _) => emoji,
        };
        (self.place, kind)
    }

    /// The method and its parameters.
    pub fn request(&self) -> (&'static str, Value) {
        let (conversation_id, message_id) = (self.place.0, self.message_id);
        let mut params = json!({ "conversation_id": conversation_id, "message_id": message_id });
        let method = match &self.change {
            Change::Edit(text) => {
                params["body"] = json!({ "type": "text", "text": text });
                MessagesEdit::NAME
            }
            Change::Recall => MessagesRecall::NAME,
            Change::React(emoji, add) => {
                (params["emoji"], params["add"]) = (json!(emoji), json!(add));
                MessagesReact::NAME
            }
        };
        (method, params)
    }
}

impl Changing {
    /// Another one; gives its number.
    pub fn add(&mut self, asked: Asked) -> u64 {
        self.next += 1;
        self.pending.insert(self.next, asked);
        self.next
    }

    /// What is to be asked for again on a new connection: of each the last one.
    pub fn again(&mut self) -> Vec<(u64, Asked)> {
        let last: BTreeMap<Key, u64> = self.pending.iter().map(|(number, asked)| (asked.key(), *number)).collect();
        self.unheard.extend(last.keys());
        self.pending.retain(|number, asked| last[&asked.key()] == *number);
        self.pending.iter().map(|(number, asked)| (*number, asked.clone())).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether it ever asked for that.
    pub fn has_recalled(&self, place: Place) -> bool {
        let all = self.acknowledged.values().chain(self.refused.iter().map(|(asked, _)| asked));
        all.into_iter().any(|asked| asked.place == place && asked.change == Change::Recall)
    }

    /// It is so, and so is all that was asked before.
    pub fn acknowledge(&mut self, number: u64) -> Asked {
        let asked = self.pending.remove(&number).expect("each is answered once in a session");
        self.pending.retain(|other, before| *other > number || before.key() != asked.key());
        self.unheard.remove(&asked.key());
        self.acknowledged.insert(number, asked.clone());
        asked
    }

    pub fn refuse(&mut self, number: u64, code: ErrorCode) {
        let asked = self.pending.remove(&number).expect("each is answered once in a session");
        if self.unheard.contains(&asked.key()) {
            self.unsure.insert(asked.place);
        }
        self.refused.push((asked, code));
    }
}
