//! What each command does.

use jiff::Timestamp;
use posthouse_client::view::Room;
use posthouse_client::{ClientError, new_client_msg_id};
use posthouse_protocol::{
    Body, ConversationId, ConversationsAddParams, ConversationsCreateParams, ConversationsLeaveParams,
    ConversationsMuteParams, ConversationsPinParams, ConversationsRemoveParams, ConversationsUpdateParams, Message,
    MessagesEditParams, MessagesReactParams, MessagesRecallParams, MessagesVersionsParams, NewBody, SendParams, Seq,
    TimestampMs, Version, limits,
};

use super::{App, Connection, Request, Sheet};
use crate::cli::{end_of, names, said};
use crate::screen::command::{Added, Command, Pinned, Which, parse};
use crate::screen::deed::{Deed, Done};
use crate::screen::indented;
use crate::screen::mention::mentions;

/// Whose message `last` is.
#[derive(Clone, Copy)]
enum Whose {
    Mine,
    Others,
}

impl App {
    /// A line behind its `/`. What is wrong stays to be mended.
    pub(super) fn on_command(&mut self, line: &str) {
        let done = parse(line).and_then(|command| self.carry_out(command));
        match done {
            Ok(Some(text)) => {
                self.editor.take();
                self.editor.insert(&text);
            }
            Ok(None) => drop(self.editor.take()),
            Err(said) => self.notice = Some(said),
        }
    }

    /// Answers what there is to be edited then.
    fn carry_out(&mut self, command: Command) -> Result<Option<String>, String> {
        match command {
            Command::Help => self.sheet = Some(Sheet::help()),
            Command::Quit => self.leave(false),
            Command::Resend => self.resend(),
            Command::Open(name) => self.requests.push_back(Request::Open(name)),
            Command::Reply(which, text) => {
                let answered = self.message(which, Whose::Others)?.message_id;
                self.say(text, Some(answered))?;
            }
            Command::Edit(which, text) => return self.edit(which, text),
            Command::Versions(which) => {
                let message = self.versioned(which)?;
                let (conversation_id, message_id, seq) = (message.conversation_id, message.message_id, message.seq);
                let params = MessagesVersionsParams { conversation_id, message_id, after: None };
                self.ask_for(Deed::Versions(seq, params))?;
            }
            Command::Recall(which) => self.recall(which)?,
            Command::React(which, emoji, added) => {
                let message = self.message(which, Whose::Others)?;
                let (conversation_id, message_id, seq) = (message.conversation_id, message.message_id, message.seq);
                let params = MessagesReactParams { conversation_id, message_id, emoji, add: added == Added::Yes };
                self.ask_for(Deed::React(seq, params))?;
            }
            Command::Members => {
                let (members, people) = (self.room()?.members(), self.view.people());
                let names = names(members, |member| people.full_name(member));
                self.notice = Some(format!("{}: {names}", members.len()));
            }
            Command::Create(title, members) => {
                let params = ConversationsCreateParams {
                    title,
                    members,
                    announcement_only: None,
                    history: None,
                    client_msg_id: Some(new_client_msg_id()),
                };
                self.ask_for(Deed::Create(params))?;
            }
            other => {
                let deed = self.deed_here(other)?;
                self.ask_for(deed)?;
            }
        }
        Ok(None)
    }

    /// What concerns the open conversation.
    fn deed_here(&self, command: Command) -> Result<Deed, String> {
        let conversation_id = self.here()?;
        let is_group = self.room()?.conversation().is_some_and(|it| it.group.is_some());
        let settings = matches!(command, Command::Mute(_) | Command::Unmute | Command::Pin(_));
        if !is_group && !settings {
            return Err("That is for groups: /group create TITLE makes one.".to_owned());
        }
        Ok(match command {
            Command::Mute(for_how_long) => {
                let until = for_how_long.map(end_of);
                Deed::Mute(ConversationsMuteParams { conversation_id, muted: true, until })
            }
            Command::Unmute => Deed::Mute(ConversationsMuteParams { conversation_id, muted: false, until: None }),
            Command::Pin(pinned) => {
                Deed::Pin(ConversationsPinParams { conversation_id, pinned: pinned == Pinned::Yes })
            }
            Command::Add(members) => Deed::Add(ConversationsAddParams { conversation_id, members }),
            Command::Remove(member) => Deed::Remove(ConversationsRemoveParams { conversation_id, member }),
            Command::Rename(title) => Deed::Rename(ConversationsUpdateParams {
                conversation_id,
                title: Some(title),
                announcement_only: None,
                history: None,
            }),
            _ => Deed::Leave(ConversationsLeaveParams { conversation_id }),
        })
    }

    fn edit(&mut self, which: Which, text: Option<String>) -> Result<Option<String>, String> {
        let message = self.message(which, Whose::Mine)?;
        let (conversation_id, message_id, seq) = (message.conversation_id, message.message_id, message.seq);
        let (Body::Text { text: said }, true) = (&message.body, self.view.is_mine(message)) else {
            return Err(format!("Message {seq} is not yours to change."));
        };
        let Some(text) = text else {
            return Ok(Some(format!("/edit {seq} {said}")));
        };
        let body = NewBody::text(text);
        self.ask_for(Deed::Edit(seq, MessagesEditParams { conversation_id, message_id, body }))?;
        Ok(None)
    }

