//! A client that does what PROTOCOL.md tells it to, and believes nothing: whatever breaks a promise panics.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use posthouse_protocol::{
    AccountId, Connect, ConversationId, Epoch, Method, Presence, PresenceStatus, Receipt, ReceiptsGet, Send, Sync,
    Typing,
};
use serde_json::{Value, json};

use super::changes::{Asked as AskedChange, Change, Changing};
use super::counts::Counts;
use super::link::{Link, Up};
use super::people::{Heard, People};
use super::reading::{Reading, Way};
use super::shown::{Place, View};

/// Events that a device asks for at once: few, so that catching up takes several pages.
const SYNC_LIMIT: u32 = 12;

/// A message that the device's owner wrote.
#[derive(Clone)]
pub struct Written {
    pub conversation_id: ConversationId,
    pub client_msg_id: String,
    pub text: String,
    pub calls_all: bool,
}

/// What a request is to be taken for when its answer comes.
pub enum Asked {
    Connect,
    Sync {
        from: u64,
        until: u64,
    },
    /// Whether it is the first try ever.
    Send(Written, bool),
    /// Of a group's members or its title.
    GroupChange,
    /// Of a message, by its number.
    Change(u64),
    Receipt(ConversationId),
    /// With what was told before.
    Marks(ConversationId, BTreeMap<AccountId, Way>),
    Typing(ConversationId),
    Presence(u64),
}

/// A connection as the device sees it.
pub struct Session {
    pub link: Link,
    pub asked: HashMap<u64, Asked>,
    next_id: u64,
    /// The `cursor` of the answer to `connect`.
    pub begin: Option<u64>,
    /// The cursor of the last event that came by itself.
    pub last_pushed: u64,
    pub is_caught_up: bool,
    /// Messages that were tried on this connection first: it is told of them by answers only.
    pub sent: BTreeSet<String>,
    /// Reads so slowly that what is lossy may have been dropped.
    pub is_slow: bool,
    pub was_slow: bool,
    pub people: People,
}

pub struct Device {
    pub account_id: AccountId,
    pub token: String,
    pub name: String,
    pub view: View,
    /// Everything up to here was seen.
    pub position: Option<(Epoch, u64)>,
    /// Written and not acknowledged, oldest first.
    pub unacknowledged: VecDeque<Written>,
    /// Everything that was written, by conversation: its order is the conversation's.
    pub written: Vec<Written>,
    /// What was tried at all, with what it said.
    pub tried: BTreeMap<String, String>,
    /// Refused after an earlier try of which nothing was heard: one of both may have been carried out.
    pub uncertain: BTreeSet<String>,
    /// Acknowledged after an earlier try of which nothing was heard: that one may have been refused.
    pub retried: BTreeSet<String>,
    /// Which conversations it is in, by the last that it was told of each, with the cursor: while it catches up, what comes by
    /// itself is newer than what it asks for.
    pub conversations: BTreeMap<ConversationId, (u64, bool)>,
    /// The events of conversations that it has got since it began.
    pub seen: BTreeSet<u64>,
    pub changing: Changing,
    pub reading: Reading,
    /// What came without a cursor, with where the connection stood.
    pub heard: Vec<(u64, Heard)>,
    /// Of messages that it wrote, for their names.
    next_name: u64,
    pub session: Option<Session>,
    pub counts: Counts,
}

impl Device {
    pub fn new(account_id: AccountId, token: &str, name: &str) -> Self {
        let (view, unacknowledged, written) = (View::default(), VecDeque::new(), Vec::new());
        Self {
            account_id,
            token: token.to_owned(),
            name: name.to_owned(),
            view,
            position: None,
            unacknowledged,
            written,
            tried: BTreeMap::new(),
            uncertain: BTreeSet::new(),
            retried: BTreeSet::new(),
            conversations: BTreeMap::new(),
            seen: BTreeSet::new(),
            changing: Changing::default(),
            reading: Reading::default(),
            heard: Vec::new(),
            next_name: 0,
            session: None,
            counts: Counts::default(),
        }
    }

    /// Opens a session on a new link; the one before, if any, is forgotten.
    pub fn open(&mut self, link: Link) {
        let (asked, begin) = (HashMap::new(), None);
        self.session = Some(Session {
            link,
            asked,
            next_id: 1,
            begin,
            last_pushed: 0,
            is_caught_up: false,
            sent: BTreeSet::new(),
            is_slow: false,
            was_slow: false,
            people: People::default(),
        });
        self.reading.begin();
        let mut params = json!({ "token": self.token });
        if let Some((epoch, position)) = self.position {
            params["resume"] = json!({ "epoch": epoch, "cursor": position.to_string() });
        }
        self.ask(Connect::NAME, &params, Asked::Connect);
    }

    /// What is lossy may be dropped from here on.
    pub fn be_slow(&mut self) {
        self.session.iter_mut().for_each(|session| session.is_slow = true);
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
        self.seen.clear();
        self.position = None;
    }

    /// The owner writes something; it is sent at once where there is a session.
    pub fn write(&mut self, conversation_id: ConversationId, text: String) {
        let client_msg_id = format!("{}-{}", self.name, self.next_name);
        self.next_name += 1;
        let calls_all = self.next_name.is_multiple_of(3);
        let written = Written { conversation_id, client_msg_id, text, calls_all };
        self.written.push(written.clone());
        self.unacknowledged.push_back(written.clone());
        if self.is_connected() {
            self.send(written);
        }
    }

    /// The owner changes a group, where there is a session.
    pub fn change_group(&mut self, method: &str, params: &Value) {
        if self.is_connected() {
            self.ask(method, params, Asked::GroupChange);
        }
    }

