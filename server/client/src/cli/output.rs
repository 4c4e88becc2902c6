//! How results are shown: text for people, one JSON object a line for programs.

use std::io::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use posthouse_client::discover::FoundBox;
use posthouse_client::view::People;
use posthouse_client::{ClientError, Login, ServerUrl};
use posthouse_protocol::claim::RecoverySheet;
use posthouse_protocol::{
    Account, AccountWithPassword, Body, Conversation, ConversationsCreateResult, Device, Event, Fingerprint,
    ImportError, ImportedAccount, Invite, InvitesCreateResult, Mark, Member, Message, Preferences, Profile,
    ReceiptCounts, SendResult, Seq, TimestampMs, Title, Version,
};
use serde_json::json;

use super::discover::Trust;
use super::words::{called, described, happened, marks, names, role_name, said};
use crate::screen::{indented, one_line};

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

    pub fn found(self, found: &FoundBox, url: &ServerUrl, trust: Trust) {
        let said = match trust {
            Trust::Known => "known to this device",
            Trust::New => "not known to this device yet",
            Trust::Plain => "not secured",
        };
        match self {
            Self::Text => say(&format!("{}  {url}  id {}  {said}", one_line(&found.name), found.identity)),
            Self::Json => say(&json!({
                "name": found.name,
                "server": url,
                "id": found.identity,
                "trust": trust,
                "addresses": found.addresses,
            })
            .to_string()),
        }
    }

    pub fn sent(self, sent: &SendResult) {
        match self {
            Self::Text => say(&format!("Sent, number {} of this conversation, at {}.", sent.seq, local_time(sent.ts))),
            Self::Json => print_json(sent),
        }
    }

    /// What a box will take from a file, and what is wrong with it.
    pub fn provisioning(self, settings: &[String], problems: &[String]) {
        match self {
            Self::Text => {
                for line in settings.iter().chain(problems) {
                    say(&one_line(line));
                }
                if settings.is_empty() && problems.is_empty() {
                    say("The file sets nothing.");
                }
            }
            Self::Json => say(&json!({ "settings": settings, "problems": problems }).to_string()),
        }
    }

    pub fn message(self, message: &Message, people: &People) {
        match self {
            Self::Text => say(&message_text(message, people)),
            Self::Json => print_json(message),
        }
    }

    /// Something was done, and what it came to.
    pub fn done_with<T: serde::Serialize>(self, text: &str, result: &T) {
        match self {
            Self::Text => say(text),
            Self::Json => print_json(result),
        }
    }

    /// What a message said at a time.
    pub fn version(self, version: &Version) {
        match self {
            Self::Text => {
                let Version { version, ts, body } = version;
                say(&format!("{version}  {}  {}", local_time(*ts), indented(said(body))));
            }
            Self::Json => print_json(version),
        }
    }

    pub fn muted(self, now: &Preferences) {
        let text = match (now.muted, now.muted_until) {
            (true, Some(until)) => format!("Muted until {}.", local_time(until)),
            (true, None) => "Muted.".to_owned(),
            (false, _) => "Not muted any more.".to_owned(),
        };
        self.done_with(&text, now);
    }

    /// How far a member has come.
    pub fn read_to(self, member: &Account, mark: &Mark, people: &People) {
        let to = |what: &str, seq: Seq| if seq.0 == 0 { format!("nothing {what}") } else { format!("{what} to {seq}") };
        let text =
            format!("{}  {}, {}", full_name(people, member), to("read", mark.read), to("delivered", mark.delivered));
        let Account { account_id, username } = member;
        let Mark { read, delivered, .. } = mark;
        let result = json!({ "account_id": account_id, "username": username, "read": read, "delivered": delivered });
        self.done_with(&text, &result);
    }

    /// Whether a member has come to a message.
    pub fn read_by(self, member: &Account, mark: &Mark, read_by: ReadBy, people: &People) {
        let text = match read_by {
            ReadBy::Read => "read",
            ReadBy::Delivered => "delivered",
            ReadBy::Waiting => "not yet",
        };
        let Account { account_id, username } = member;
        let Mark { read, delivered, .. } = mark;
        let result = json!({
            "account_id": account_id, "username": username, "state": read_by, "read": read, "delivered": delivered,
        });
        self.done_with(&format!("{}  {text}", full_name(people, member)), &result);
    }

    /// How many have come to the newest message, where there are too many to name them.
    pub fn read_counts(self, counts: &ReceiptCounts) {
        let ReceiptCounts { seq, read, delivered } = counts;
        self.done_with(&format!("Message {seq}: read by {read}, delivered to {delivered}."), counts);
    }

    /// What happened. People are shown what they would want to be disturbed for, programs everything.
    pub fn event(self, event: &Event, people: &People) {
        let text = match event {
            Event::Message(message) => return self.message(message, people),
            _ if matches!(self, Self::Json) => return print_json(event),
            Event::OwnerRecovered(recovered) => {
                let (time, name) = (local_time(recovered.ts), full_name(people, &recovered.account));
                format!("{time}  the password of the owner {name} was reset with the code that the box shows")
            }
            Event::ConversationAdded(added) => match &added.group {
                Some(group) => format!("You are in the group {} now, #{}.", group.title, added.conversation_id),
                None => return,
            },
            Event::ConversationRemoved(removed) => format!("You are in #{} no longer.", removed.conversation_id),
            Event::MessageEdited(edited) => format!("{}  now: {}", edited.seq, indented(said(&edited.body))),
            Event::MessageRecalled(recalled) => format!("{}  was recalled", recalled.seq),
            Event::Reaction(reacted) => {
                let sign = if reacted.added { "+" } else { "-" };
                format!("{}  {}: {sign}{}", reacted.seq, full_name(people, &reacted.account), one_line(&reacted.emoji))
            }
            _ => return,
        };
        say(&text);
    }

    pub fn conversation(self, conversation: &Conversation, people: &People) {
        match self {
            Self::Text => {
                let Conversation { conversation_id, last_seq, unread, mentions, .. } = conversation;
                let number = conversation.group.as_ref().map(|_| format!("  #{conversation_id}")).unwrap_or_default();
                let unread = if *unread > 0 { format!(", {unread} unread") } else { String::new() };
                let mentions = if *mentions > 0 { format!(", {mentions} for you") } else { String::new() };
                let marks = [(conversation.muted, ", muted"), (conversation.pinned, ", pinned")];
                let marks: String = marks.into_iter().filter_map(|(is_so, mark)| is_so.then_some(mark)).collect();
                let called = called(conversation, |peer| full_name(people, peer));
                say(&format!("{called}{number}  ({last_seq} messages{unread}{mentions}{marks})"));
            }
            Self::Json => print_json(conversation),
        }
    }

    /// Something that has nothing to tell but that it was done.
    pub fn done(self, what: &str) {
        match self {
            Self::Text => say(what),
            Self::Json => say("{}"),
        }
    }

    pub fn created(self, title: &Title, made: &ConversationsCreateResult) {
        match self {
            Self::Text => say(&format!("Group {title} made, #{}.", made.conversation_id)),
            Self::Json => print_json(made),
        }
    }

    pub fn added(self, added: &[Account], people: &People) {
        match self {
            Self::Text if added.is_empty() => say("All of them were members already."),
            Self::Text => say(&format!("Added: {}.", names(added, |account| full_name(people, account)))),
            Self::Json => print_json(&json!({ "added": added })),
        }
    }

    pub fn member(self, member: &Member, people: &People) {
        match self {
            Self::Text => say(&format!("{}  {}", full_name(people, &member.account), role_name(member.role))),
            Self::Json => print_json(member),
        }
    }

    pub fn known(self, address: &str, fingerprint: Fingerprint) {
        match self {
            Self::Text => say(&format!("{}  {fingerprint}", one_line(address))),
            Self::Json => say(&json!({ "server": address, "fingerprint": fingerprint }).to_string()),
        }
    }

    /// On standard error: standard output is the messages'.
    pub fn listening(self) {
        if matches!(self, Self::Text) {
            eprintln!("Listening. Ctrl-C ends it.");
        }
    }

    /// On standard error, for people and programs: what is not there yet comes when there is a connection again.
    pub fn offline(self, error: &ClientError, retry_in: Duration) {
        let s = retry_in.as_millis().div_ceil(1000);
        match self {
            Self::Text => eprintln!("posthouse: {error}; trying again in {s} s"),
            Self::Json => {
                let retry_in_ms = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX);
                eprintln!("{}", json!({ "offline": error.to_string(), "retry_in_ms": retry_in_ms }));
            }
        }
    }

    /// On standard error: from here on it is live again.
    pub fn online_again(self) {
        match self {
            Self::Text => eprintln!("posthouse: connected again"),
            Self::Json => eprintln!("{}", json!({ "online": true })),
        }
    }

    pub fn profile(self, profile: &Profile) {
        match self {
            Self::Text => say(&described(profile)),
            Self::Json => print_json(profile),
        }
    }

    pub fn made(self, made: &AccountWithPassword) {
        match (self, &made.password) {
            (Self::Text, None) => say(&described(&made.account)),
            (Self::Text, Some(password)) => say(&format!("{}  Password: {}", described(&made.account), password.0)),
            (Self::Json, _) => print_json(made),
        }
    }

    pub fn imported_account(self, made: &ImportedAccount) {
        match (self, &made.password) {
            (Self::Text, None) => say(&described(&made.account)),
            (Self::Text, Some(password)) => say(&format!("{}  Password: {}", described(&made.account), password.0)),
            (Self::Json, _) => print_json(made),
        }
    }

    pub fn import_error(self, error: &ImportError) {
        match self {
            Self::Text => say(&format!("line {}: {}", error.line, one_line(&error.message))),
            Self::Json => print_json(error),
        }
    }

    pub fn would_import(self, new: u32, unchanged: u32) {
        match self {
            Self::Text => say(&format!("Accounts that would be made: {new}; there already: {unchanged}.")),
            Self::Json => say(&json!({ "new": new, "unchanged": unchanged, "dry_run": true }).to_string()),
        }
    }

    pub fn device(self, device: &Device) {
        match self {
            Self::Text => say(&device_text(device)),
            Self::Json => print_json(device),
        }
    }

    pub fn invite(self, invite: &Invite, people: &People) {
        match self {
            Self::Text => {
                let (uses, hours) = (invite.uses_left, invite.expires_in_s.div_ceil(3600));
                let maker = full_name(people, &invite.created_by);
                say(&format!("{}  by {maker}, for {uses} accounts, {hours} hours left", invite.invite_id));
            }
            Self::Json => print_json(invite),
        }
    }

    pub fn new_invite(self, new: &InvitesCreateResult, link: &str) {
        match self {
            Self::Text => say(&format!("Invite {} made. Code: {}\nLink: {link}", new.invite.invite_id, new.code.0)),
            Self::Json => say(&json!({ "code": new.code, "invite": new.invite, "link": link }).to_string()),
        }
    }

    /// What the owner of a new box puts away.
    pub fn sheet(self, owner: &Account, sheet: &RecoverySheet) {
        let RecoverySheet { address, fingerprint, backup_key } = sheet;
        match self {
            Self::Text => {
                say("This box is yours. Print or copy this now: the backup key is not shown again.\n");
                say(&format!("  Owner        {}\n  Address      {address}", owner.username));
                if let Some(fingerprint) = fingerprint {
                    say(&format!("  Fingerprint  {fingerprint}"));
                }
                say(&format!("  Backup key   {backup_key}\n"));
                say(
                    "Backups of this box will be encrypted with the key; this version makes none yet. It opens nothing else.",
                );
            }
            Self::Json => say(&json!({ "account": owner, "sheet": sheet }).to_string()),
        }
    }

    pub fn imported<N: serde::Serialize + std::fmt::Display>(self, made: N, kept: N) {
        match self {
            Self::Text => say(&format!("Accounts made: {made}; there already: {kept}.")),
            Self::Json => say(&json!({ "made": made, "kept": kept }).to_string()),
        }
    }
}