    fn recall(&mut self, which: Which) -> Result<(), String> {
        let message = self.message(which, Whose::Mine)?;
        let (conversation_id, message_id, seq) = (message.conversation_id, message.message_id, message.seq);
        let me = self.view.me().ok_or("Not connected yet.")?.account_id;
        self.ask_for(Deed::Recall(seq, me, MessagesRecallParams { conversation_id, message_id }))
    }

    /// Sends a text to the open conversation.
    pub(super) fn say(&mut self, text: String, reply_to: Option<posthouse_protocol::MessageId>) -> Result<(), String> {
        let conversation_id = self.here()?;
        if text.len() > limits::TEXT_LEN_MAX {
            let (len, most) = (text.len(), limits::TEXT_LEN_MAX);
            return Err(format!("The text is too long: {len} bytes of at most {most}."));
        }
        let room = self.view.room(conversation_id);
        let peer = room.and_then(|room| room.conversation()?.peer.as_ref());
        let members = room.map(Room::members).unwrap_or_default();
        let mentions = mentions(&text, &members.iter().chain(peer).collect::<Vec<_>>());
        let params = SendParams::text(conversation_id, new_client_msg_id(), text);
        self.send(SendParams { reply_to, mentions, ..params });
        self.go_to_newest();
        Ok(())
    }

    fn here(&self) -> Result<ConversationId, String> {
        self.open.ok_or_else(|| "There is no conversation open: /open NAME opens one.".to_owned())
    }

    fn room(&self) -> Result<&Room, String> {
        self.view.room(self.here()?).ok_or_else(|| "It is still loading.".to_owned())
    }

    fn message(&self, which: Which, whose: Whose) -> Result<&Message, String> {
        let room = self.room()?;
        match which {
            Which::Number(seq) => {
                let none = || format!("Message {seq} is not loaded or does not exist: scroll up to it.");
                room.message(seq).ok_or_else(none)
            }
            Which::Last => {
                let is_meant = |message: &&Message| {
                    message.text().is_some() && self.view.is_mine(message) == matches!(whose, Whose::Mine)
                };
                let none = || "There is none yet: name it by its number.".to_owned();
                room.messages().rev().find(is_meant).ok_or_else(none)
            }
        }
    }

    /// The one whose versions are asked for.
    fn versioned(&self, which: Which) -> Result<&Message, String> {
        if let Which::Number(_) = which {
            return self.message(which, Whose::Others);
        }
        let none = || "Nothing that is loaded was edited: name a message by its number.".to_owned();
        self.room()?.messages().rev().find(|message| message.edited_ts.is_some()).ok_or_else(none)
    }

    /// What a message has said, the newest first: what has no room on the screen is the oldest.
    fn show_versions(&mut self, seq: Seq, versions: &[Version]) {
        let line = |version: &Version| format!("{}  {}", self.date_and_time(version.ts), indented(said(&version.body)));
        let text = versions.iter().rev().map(line).collect::<Vec<_>>().join("\n");
        self.sheet = Some(Sheet { title: format!("Message {seq}, newest first"), text });
    }

    fn date_and_time(&self, ts: TimestampMs) -> String {
        let at = i64::try_from(ts.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        at.map(|at| at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()).unwrap_or_default()
    }

    /// A change is made now or not at all.
    fn ask_for(&mut self, deed: Deed) -> Result<(), String> {
        if !matches!(self.connection, Connection::Online) {
            return Err("There is no connection: try again when there is one.".to_owned());
        }
        self.requests.push_back(Request::Deed(Box::new(deed), self.editor.text().to_owned()));
        Ok(())
    }

    /// What came of a command that was typed so.
    pub(super) fn on_done(&mut self, typed: &str, done: Result<Done, ClientError>) {
        match done {
            Ok(Done::Event(event)) => {
                self.view.take(&event);
                if let posthouse_protocol::Event::Preferences(now) = event {
                    let muted = if now.muted { "muted" } else { "not muted" };
                    let pinned = if now.pinned { "pinned" } else { "not pinned" };
                    self.notice = Some(format!("The conversation is {muted} and {pinned}."));
                }
            }
            Ok(Done::Reactions(id, seq, reactions)) => self.view.set_reactions(id, seq, reactions),
            Ok(Done::Versions(seq, versions)) => self.show_versions(seq, &versions),
            Ok(Done::Added(added)) => {
                let names = names(&added, |account| self.view.people().full_name(account));
                self.notice = Some(format!("Added: {names}."));
            }
            Ok(Done::Made(id)) => self.requests.push_back(Request::Open(format!("#{id}"))),
            Ok(Done::Said(said)) => self.notice = Some(said),
            Err(error) => {
                let name = typed.split_whitespace().next().unwrap_or_default();
                self.notice = Some(format!("{name} was refused: {error}"));
                // To be mended; where something else is being written, the arrow keys bring it back.
                if self.editor.text().is_empty() {
                    self.editor.insert(typed);
                }
            }
        }
    }
}
