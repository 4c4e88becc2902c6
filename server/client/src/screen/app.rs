//! What the chat knows and does, apart from terminal and network: keys and outcomes in, requests out.

mod keys;
mod there;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::tz::TimeZone;
use posthouse_client::view::{Room, View};
use posthouse_client::{ClientError, Item, new_client_msg_id};
use posthouse_protocol::{
    Account, Body, ClientMsgId, Conversation, ConversationId, ErrorCode, Event, HistoryResult, Member, PresenceNow,
    PresenceStatus, ReceiptParams, Receipts, SendParams, SendResult, Seq, limits,
};
use tokio::time::Instant;

use super::completion::Completion;
use super::editor::Editor;
use super::palette::Palette;
use super::scrollback::{Look, Scroll};
use super::typing::Typing;
use crate::cli::title;
use there::There;

/// What is to be asked of the server.
#[derive(Debug)]
pub enum Request {
    /// Who this is, and all conversations.
    List,
    /// One conversation.
    Get(ConversationId),
    /// The conversation that a person calls so.
    Open(String),
    /// Older messages.
    History(ConversationId, Option<Seq>),
    Send(Box<SendParams>),
    /// How far this device has come.
    Receipt(ReceiptParams),
    /// How far the others have come.
    Marks(ConversationId),
    Members(ConversationId),
    Typing(ConversationId),
    Presence(PresenceStatus),
}

/// What became of it.
pub enum Outcome {
    Me(Account),
    Listed(Vec<Conversation>),
    ListEnded(Result<(), ClientError>),
    Opened(Conversation),
    NotOpened(String, ClientError),
    Got(Result<Conversation, ClientError>),
    History(ConversationId, Option<Seq>, Result<HistoryResult, ClientError>),
    Sent(ConversationId, ClientMsgId, Result<SendResult, ClientError>),
    Marks(Receipts),
    Members(ConversationId, Vec<Member>),
    Present(Vec<PresenceNow>),
}

/// How the connection is.
pub enum Connection {
    Connecting,
    Online,
    Offline { reason: String, retry_at: Instant },
}

/// What was read is told together: the server gathers for as long.
const RECEIPTS_INTERVAL: Duration = Duration::from_millis(500);

pub struct App {
    pub view: View,
    pub connection: Connection,
    pub editor: Editor,
    pub open: Option<ConversationId>,
    pub scroll: Scroll,
    pub typing: Typing,
    pub palette: Palette,
    pub zone: TimeZone,
    /// Where the account is.
    pub server: String,
    /// Shown until the next key.
    pub notice: Option<String>,
    pub shows_help: bool,
    /// Columns and rows of the scrollback, as drawn last.
    pub area: (usize, usize),
    pub requests: VecDeque<Request>,
    /// Whom the command line named.
    wanted: Option<String>,
    completion: Option<Completion>,
    loading: HashSet<ConversationId>,
    /// Those whose members and marks are known on this connection.
    asked: HashSet<ConversationId>,
    is_listed: bool,
    /// When the server is told what was read.
    receipts_due: Option<Instant>,
    there: There,
    /// Texts that are being written in other conversations.
    drafts: HashMap<ConversationId, String>,
    leaving: Leaving,
}

#[derive(PartialEq, Eq)]
enum Leaving {
    No,
    Asked,
    Yes,
}

impl App {
    pub fn new(server: String, wanted: Option<String>, palette: Palette, zone: TimeZone) -> Self {
        Self {
            view: View::default(),
            connection: Connection::Connecting,
            editor: Editor::default(),
            open: None,
            scroll: Scroll::default(),
            typing: Typing::default(),
            palette,
            zone,
            server,
            notice: None,
            shows_help: false,
            area: (80, 20),
            requests: VecDeque::new(),
            wanted,
            completion: None,
            loading: HashSet::new(),
            asked: HashSet::new(),
            is_listed: false,
            receipts_due: None,
            there: There::new(Instant::now()),
            drafts: HashMap::new(),
            leaving: Leaving::No,
        }
    }

