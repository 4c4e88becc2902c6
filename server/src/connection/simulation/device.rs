//! A client that does what PROTOCOL.md tells it to, and believes nothing: whatever breaks a promise panics.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use posthouse_protocol::{
    AccountId, Body, ClientMsgId, Connect, ConnectResult, ConversationId, Cursor, Epoch, ErrorBody, ErrorCode, Event,
    Incoming, Message, Method, Push, Pushed, Send, SendResult, Sync, SyncResult, close,
};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::link::{Down, Link, Up};

/// Events that a device asks for at once: few, so that catching up takes several pages.
const SYNC_LIMIT: u32 = 12;

/// Where a message stands: conversation and seq.
pub type Place = (ConversationId, u64);

/// What a message is: its id, the sender's name for it, its text.
pub type Content = (u64, String, String);

/// What a device, or the store, shows.
pub type View = BTreeMap<Place, Content>;

/// A message that the device's owner wrote.
#[derive(Clone)]
pub struct Written {
    pub conversation_id: ConversationId,
    pub client_msg_id: String,
    pub text: String,
}

/// What happened, so that a run that meets nothing is seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub acknowledged: u64,
    pub resent: u64,
    pub resumed: u64,
    pub begun_anew: u64,
    pub closed_as_slow: u64,
    pub pushed: u64,
    pub caught_up: u64,
    pub crashes: u64,
    pub changed: u64,
    pub refused: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.resent += other.resent;
        self.resumed += other.resumed;
        self.begun_anew += other.begun_anew;
        self.closed_as_slow += other.closed_as_slow;
        self.pushed += other.pushed;
        self.caught_up += other.caught_up;
        self.crashes += other.crashes;
        self.changed += other.changed;
        self.refused += other.refused;
    }
}

enum Asked {
    Connect,
    Sync {
        from: u64,
        until: u64,
    },
    /// Whether it is the first try ever.
    Send(Written, bool),
    /// Of a group's members or its title.
    Change,
}

/// A connection as the device sees it.
pub struct Session {
    pub link: Link,
    asked: HashMap<u64, Asked>,
    next_id: u64,
    /// The `cursor` of the answer to `connect`.
    begin: Option<u64>,
    /// The cursor of the last event that came by itself.
    last_pushed: u64,
    is_caught_up: bool,
}

pub struct Device {
    pub account_id: AccountId,
    pub token: String,
    pub name: String,
    pub view: View,
    /// Everything up to here was seen.
    position: Option<(Epoch, u64)>,
    /// Written and not acknowledged, oldest first.
    pub unacknowledged: VecDeque<Written>,
    /// Everything that was written, by conversation: its order is the conversation's.
    pub written: Vec<Written>,
    /// What was tried at all.
    tried: BTreeSet<String>,
    /// Refused after an earlier try of which nothing was heard: one of both may have been carried out.
    pub uncertain: BTreeSet<String>,
    /// Acknowledged after an earlier try of which nothing was heard: that one may have been refused.
    pub retried: BTreeSet<String>,
    /// Which conversations it is in, by the last that it was told of each, with the cursor: while it catches up, what comes by
    /// itself is newer than what it asks for.
    conversations: BTreeMap<ConversationId, (u64, bool)>,
    /// Of messages that it wrote, for their names.
    next_name: u64,
    pub session: Option<Session>,
    pub counts: Counts,
}

impl Device {
    pub fn new(account_id: AccountId, token: &str, name: &str) -> Self {
        let (view, unacknowledged, written) = (View::new(), VecDeque::new(), Vec::new());
        Self {
            account_id,
            token: token.to_owned(),
            name: name.to_owned(),
            view,
            position: None,
            unacknowledged,
            written,
            tried: BTreeSet::new(),
            uncertain: BTreeSet::new(),
            retried: BTreeSet::new(),
            conversations: BTreeMap::new(),
            next_name: 0,
            session: None,
            counts: Counts::default(),
        }
    }

    /// Opens a session on a new link; the one before, if any, is forgotten.
    pub fn open(&mut self, link: Link) {
        let (asked, begin) = (HashMap::new(), None);
        self.session = Some(Session { link, asked, next_id: 1, begin, last_pushed: 0, is_caught_up: false });
        let mut params = json!({ "token": self.token });
        if let Some((epoch, position)) = self.position {
            params["resume"] = json!({ "epoch": epoch, "cursor": position.to_string() });
        }
        self.ask(Connect::NAME, &params, Asked::Connect);
    }

    /// Loses its connection and everything in flight on it.
    pub fn lose(&mut self) -> Option<Link> {
        let link = self.session.take()?.link;
        link.lose_up();
        Some(link)
    }

