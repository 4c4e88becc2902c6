//! Whether somebody sits before the screen, and what the others are told of it.

use posthouse_protocol::{PresenceStatus, limits};
use tokio::time::{Duration, Instant};

use super::{App, Connection, Request};

/// Without a key for so long nobody is there.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// Whether somebody looks.
pub struct There {
    last_key: Instant,
    /// Whether the terminal's window is the one in front; terminals that don't tell are.
    has_focus: bool,
    /// What the server was told on this connection.
    said: Option<PresenceStatus>,
}

impl There {
    pub fn new(now: Instant) -> Self {
        Self { last_key: now, has_focus: true, said: None }
    }

    fn status(&self, now: Instant) -> PresenceStatus {
        if now < self.last_key + IDLE { PresenceStatus::Online } else { PresenceStatus::Away }
    }
}

impl App {
    /// What comes now is seen.
    pub(super) fn is_looking(&self, now: Instant) -> bool {
        self.there.has_focus && self.there.status(now) == PresenceStatus::Online
    }

    /// A key was pressed, or the window came to the front: what came meanwhile is below the line.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.there.last_key = now;
        self.there.has_focus = true;
        if self.scroll.is_at_newest() {
            self.mark_read();
        }
    }

    pub(super) fn look_away(&mut self) {
        self.there.has_focus = false;
    }

    /// A connection is there, or somebody new is a contact: the server tells how it is with all.
    pub(super) fn ask_who_is_there(&mut self) {
        self.there.said = None;
    }

    pub(super) fn say_whether_there(&mut self, now: Instant) {
        let status = self.there.status(now);
        if matches!(self.connection, Connection::Online) && self.there.said != Some(status) {
            self.there.said = Some(status);
            self.requests.push_back(Request::Presence(status));
        }
    }

    /// How long until nobody is there.
    pub(super) fn until_idle(&self, now: Instant) -> Option<Duration> {
        let is_said = self.there.said == Some(PresenceStatus::Online);
        is_said.then(|| (self.there.last_key + IDLE).saturating_duration_since(now))
    }

    /// A letter was typed.
    pub(super) fn say_typing(&mut self, now: Instant) {
        let Some(id) = self.open.filter(|_| matches!(self.connection, Connection::Online)) else { return };
        let text = self.editor.text();
        let is_command = text.starts_with('/') && !text.starts_with("//");
        let group = self.view.room(id).and_then(|room| room.conversation()?.group.as_ref());
        let is_large = group.is_some_and(|group| group.member_count > limits::TYPING_MEMBERS_MAX as u64);
        if !text.is_empty() && !is_command && !is_large && self.typing.is_to_be_said(id, now) {
            self.requests.push_back(Request::Typing(id));
        }
    }
}