    /// Whether the person has left.
    pub fn is_over(&self) -> bool {
        self.leaving == Leaving::Yes
    }

    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    pub fn is_loading(&self) -> bool {
        self.open.is_some_and(|id| self.loading.contains(&id))
    }

    /// Something came from the link.
    pub fn on_item(&mut self, item: Item) {
        match item {
            Item::Event(push) => self.on_event(&push.event),
            Item::Online => {
                self.ask_who_is_there();
                self.asked.clear();
                self.connection = Connection::Online;
                self.view.settled();
                self.requests.push_back(Request::List);
                self.loading.clear();
                self.load_if_needed();
            }
            Item::Offline { error, retry_in } => {
                self.typing.clear();
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
        let called = |id: &ConversationId| {
            let room = self.view.room(*id);
            room.and_then(Room::conversation).is_some_and(|it| title(it).to_lowercase() == name.to_lowercase())
        };
        let rooms: Vec<_> = self.view.rooms().iter().map(|(id, _)| *id).filter(called).collect();
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

    fn submit(&mut self) {
        let text = self.editor.text();
        if text.trim().is_empty() {
            return;
        }
        if let Some(command) = text.strip_prefix('/').filter(|rest| !rest.starts_with('/')) {
            let command = command.trim().to_owned();
            self.editor.take();
            return self.on_command(&command);
        }
        let Some(conversation_id) = self.open else {
            self.notice = Some("There is no conversation open: /open NAME opens one.".to_owned());
            return;
        };
        if text.len() > limits::TEXT_LEN_MAX {
            let (len, most) = (text.len(), limits::TEXT_LEN_MAX);
            self.notice = Some(format!("The text is too long: {len} bytes of at most {most}."));
            return;
        }
        let text = self.editor.take();
        // Two strokes write one, for a text that is to begin so.
        let text = text.strip_prefix('/').map_or(text.clone(), ToOwned::to_owned);
        self.send(SendParams::text(conversation_id, new_client_msg_id(), text));
        self.go_to_newest();
    }

    fn on_command(&mut self, command: &str) {
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (name, rest.trim()) {
            ("help" | "h" | "?", _) => self.shows_help = true,
            ("quit" | "q" | "exit", _) => self.leave(false),
            ("resend", _) => self.resend(),
            ("open" | "o", "") => self.notice = Some("Whom or what? /open NAME, or /open #7".to_owned()),
            ("open" | "o", name) => self.requests.push_back(Request::Open(name.to_owned())),
            (other, _) => self.notice = Some(format!("There is no command /{other}: /help lists them.")),
        }
    }

    fn send(&mut self, params: SendParams) {
        self.view.sending(params.clone());
        self.requests.push_back(Request::Send(Box::new(params)));
    }

    fn resend(&mut self) {
        match self.open.and_then(|id| self.view.take_failed(id)) {
            Some(params) => self.send(params),
            None => self.notice = Some("Nothing has failed here.".to_owned()),
        }
    }

    /// Opens a conversation.
    pub fn open(&mut self, id: ConversationId) {
        if self.open != Some(id) {
            // What was being written stays with whom it was written to.
            let text = self.editor.swap(self.drafts.remove(&id).unwrap_or_default());
            if let Some(before) = self.open.filter(|_| !text.is_empty()) {
                self.drafts.insert(before, text);
            }
        }
        self.open = Some(id);
        self.scroll = Scroll::default();
        self.view.draw_line(id);
        self.mark_read();
        self.load_if_needed();
        self.ask_about_open();
    }

    /// Who is in the open conversation and how far they have come: events tell what changes from then on.
    fn ask_about_open(&mut self) {
        let Some(id) = self.open.filter(|_| matches!(self.connection, Connection::Online)) else { return };
        if self.asked.insert(id) {
            self.requests.extend([Request::Members(id), Request::Marks(id)]);
        }
    }

    /// The conversation that stands above or below in the list.
    fn step(&mut self, by: isize) {
        let rooms: Vec<_> = self.view.rooms().iter().map(|(id, _)| *id).collect();
        let here = rooms.iter().position(|id| Some(*id) == self.open);
        let next = here.map_or(Some(0), |here| here.checked_add_signed(by));
        if let Some(id) = next.and_then(|next| rooms.get(next)) {
            self.open(*id);
        }
    }

    fn complete(&mut self, by: isize) {
        let next = match self.completion.take() {
            Some(completion) => Some(completion.next(by)),
            None => Completion::of(self.editor.before_cursor(), &self.names()),
        };
        if let Some(completion) = next {
            self.editor.replace_before(completion.replaced_len(), completion.text());
            self.completion = Some(completion);
        }
    }

    fn names(&self) -> Vec<String> {
        let titles = self.view.rooms().into_iter().filter_map(|(_, room)| room.conversation().map(title));
        let mut names = self.view.names(self.open);
        titles.for_each(|title| {
            if !names.contains(&title) {
                names.push(title);
            }
        });
        names
    }

    /// What Tab has to choose from.
    pub fn choices(&self, columns: usize) -> Option<String> {
        self.completion.as_ref()?.choices(columns)
    }

    fn page(&self) -> usize {
        self.area.1.saturating_sub(2).max(1)
    }

    fn scroll_up(&mut self, rows: usize) {
        let mut scroll = self.scroll;
        if let Some(look) = self.look() {
            scroll.up(&look, rows);
        }
        self.scroll = scroll;
    }

    fn scroll_down(&mut self, rows: usize) {
        let mut scroll = self.scroll;
        if let Some(look) = self.look() {
            scroll.down(&look, rows);
        }
        self.scroll = scroll;
        if self.scroll.is_at_newest() {
            self.mark_read();
        }
    }

    fn go_to_newest(&mut self) {
        self.scroll = Scroll::default();
        self.mark_read();
    }

    fn mark_read(&mut self) {
        if let Some(id) = self.open.filter(|_| self.is_looking(Instant::now())) {
            self.view.mark_read(id);
        }
    }

    fn load_if_needed(&mut self) {
        if let Some(id) = self.open
            && self.view.room(id).is_none_or(|room| !room.has_page())
        {
            self.load(id, None);
        }
    }

    /// The oldest message that is held is on the screen.
    pub fn on_top_shown(&mut self) {
        let Some((id, room)) = self.open.and_then(|id| Some((id, self.view.room(id)?))) else { return };
        if room.has_page()
            && room.has_older()
            && let Some(oldest) = room.oldest()
        {
            self.load(id, Some(oldest));
        }
    }

    fn load(&mut self, id: ConversationId, before: Option<Seq>) {
        if matches!(self.connection, Connection::Online) && self.loading.insert(id) {
            self.requests.push_back(Request::History(id, before));
        }
    }

    /// What the rows of the open conversation are made of.
    pub fn look(&self) -> Option<Look<'_>> {
        let room = self.view.room(self.open?)?;
        let (view, columns, zone) = (&self.view, self.area.0, &self.zone);
        Some(Look { view, room, columns, palette: self.palette, zone })
    }

    /// How long until what is shown changes by itself.
    pub fn next_tick(&self, now: Instant) -> Option<Duration> {
        let retry = matches!(self.connection, Connection::Offline { .. }).then_some(Duration::from_millis(250));
        let receipts = self.receipts_due.map(|due| due.saturating_duration_since(now));
        let others = [retry, receipts, self.typing.next(now), self.until_idle(now)];
        others.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Instant) {
        self.typing.forget_old(now);
        self.say_whether_there(now);
        if !matches!(self.connection, Connection::Online) || !self.view.has_receipts() {
            self.receipts_due = None;
        } else if *self.receipts_due.get_or_insert(now + RECEIPTS_INTERVAL) <= now {
            self.receipts_due = None;
            self.requests.extend(self.view.take_receipts().into_iter().map(Request::Receipt));
        }
    }
}

#[cfg(test)]
mod tests;
