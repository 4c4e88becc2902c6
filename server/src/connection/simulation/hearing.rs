//! What reaches a device: answers and events. Whatever breaks a promise panics.

use std::collections::BTreeSet;

use posthouse_protocol::{
    Connect, ConnectResult, ConversationId, Cursor, ErrorBody, ErrorCode, Event, Incoming, Message, MessagesReact,
    Presence, Push, Pushed, ReceiptsGet, Send, SendResult, Sync, SyncResult, close,
};
use serde_json::value::RawValue;

use super::changes::{Asked as AskedChange, Change};
use super::device::{Asked, Device, Written};
use super::link::{Down, Up};
use super::people::Heard;
use super::shown::{ANSWERED, Known, Place, Said};

/// How an event came.
#[derive(Clone, Copy)]
enum Came {
    /// By `sync`.
    Asked,
    Unasked,
}

impl Device {
    /// Something reached the device.
    pub fn on_down(&mut self, down: &Down) {
        let Some(session) = &self.session else { return };
        match down {
            Down::Ping => session.link.send(Up::Alive),
            Down::Close(code) => {
                assert!(matches!(*code, close::SLOW_CONSUMER | close::IDLE | close::REAUTHENTICATE), "{code}");
                if *code == close::SLOW_CONSUMER {
                    self.counts.note("closed as slow");
                }
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
                self.counts.note("refused");
                if !is_first {
                    self.uncertain.insert(written.client_msg_id);
                }
            }
            (ErrorCode::NotFound, Asked::GroupChange) => {}
            (code @ (ErrorCode::NotFound | ErrorCode::Forbidden | ErrorCode::Conflict), Asked::Change(number)) => {
                self.counts.note("refused a change");
                self.changing.refuse(number, code);
            }
            (
                ErrorCode::NotFound,
                Asked::Receipt(conversation) | Asked::Marks(conversation, _) | Asked::Typing(conversation),
            ) => drop(self.reading.refused.insert(conversation)),
            _ => panic!("{}: {error:?}", self.name),
        }
    }

    fn on_result(&mut self, asked: Asked, result: &RawValue) {
        match asked {
            Asked::Connect => self.on_connected(&Incoming::result::<Connect>(result).expect("a result of connect")),
            Asked::Sync { from, until } => {
                self.on_page(from, until, &Incoming::result::<Sync>(result).expect("a result of sync"));
            }
            Asked::GroupChange => self.counts.note("changed a group"),
            Asked::Change(number) => self.on_changed(number, result),
            Asked::Receipt(_) | Asked::Typing(_) => {}
            Asked::Marks(_, at_least) => {
                let receipts = Incoming::result::<ReceiptsGet>(result).expect("a result of receipts.get");
                self.reading.on_answer(&at_least, &receipts);
            }
            Asked::Presence(number) => {
                let result = Incoming::result::<Presence>(result).expect("a result of presence");
                self.session.as_mut().expect("it answers").people.on_answer(number, &result);
            }
            Asked::Send(written, is_first) => {
                let SendResult { message_id, seq, .. } = Incoming::result::<Send>(result).expect("a result of send");
                let first = self.unacknowledged.iter().position(|other| other.client_msg_id == written.client_msg_id);
                self.unacknowledged.remove(first.expect("each is answered once in a session"));
                self.counts.note("acknowledged");
                let Written { conversation_id, client_msg_id: name, text, calls_all } = written;
                if !is_first {
                    self.retried.insert(name.clone());
                }
                let (sender, said, stickers) = (self.account_id, Said::Text(text), BTreeSet::new());
                let known = Known { message_id: message_id.0, sender, name, said, calls_all, stickers };
                self.seen.insert(message_id.0);
                self.view.sent((conversation_id, seq.0), known);
            }
        }
    }

    /// It is so: what the answer says counts, for the connection that asked is told nothing else.
    fn on_changed(&mut self, number: u64, result: &RawValue) {
        let AskedChange { place, message_id, change } = self.changing.acknowledge(number);
        match change {
            Change::Edit(text) => {
                self.counts.note("edited");
                self.view.edit(place, message_id, (ANSWERED, Said::Text(text)));
            }
            Change::Recall => {
                self.counts.note("recalled");
                self.view.recall(place, message_id);
            }
            Change::React(emoji, add) => {
                self.counts.note("reacted");
                let reactions =
                    Incoming::result::<MessagesReact>(result).expect("a result of messages.react").reactions;
                let mine = reactions.iter().find(|reaction| reaction.emoji == emoji);
                let is_there = mine.is_some_and(|reaction| reaction.accounts.contains(&self.account_id));
                assert_eq!(is_there, add, "{}: the answer says how it is now: {reactions:?}", self.name);
                self.view.react(place, message_id, (emoji.to_owned(), self.account_id), (ANSWERED, add));
            }
        }
    }