fn message_text(message: &Message, people: &People) -> String {
    let name = |account: &Account| full_name(people, account);
    let (number, time, sender) = (message.seq, local_time(message.ts), name(&message.sender));
    match &message.body {
        Body::System(what) => format!("{number}  {time}  {sender} {}", happened(what, name)),
        body => format!("{number}  {time}  {sender}: {}", indented(&format!("{}{}", said(body), marks(message)))),
    }
}

fn full_name(people: &People, account: &Account) -> String {
    one_line(&people.full_name(account))
}

fn device_text(device: &Device) -> String {
    let (name, used) = (one_line(&device.name), local_time(device.last_used));
    let current = if device.is_current { "  (this one)" } else { "" };
    format!("{}  {name}  last used {used}{current}", device.device_id)
}

pub fn print_json<T: serde::Serialize>(value: &T) {
    say(&serde_json::to_string(value).expect("wire types have string keys"));
}

pub fn say(line: &str) {
    print(format!("{line}\n").as_bytes());
}

/// Writes, or ends the command: quietly where nobody reads any more (`posthouse read ben | head -1`).
pub fn print(bytes: &[u8]) {
    let written = std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush());
    if let Err(error) = written {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            std::process::exit(0);
        }
        eprintln!("posthouse: cannot write the result: {error}");
        std::process::exit(1);
    }
}

/// How far somebody has come with a message.
#[derive(Clone, Copy, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadBy {
    Read,
    Delivered,
    Waiting,
}

impl ReadBy {
    pub fn of(mark: &Mark, seq: Seq) -> Self {
        match mark {
            mark if mark.read >= seq => Self::Read,
            mark if mark.delivered >= seq => Self::Delivered,
            _ => Self::Waiting,
        }
    }
}

/// In this machine's time zone.
pub fn local_time(time: TimestampMs) -> String {
    let time = i64::try_from(time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(
        || "(no valid time)".to_owned(),
        |time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_the_calendar_is_said_to_be_none() {
        assert_eq!(local_time(TimestampMs(u64::MAX)), "(no valid time)");
    }
}