    /// The owner takes it out of the box anew.
    pub fn forget_everything(&mut self) {
        self.view.clear();
        self.conversations.clear();
        self.position = None;
    }

    /// The owner writes something; it is sent at once where there is a session.
    pub fn write(&mut self, conversation_id: ConversationId, text: String) {
        let client_msg_id = format!("{}-{}", self.name, self.next_name);
        self.next_name += 1;
        let written = Written { conversation_id, client_msg_id, text };
        self.written.push(written.clone());
        self.unacknowledged.push_back(written.clone());
        if self.session.as_ref().is_some_and(|session| session.begin.is_some()) {
            self.send(written);
        }
    }

    /// The owner changes a group, where there is a session.
    pub fn change(&mut self, method: &str, params: &Value) {
        if self.session.as_ref().is_some_and(|session| session.begin.is_some()) {
            self.ask(method, params, Asked::Change);
        }
    }

    /// Whether nothing is left to be asked or answered.
    pub fn is_at_rest(&self) -> bool {
        let session = self.session.as_ref();
        self.unacknowledged.is_empty()
            && session.is_some_and(|session| session.is_caught_up && session.asked.is_empty())
    }

    /// The conversations that it is in.
    pub fn conversations(&self) -> BTreeSet<ConversationId> {
        self.conversations.iter().filter(|(_, (_, is_in))| *is_in).map(|(id, _)| *id).collect()
    }

    fn ask(&mut self, method: &str, params: &Value, asked: Asked) {
        let session = self.session.as_mut().expect("there is one");
        let id = session.next_id;
        session.next_id += 1;
        session.asked.insert(id, asked);
        session.link.send(Up::Frame(json!({ "id": id, "method": method, "params": params }).to_string()));
    }

    fn send(&mut self, written: Written) {
        let Written { conversation_id, client_msg_id, text } = &written;
        let body = json!({ "type": "text", "text": text });
        let params = json!({ "conversation_id": conversation_id, "client_msg_id": client_msg_id, "body": body });
        let is_first = self.tried.insert(client_msg_id.clone());
        self.ask(Send::NAME, &params, Asked::Send(written, is_first));
    }

    fn catch_up(&mut self, from: u64, until: u64) {
        let params = json!({ "cursor": from.to_string(), "until": until.to_string(), "limit": SYNC_LIMIT });
        self.ask(Sync::NAME, &params, Asked::Sync { from, until });
    }

    /// Something reached the device.
    pub fn on_down(&mut self, down: &Down) {
        let Some(session) = &self.session else { return };
        match down {
            Down::Ping => session.link.send(Up::Alive),
            Down::Close(code) => {
                assert!(matches!(*code, close::SLOW_CONSUMER | close::IDLE | close::REAUTHENTICATE), "{code}");
                self.counts.closed_as_slow += u64::from(*code == close::SLOW_CONSUMER);
                self.session = None;
            }
            Down::Frame(frame) => match Incoming::parse(frame).expect("the server's frames can be read") {
                Incoming::Event(Pushed::Known(push)) => self.on_push(push),
                Incoming::Event(other) => panic!("unknown event {other:?}"),
                Incoming::Answer { id, outcome } => {
                    let id = id.expect("the requests can be read");
                    let asked = self.session.as_mut().and_then(|session| session.asked.remove(&id.0));
                    let asked = asked.unwrap_or_else(|| panic!("{}: answered twice or never asked: {id}", self.name));
                    match outcome {
                        Ok(result) => self.on_result(asked, &result),
                        Err(error) => self.on_error(asked, &error),
                    }
                }
            },
        }
    }

    fn on_error(&mut self, asked: Asked, error: &ErrorBody) {
        match (error.code, asked) {
            // It may have been carried out or not: come back and try again.
            (ErrorCode::Unavailable, _) => {
                if let Some(link) = self.lose() {
                    link.cut();
                }
            }
            // Not in the group, or not any more.
            (ErrorCode::NotFound, Asked::Send(written, is_first)) => {
                self.unacknowledged.retain(|other| other.client_msg_id != written.client_msg_id);
                self.written.retain(|other| other.client_msg_id != written.client_msg_id);
                self.counts.refused += 1;
                if !is_first {
                    self.uncertain.insert(written.client_msg_id);
                }
            }
            (ErrorCode::NotFound, Asked::Change) => {}
            _ => panic!("{}: {error:?}", self.name),
        }
    }