    fn on_connected(&mut self, result: &ConnectResult) {
        let begin = number(&result.cursor);
        assert!(self.position.is_none_or(|(_, position)| position <= begin), "{}: what it saw comes again", self.name);
        let session = self.session.as_mut().expect("it answers");
        session.begin = Some(begin);
        session.last_pushed = begin;
        let from = match self.position {
            Some((epoch, position)) if result.resumed => {
                assert_eq!(epoch, result.epoch);
                self.counts.note("resumed");
                position
            }
            _ => {
                self.view.clear();
                self.conversations.clear();
                self.seen.clear();
                self.counts.note("begun anew");
                0
            }
        };
        self.position = Some((result.epoch, from));
        self.catch_up(from, begin);
        for written in self.unacknowledged.clone() {
            self.counts.note("resent");
            self.send(written);
        }
        for (number, asked) in self.changing.again() {
            self.ask_change(number, &asked);
        }
    }

    fn on_page(&mut self, from: u64, until: u64, page: &SyncResult) {
        let mut last = from;
        for event in &page.events {
            let Pushed::Known(push) = Push::parse(event.get()).expect("an event") else { panic!("unknown event") };
            let cursor = number(push.cursor.as_ref().expect("durable events have one"));
            assert!(last < cursor && cursor <= until, "{}: {cursor} in ({last}, {until}]", self.name);
            last = cursor;
            self.counts.note("caught up");
            self.on_event(cursor, push.event, Came::Asked);
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
        let Some(cursor) = push.cursor.as_ref().map(number) else { return self.on_lossy(push.event) };
        let session = self.session.as_mut().expect("it pushes");
        assert!(session.begin.is_some(), "{}: an event came before the answer to connect", self.name);
        assert!(cursor > session.last_pushed, "{}: {cursor} came behind {}", self.name, session.last_pushed);
        session.last_pushed = cursor;
        if session.is_caught_up {
            let (epoch, _) = self.position.expect("connected");
            self.position = Some((epoch, cursor));
        }
        if let Event::Message(Message { client_msg_id: Some(name), .. }) = &push.event {
            assert!(!session.sent.contains(name.as_str()), "{}: {name:?} came back to where it was sent", self.name);
        }
        self.counts.note("pushed");
        self.on_event(cursor, push.event, Came::Unasked);
    }

    /// Who has come how far, who is there, who writes.
    fn on_lossy(&mut self, event: Event) {
        let session = self.session.as_mut().expect("it pushes");
        assert!(session.begin.is_some(), "{}: an event came before the answer to connect", self.name);
        let stood = session.last_pushed;
        let heard = match event {
            Event::Receipts(receipts) => {
                self.counts.note("receipts told");
                self.reading.on_receipts(self.account_id, &receipts);
                let accounts = receipts.marks.iter().map(|mark| mark.account_id).collect();
                Heard::Members(receipts.conversation_id, accounts)
            }
            Event::ReadState(state) => {
                self.counts.note("read states");
                self.reading.on_state(state);
                Heard::Members(state.conversation_id, Vec::new())
            }
            Event::Typing(typing) => {
                self.counts.note("typing");
                assert_ne!(typing.account_id, self.account_id, "{}: somebody else is writing", self.name);
                Heard::Members(typing.conversation_id, vec![typing.account_id])
            }
            Event::Presence(now) => {
                self.counts.note("presence");
                session.people.on_presence(now);
                Heard::Contact(now.account_id)
            }
            other => panic!("{}: {other:?} came without a cursor", self.name),
        };
        self.heard.push((stood, heard));
    }

    fn tell(&mut self, conversation_id: ConversationId, cursor: u64, is_in: bool) {
        self.reading.distrust(conversation_id);
        let last = self.conversations.entry(conversation_id).or_default();
        *last = (*last).max((cursor, is_in));
    }

    fn on_event(&mut self, cursor: u64, event: Event, came: Came) {
        match event {
            Event::ConversationAdded(added) => self.tell(added.conversation_id, cursor, true),
            Event::ConversationRemoved(removed) => self.tell(removed.conversation_id, cursor, false),
            Event::ConversationUpdated(updated) if updated.role.is_none() => drop(self.seen.insert(cursor)),
            event => {
                let Some(place) = self.view.take_event(cursor, &event) else { return };
                self.expect(place, came);
                self.seen.insert(cursor);
            }
        }
    }

    /// What happens to a message comes behind it. While the device catches up, what is new comes before what is old; and its own
    /// messages come as answers, in any order.
    fn expect(&self, place: Place, came: Came) {
        let is_caught_up = self.session.as_ref().is_some_and(|session| session.is_caught_up);
        let is_in_order = is_caught_up || matches!(came, Came::Asked);
        let is_there = self.view.get(place).is_some();
        let may_be_own = self.unacknowledged.iter().any(|written| written.conversation_id == place.0);
        assert!(is_there || !is_in_order || may_be_own, "{}: {place:?} was changed before it came", self.name);
    }
}

fn number(cursor: &Cursor) -> u64 {
    cursor.0.parse().expect("this server's cursors are numbers")
}
