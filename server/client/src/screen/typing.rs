//! Who is writing: what is heard of others, and when to say it of oneself.

use std::collections::BTreeMap;

use posthouse_client::view::People;
use posthouse_protocol::{AccountId, ConversationId, limits};
use tokio::time::{Duration, Instant};

/// For so long it is shown.
const SHOWN: Duration = Duration::from_secs(limits::TYPING_SHOWN_S);

/// As often it is said (PROTOCOL.md, typing).
const SAID_INTERVAL: Duration = Duration::from_secs(3);

/// As many are called by their names.
const NAMES_MAX: usize = 3;

#[derive(Default)]
pub struct Typing {
    /// Until when each is shown.
    heard: BTreeMap<(ConversationId, AccountId), Instant>,
    said: Option<(ConversationId, Instant)>,
}

impl Typing {
    pub fn heard(&mut self, id: ConversationId, who: AccountId, now: Instant) {
        self.heard.insert((id, who), now + SHOWN);
    }

    /// A message of theirs came.
    pub fn stopped(&mut self, id: ConversationId, who: AccountId) {
        self.heard.remove(&(id, who));
    }

    pub fn clear(&mut self) {
        self.heard.clear();
    }

    pub fn forget_old(&mut self, now: Instant) {
        self.heard.retain(|_, until| *until > now);
    }

    /// How long until somebody is shown no longer.
    pub fn next(&self, now: Instant) -> Option<Duration> {
        self.heard.values().min().map(|until| until.saturating_duration_since(now))
    }

    /// A letter was typed: whether the others are to be told.
    pub fn is_to_be_said(&mut self, id: ConversationId, now: Instant) -> bool {
        let was_said = self.said.is_some_and(|(there, at)| there == id && now < at + SAID_INTERVAL);
        if !was_said {
            self.said = Some((id, now));
        }
        !was_said
    }

    /// One line about who writes in a conversation.
    pub fn line(&self, id: ConversationId, people: &People) -> Option<String> {
        let here = self.heard.keys().filter(|(there, _)| *there == id);
        let mut names: Vec<String> = here.map(|(_, who)| people.name(*who)).collect();
        let more = names.len().saturating_sub(NAMES_MAX);
        if more > 0 {
            names.truncate(NAMES_MAX - 1);
            names.push(format!("{} others", more + 1));
        }
        let last = names.pop()?;
        if names.is_empty() {
            return Some(format!("{last} is typing …"));
        }
        Some(format!("{} and {last} are typing …", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ConversationId = ConversationId(7);

    #[test]
    fn several_are_named_until_their_time_is_over_or_a_message_comes() {
        let (mut typing, people, now) = (Typing::default(), People::default(), Instant::now());
        assert_eq!(typing.line(HERE, &people), None);
        typing.heard(HERE, AccountId(1), now);
        assert_eq!(typing.line(HERE, &people).as_deref(), Some("somebody is typing …"));
        assert_eq!(typing.line(ConversationId(8), &people), None);
        typing.heard(HERE, AccountId(2), now + Duration::from_secs(1));
        assert_eq!(typing.line(HERE, &people).as_deref(), Some("somebody and somebody are typing …"));
        (3..6).for_each(|who| typing.heard(HERE, AccountId(who), now + Duration::from_secs(2)));
        assert_eq!(typing.line(HERE, &people).as_deref(), Some("somebody, somebody and 3 others are typing …"));
        assert_eq!(typing.next(now), Some(SHOWN));
        typing.forget_old(now + SHOWN);
        assert_eq!(typing.heard.len(), 4);
        (2..6).for_each(|who| typing.stopped(HERE, AccountId(who)));
        assert_eq!((typing.line(HERE, &people), typing.next(now)), (None, None));
    }

    #[test]
    fn it_is_said_every_three_seconds_and_at_once_in_another_conversation() {
        let (mut typing, now) = (Typing::default(), Instant::now());
        let mut said = |id, after_ms| typing.is_to_be_said(id, now + Duration::from_millis(after_ms));
        assert_eq!(
            [said(HERE, 0), said(HERE, 2_999), said(HERE, 3_000), said(HERE, 3_100)],
            [true, false, true, false]
        );
        assert!(said(ConversationId(8), 3_200));
    }
}
