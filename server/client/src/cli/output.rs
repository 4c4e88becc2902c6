//! How results are shown: text for people, one JSON object a line for programs.

use std::io::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use posthouse_client::Login;
use posthouse_protocol::{Account, Conversation, Message, SendResult, TimestampMs};
use serde_json::json;

/// Stands for a message that this version can't show.
const NEWER_KIND: &str = "(a kind of message that a newer version shows)";

#[derive(Clone, Copy)]
pub enum Output {
    Text,
    Json,
}

impl Output {
    pub fn logged_in(self, login: &Login) {
        match self {
            Self::Text => say(&format!("Logged in as {} at {}.", login.username, login.server)),
            Self::Json => say(&json!({ "username": login.username, "server": login.server }).to_string()),
        }
    }

    pub fn sent(self, sent: &SendResult) {
        match self {
            Self::Text => say(&format!("Sent, number {} of this conversation, at {}.", sent.seq, local_time(sent.ts))),
            Self::Json => print_json(sent),
        }
    }

    pub fn message(self, message: &Message) {
        match self {
            Self::Text => {
                let text = message.text().map_or_else(|| NEWER_KIND.to_owned(), printable);
                say(&format!("{}  {}: {text}", local_time(message.ts), message.sender.username));
            }
            Self::Json => print_json(message),
        }
    }

    pub fn conversation(self, conversation: &Conversation) {
        match self {
            Self::Text => say(&format!("{}  ({} messages)", title(conversation), conversation.last_seq)),
            Self::Json => print_json(conversation),
        }
    }

    /// On standard error: standard output is the messages'.
    pub fn listening(self) {
        if matches!(self, Self::Text) {
            eprintln!("Listening. Ctrl-C ends it.");
        }
    }

    pub fn account(self, account: &Account, made_up_password: Option<&str>) {
        match (self, made_up_password) {
            (Self::Text, None) => say(&format!("Account {} made.", account.username)),
            (Self::Text, Some(password)) => say(&format!("Account {} made. Password: {password}", account.username)),
            (Self::Json, password) => {
                let account_id = account.account_id;
                say(&json!({ "account_id": account_id, "username": account.username, "password": password })
                    .to_string());
            }
        }
    }

    pub fn imported(self, made: usize, kept: usize) {
        match self {
            Self::Text => say(&format!("{made} accounts made, {kept} were there already.")),
            Self::Json => say(&json!({ "made": made, "kept": kept }).to_string()),
        }
    }
}

fn print_json<T: serde::Serialize>(value: &T) {
    say(&serde_json::to_string(value).expect("wire types have string keys"));
}

/// Writes a line, or ends the command: quietly where nobody reads any more (`posthouse read ben | head -1`).
fn say(line: &str) {
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("posthouse: cannot write the result: {error}");
        std::process::exit(1);
    }
}

/// What a conversation is called.
fn title(conversation: &Conversation) -> String {
    match &conversation.peer {
        Some(peer) => peer.username.to_string(),
        None => format!("conversation {}", conversation.conversation_id),
    }
}

/// In this machine's time zone.
fn local_time(time: TimestampMs) -> String {
    let time = i64::try_from(time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(
        || "(no valid time)".to_owned(),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A text without control characters, so that a message can't steer the reader's terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\nc 你好"), "a\u{fffd}[2Jb\u{fffd}\nc 你好");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_said_to_be_none() {
        assert_eq!(local_time(TimestampMs(u64::MAX)), "(no valid time)");
    }
}