    fn on_result(&mut self, asked: Asked, result: &RawValue) {
        match asked {
            Asked::Connect => self.on_connected(&Incoming::result::<Connect>(result).expect("a result of connect")),
            Asked::Sync { from, until } => {
                self.on_page(from, until, &Incoming::result::<Sync>(result).expect("a result of sync"));
            }
            Asked::Change => self.counts.changed += 1,
            Asked::Send(written, is_first) => {
                let SendResult { message_id, seq, .. } = Incoming::result::<Send>(result).expect("a result of send");
                let first = self.unacknowledged.iter().position(|other| other.client_msg_id == written.client_msg_id);
                self.unacknowledged.remove(first.expect("each is answered once in a session"));
                self.counts.acknowledged += 1;
                let Written { conversation_id, client_msg_id, text } = written;
                if !is_first {
                    self.retried.insert(client_msg_id.clone());
                }
                self.see((conversation_id, seq.0), (message_id.0, client_msg_id, text));
            }
        }
    }

    fn on_connected(&mut self, result: &ConnectResult) {
        let begin = number(&result.cursor);
        let session = self.session.as_mut().expect("it answers");
        session.begin = Some(begin);
        session.last_pushed = begin;
        let from = match self.position {
            Some((epoch, position)) if result.resumed => {
                assert_eq!(epoch, result.epoch);
                self.counts.resumed += 1;
                position
            }
            _ => {
                self.view.clear();
                self.conversations.clear();
                self.counts.begun_anew += 1;
                0
            }
        };
        self.position = Some((result.epoch, from));
        self.catch_up(from, begin);
        for written in self.unacknowledged.clone() {
            self.counts.resent += 1;
            self.send(written);
        }
    }

    fn on_page(&mut self, from: u64, until: u64, page: &SyncResult) {
        let mut last = from;
        for event in &page.events {
            let Pushed::Known(push) = Push::parse(event.get()).expect("an event") else { panic!("unknown event") };
            let cursor = number(push.cursor.as_ref().expect("durable events have one"));
            assert!(last < cursor && cursor <= until, "{}: {cursor} in ({last}, {until}]", self.name);
            last = cursor;
            self.counts.caught_up += 1;
            self.on_event(cursor, push.event);
        }
        let next = number(&page.next_cursor);
        assert!(last <= next && next <= until, "{}: {last}, then {next} of {until}", self.name);
        let (epoch, _) = self.position.expect("connected");
        self.position = Some((epoch, next));
        if page.has_more {
            self.catch_up(next, until);
            return;
        }
        let session = self.session.as_mut().expect("it answers");
        session.is_caught_up = true;
        self.position = Some((epoch, session.last_pushed.max(until)));
    }

    fn on_push(&mut self, push: Push) {
        // What is lossy has none: who is there, who writes, who has read what.
        let Some(cursor) = push.cursor.as_ref().map(number) else { return };
        let session = self.session.as_mut().expect("it pushes");
        assert!(session.begin.is_some(), "{}: an event came before the answer to connect", self.name);
        assert!(cursor > session.last_pushed, "{}: {cursor} came behind {}", self.name, session.last_pushed);
        session.last_pushed = cursor;
        if session.is_caught_up {
            let (epoch, _) = self.position.expect("connected");
            self.position = Some((epoch, cursor));
        }
        self.counts.pushed += 1;
        self.on_event(cursor, push.event);
    }

    fn tell(&mut self, conversation_id: ConversationId, cursor: u64, is_in: bool) {
        let last = self.conversations.entry(conversation_id).or_default();
        *last = (*last).max((cursor, is_in));
    }

    fn on_event(&mut self, cursor: u64, event: Event) {
        match event {
            Event::Message(message) => {
                let (place, content) = shown(&message);
                self.see(place, content);
            }
            Event::ConversationAdded(added) => self.tell(added.conversation_id, cursor, true),
            Event::ConversationRemoved(removed) => self.tell(removed.conversation_id, cursor, false),
            _ => {}
        }
    }

    fn see(&mut self, place: Place, content: Content) {
        if let Some(seen) = self.view.get(&place) {
            assert_eq!(*seen, content, "{}: {place:?} is another message than before", self.name);
        }
        self.view.insert(place, content);
    }
}

/// A message as a view has it.
pub fn shown(message: &Message) -> (Place, Content) {
    let text = match &message.body {
        Body::Text { text } => text.clone(),
        other => serde_json::to_string(other).expect("bodies have string keys"),
    };
    let name = message.client_msg_id.as_ref().map_or("", ClientMsgId::as_str).to_owned();
    ((message.conversation_id, message.seq.0), (message.message_id.0, name, text))
}

fn number(cursor: &Cursor) -> u64 {
    cursor.0.parse().expect("this server's cursors are numbers")
}
