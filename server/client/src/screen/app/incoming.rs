//! What comes: from the link unasked, and as the outcome of what was asked.

use posthouse_client::view::Room;
use posthouse_client::{ClientError, Item};
use posthouse_protocol::{Body, ConversationId, ErrorCode, Event};
use tokio::time::Instant;

use super::{App, Connection, Leaving, Outcome, Request, Scroll};
use crate::cli::{called, title};

impl App {
    /// Something came from the link.
    pub fn on_item(&mut self, item: Item) {
        match item {
            Item::Event(push) => self.on_event(&push.event),
            Item::Online => {
                self.ask_who_is_there();
                self.asked.clear();
                self.view.people_mut().ask_again();
                self.connection = Connection::Online;
                self.view.settled();
                self.requests.push_back(Request::List);
                self.loading.clear();
                self.load_if_needed();
            }
            Item::Offline { error, retry_in } => {
                self.typing.clear();
                self.ask_who_is_there();
                self.view.people_mut().set_present(&[]);
                let retry_at = Instant::now() + retry_in;
                self.connection = Connection::Offline { reason: error.to_string(), retry_at };
            }
            Item::Reset => {
                self.view.reset();
                self.loading.clear();
                (self.scroll, self.is_listed) = (Scroll::default(), false);
                self.notice = Some("The server's database is another one: everything is loaded again.".to_owned());
            }
            // The loop ends the program at the first, and the second is not for programs.
            Item::LoggedOut | Item::At(_) => {}
        }
    }

    pub fn on_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Me(account) => self.view.set_me(account),
            Outcome::Listed(page) => page.into_iter().for_each(|conversation| self.view.list(conversation)),
            Outcome::ListEnded(Ok(())) => self.on_listed(),
            Outcome::Opened(conversation) => {
                let id = conversation.conversation_id;
                self.view.list(conversation);
                self.open(id);
            }
            Outcome::NotOpened(name, error) => self.on_not_opened(&name, &error),
            Outcome::Got(Ok(conversation)) => self.view.list(conversation),
            // The next connection begins with a list.
            Outcome::ListEnded(Err(_)) | Outcome::Got(Err(_)) => {}
            Outcome::History(id, before, result) => {
                self.loading.remove(&id);
                match result {
                    Ok(page) => self.view.take_history(id, before, page),
                    Err(ClientError::Disconnected(_)) => {}
                    Err(error) => self.notice = Some(format!("No older messages: {error}")),
                }
                if self.open == Some(id) && self.scroll.is_at_newest() {
                    self.mark_read();
                }
            }
            Outcome::Sent(id, name, Ok(result)) => {
                self.view.sent(id, &name, result);
                if self.leaving == Leaving::Asked && self.view.unacknowledged() == 0 {
                    (self.leaving, self.notice) = (Leaving::No, None);
                }
            }
            Outcome::Marks(receipts) => self.view.take_receipts_of_others(&receipts),
            Outcome::Members(id, members) => self.view.take_members(id, members),
            Outcome::Done(typed, done) => self.on_done(&typed, done),
            Outcome::Profiles(profiles) => self.view.people_mut().fill(&profiles),
            Outcome::Present(accounts) => self.view.people_mut().set_present(&accounts),
            Outcome::Sent(id, name, Err(error)) => {
                self.view.failed(id, &name, error.to_string());
                self.notice = Some(format!("A message was not sent: {error}"));
            }
        }
    }

    fn on_event(&mut self, event: &Event) {
        if let Some(id) = self.view.take(event) {
            self.requests.push_back(Request::Get(id));
        }
        match event {
            Event::ConversationRemoved(removed) => self.on_removed(removed.conversation_id),
            // Somebody new may be a contact.
            Event::ConversationAdded(_) => self.ask_who_is_there(),
            Event::Typing(typing) => self.typing.heard(typing.conversation_id, typing.account_id, Instant::now()),
            Event::Message(message) => {
                self.typing.stopped(message.conversation_id, message.sender.account_id);
                if matches!(message.body, Body::System(_)) {
                    self.asked.remove(&message.conversation_id);
                    self.ask_about_open();
                }
            }
            _ => {}
        }
        if self.scroll.is_at_newest() {
            self.mark_read();
        }
        let unread = self.open.filter(|id| self.view.unread(*id).messages > 0);
        unread.into_iter().for_each(|id| self.view.draw_line(id));
    }

    fn on_removed(&mut self, id: ConversationId) {
        if self.open == Some(id) {
            (self.open, self.scroll) = (None, Scroll::default());
            self.notice = Some("You are no longer in that conversation.".to_owned());
        }
    }

    fn on_listed(&mut self) {
        self.is_listed = true;
        self.ask_about_open();
        match self.wanted.take() {
            Some(name) => self.requests.push_back(Request::Open(name)),
            None if self.open.is_none() => {
                if let Some((id, _)) = self.view.rooms().first() {
                    self.open(*id);
                }
            }
            None => {}
        }
    }

    /// There is no account of that name: it may be what a conversation is called.
    fn on_not_opened(&mut self, name: &str, error: &ClientError) {
        let is_missing = matches!(error, ClientError::Refused(error) if error.code == ErrorCode::NotFound);
        let is_called = |id: &ConversationId| {
            let room = self.view.room(*id);
            let shown = |it| called(it, |peer| self.view.people().name_of(peer));
            let is_meant = |called: String| called.to_lowercase() == name.to_lowercase();
            room.and_then(Room::conversation).is_some_and(|it| is_meant(title(it)) || is_meant(shown(it)))
        };
        let rooms: Vec<_> = self.view.rooms().iter().map(|(id, _)| *id).filter(is_called).collect();
        match rooms.as_slice() {
            [id] => self.open(*id),
            [] if is_missing => self.notice = Some(format!("Nobody and no conversation of yours is called {name}.")),
            [] => self.notice = Some(format!("{name} was not opened: {error}")),
            several => {
                let numbers: Vec<_> = several.iter().map(|id| format!("#{id}")).collect();
                self.notice = Some(format!("Several are called {name}: {}", numbers.join(", ")));
            }
        }
    }
}