    /// The owner does something to a message that it shows, where there is a session.
    pub fn change(&mut self, place: Place, change: Change) {
        let known = self.view.get(place).expect("it shows it");
        let asked = AskedChange { place, message_id: known.message_id, change };
        if self.is_connected() {
            let number = self.changing.add(asked.clone());
            self.ask_change(number, &asked);
        }
    }

    /// Whether the server has answered its `connect`.
    fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.begin.is_some())
    }

    /// The last message that it shows of a conversation.
    pub fn last_of(&self, conversation: ConversationId) -> u64 {
        let of_it = self.view.messages().range((conversation, 0)..=(conversation, u64::MAX));
        of_it.last().map_or(0, |((_, seq), _)| *seq)
    }

    /// The owner has come so far in a conversation, and the device says it, or `beyond` that.
    pub fn report(&mut self, conversation: ConversationId, (read, delivered): Way, beyond: u64) {
        if !self.is_connected() || (read, delivered) == (0, 0) {
            return;
        }
        let mut params = json!({ "conversation_id": conversation });
        let ways = [("read", read), ("delivered", delivered)];
        ways.into_iter().filter(|(_, to)| *to > 0).for_each(|(name, to)| params[name] = json!(to + beyond));
        let further = |to: u64| if to > 0 { to + beyond } else { 0 };
        let most = (further(read), further(delivered).max(further(read)));
        self.reading.say(conversation, (read, delivered.max(read)), most);
        self.counts.note("receipts");
        self.ask(Receipt::NAME, &params, Asked::Receipt(conversation));
    }

    /// Asks how far the members have come.
    pub fn ask_marks(&mut self, conversation: ConversationId) {
        if !self.is_connected() {
            return;
        }
        let at_least = self.reading.ask(conversation);
        let params = json!({ "conversation_id": conversation });
        self.ask(ReceiptsGet::NAME, &params, Asked::Marks(conversation, at_least));
    }

    /// The owner writes something that is not sent yet.
    pub fn type_on(&mut self, conversation: ConversationId) {
        if self.is_connected() {
            let params = json!({ "conversation_id": conversation });
            self.ask(Typing::NAME, &params, Asked::Typing(conversation));
        }
    }

    /// The owner comes, turns away or goes.
    pub fn be(&mut self, status: PresenceStatus) {
        if self.is_connected() {
            let number = self.session.as_mut().expect("connected").people.say(status);
            self.ask(Presence::NAME, &json!({ "status": status }), Asked::Presence(number));
        }
    }

    /// Asks for what it was not told, then says again what the server does not know; whether there was anything.
    pub fn catch_up_on_receipts(&mut self) -> bool {
        let session = self.session.as_mut().expect("at rest");
        if std::mem::take(&mut session.is_slow) {
            session.was_slow = true;
            self.reading.distrust_all();
        }
        let conversations = self.conversations();
        let unasked = self.reading.unasked(&conversations);
        for conversation in &unasked {
            self.ask_marks(*conversation);
        }
        if !unasked.is_empty() {
            return true;
        }
        let unheard = self.reading.unheard(self.account_id, &conversations);
        for (conversation, way) in &unheard {
            self.report(*conversation, *way, 0);
        }
        !unheard.is_empty()
    }

    /// Whether nothing is left to be asked or answered.
    pub fn is_at_rest(&self) -> bool {
        let session = self.session.as_ref();
        self.unacknowledged.is_empty()
            && self.changing.is_empty()
            && session.is_some_and(|session| session.is_caught_up && session.asked.is_empty())
    }

    /// The emoji that it uses, and no other device of the account.
    pub fn emoji(&self) -> [&'static str; 2] {
        if self.name.ends_with('2') { ["c", "d"] } else { ["a", "b"] }
    }

    /// Whether it is the one of the account's devices that edits the message.
    pub fn edits(&self, (_, seq): Place) -> bool {
        match self.name.rsplit_once('-') {
            Some((_, number)) => (number == "2") == seq.is_multiple_of(2),
            None => true,
        }
    }

    /// The conversations that it is in.
    pub fn conversations(&self) -> BTreeSet<ConversationId> {
        self.conversations.iter().filter(|(_, (_, is_in))| *is_in).map(|(id, _)| *id).collect()
    }

    pub fn ask(&mut self, method: &str, params: &Value, asked: Asked) {
        let session = self.session.as_mut().expect("there is one");
        let id = session.next_id;
        session.next_id += 1;
        session.asked.insert(id, asked);
        session.link.send(Up::Frame(json!({ "id": id, "method": method, "params": params }).to_string()));
    }

    pub fn send(&mut self, written: Written) {
        let Written { conversation_id, client_msg_id, text, calls_all } = &written;
        let body = json!({ "type": "text", "text": text });
        let mut params = json!({ "conversation_id": conversation_id, "client_msg_id": client_msg_id, "body": body });
        if *calls_all {
            params["mentions"] = json!({ "all": true });
        }
        let is_first = self.tried.insert(client_msg_id.clone(), text.clone()).is_none();
        if is_first {
            self.session.as_mut().expect("there is one").sent.insert(client_msg_id.clone());
        }
        self.ask(Send::NAME, &params, Asked::Send(written, is_first));
    }

    pub fn ask_change(&mut self, number: u64, asked: &AskedChange) {
        let (method, params) = asked.request();
        self.ask(method, &params, Asked::Change(number));
    }

    pub fn catch_up(&mut self, from: u64, until: u64) {
        let params = json!({ "cursor": from.to_string(), "until": until.to_string(), "limit": SYNC_LIMIT });
        self.ask(Sync::NAME, &params, Asked::Sync { from, until });
    }
}
