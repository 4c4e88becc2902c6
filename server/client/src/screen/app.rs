//! What the chat knows and does, apart from terminal and network: keys and outcomes in, requests out.

mod commands;
mod incoming;
mod keys;
mod requests;
mod there;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::tz::TimeZone;
use posthouse_client::view::View;
use posthouse_protocol::{ConversationId, SendParams, Seq};
use tokio::time::Instant;

use super::command::{HELP, WITH_NUMBER};
use super::completion::{Completion, Name};
use super::editor::Editor;
use super::palette::Palette;
use super::scrollback::{Look, Scroll};
use super::typing::Typing;
use crate::cli::title;
pub use requests::{Outcome, Request};
use there::There;

/// A text with a title.
pub struct Sheet {
    pub title: String,
    pub text: String,
}

impl Sheet {
    /// Keys, commands and signs.
    pub fn help() -> Self {
        Self { title: "Help".to_owned(), text: HELP.to_owned() }
    }
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
    /// Lies over everything until the next key.
    pub sheet: Option<Sheet>,
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
            sheet: None,
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

    fn submit(&mut self) {
        let text = self.editor.text();
        if text.trim().is_empty() {
            return;
        }
        if let Some(line) = text.strip_prefix('/').filter(|rest| !rest.starts_with('/')) {
            let line = line.trim().to_owned();
            return self.on_command(&line);
        }
        // Two strokes write one, for a text that is to begin so.
        let text = text.strip_prefix('/').unwrap_or(text).to_owned();
        match self.say(text, None) {
            Ok(()) => drop(self.editor.take()),
            Err(said) => self.notice = Some(said),
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
            Some(completion) if completion.is_choice() => Some(completion.next(by)),
            _ => Completion::of(self.editor.before_cursor(), &self.names()),
        };
        if let Some(completion) = next {
            self.editor.replace_before(completion.replaced_len(), completion.text());
            self.completion = Some(completion);
        }
    }

    fn names(&self) -> Vec<Name> {
        let titles = self.view.rooms().into_iter().filter_map(|(_, room)| room.conversation().map(title));
        let mut names = self.view.names(self.open);
        titles.for_each(|title| {
            if !names.contains(&title) {
                names.push(title);
            }
        });
        let shown = |typed: &str| self.view.people().full_name_by(typed).unwrap_or_else(|| typed.to_owned());
        names.into_iter().map(|typed| Name { shown: shown(&typed), typed }).collect()
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
        let shows_numbers = WITH_NUMBER.iter().any(|command| self.editor.text().starts_with(command));
        Some(Look { view, room, columns, shows_numbers, palette: self.palette, zone })
    }

    /// Messages and conversations name people by their user names alone.
    fn ask_for_names(&mut self) {
        if matches!(self.connection, Connection::Online) {
            let unknown = self.view.people_mut().take_unknown();
            self.requests.extend((!unknown.is_empty()).then_some(Request::Profiles(unknown)));
        }
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
        self.ask_for_names();
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
