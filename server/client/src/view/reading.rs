//! How far somebody has read a conversation: from what the server counts, and from the messages that are held.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use posthouse_protocol::{AccountId, Body, Message, Seq};

/// What was not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// How many messages of others; what only tells who came and went is none.
    pub messages: u64,
    /// How many of them mention the reader.
    pub mentions: u64,
}

/// Which messages count, and for whom.
pub(super) type Messages = BTreeMap<Seq, Message>;

/// One conversation's reading. The server's count is of everything up to a message; what comes behind it is counted here.
#[derive(Default)]
pub(super) struct Reading {
    /// Everything up to here was read; the server may know of more.
    read: Seq0,
    told: Unread,
    /// The newest message that the server's count counts. It may not have come yet.
    told_to: Seq0,
    /// Whether the server has counted at all.
    is_told: bool,
    /// What the server knows to be read and delivered.
    reported: (Seq0, Seq0),
    line: Line,
}

/// A `seq`; 0 where there is none.
type Seq0 = u64;

/// Where what was new begins.
#[derive(Clone, Copy, Default)]
enum Line {
    #[default]
    None,
    /// Above so many messages that end with this one; they are not all held yet.
    Above {
        count: u64,
        last: Seq0,
    },
    At(Seq),
}

impl Reading {
    /// What the server counts, up to its newest message.
    pub fn tell(&mut self, unread: Unread, last: Seq) {
        if unread.messages == 0 {
            self.read = self.read.max(last.0);
            self.reported = (self.reported.0.max(last.0), self.reported.1.max(last.0));
        } else if self.read >= last.0 {
            // It was not told, or the telling was lost.
            self.reported.0 = 0;
        }
        self.take_count(unread, last);
    }

    /// Read on one of the account's devices, with what is left behind that, up to `last`.
    pub fn read_elsewhere(&mut self, read: Seq, left: Unread, last: Seq) {
        self.read_to(read);
        self.reported.0 = self.reported.0.max(read.0);
        self.take_count(left, last);
    }

    /// Answers and events overtake each other: the newest count stays. Of two up to the same message that is the lower one.
    fn take_count(&mut self, unread: Unread, last: Seq) {
        let is_older = (last.0, Reverse(unread.messages)) < (self.told_to, Reverse(self.told.messages));
        if !self.is_told || !is_older {
            (self.told, self.told_to, self.is_told) = (unread, last.0, true);
        }
    }

    /// What is there was there before: how much of it is unread the server will tell.
    pub fn settle(&mut self, last: Seq) {
        (self.told, self.told_to, self.is_told) = (Unread::default(), last.0, false);
    }

    pub fn read_to(&mut self, seq: Seq) {
        self.read = self.read.max(seq.0);
    }

    /// The reader has sent this one: the server counts everything before as read.
    pub fn wrote(&mut self, seq: Seq) {
        self.read_to(seq);
        self.reported = (self.reported.0.max(seq.0), self.reported.1.max(seq.0));
    }

    pub fn unread(&self, messages: &Messages, me: Option<AccountId>) -> Unread {
        let behind = count(messages, self.read.max(self.told_to), u64::MAX, me);
        if self.read >= self.told_to {
            return behind;
        }
        // More may be read by now than when the server counted. What is not held may all count.
        let held = count(messages, self.read, self.told_to, me);
        let all_held = messages.range(Seq(self.read + 1)..=Seq(self.told_to)).count() as u64;
        let not_held = self.told_to - self.read - all_held;
        Unread {
            messages: self.told.messages.min(held.messages + not_held) + behind.messages,
            mentions: self.told.mentions.min(held.mentions + not_held) + behind.mentions,
        }
    }

    /// Somebody begins to look, at a conversation up to `last`: what is unread of it is new.
    pub fn draw_line(&mut self, messages: &Messages, last: Seq, me: Option<AccountId>) {
        let to_come = self.told_to.saturating_sub(last.0);
        self.line = match self.unread(messages, me).messages.saturating_sub(to_come) {
            0 => Line::None,
            count => Line::Above { count, last: last.0 },
        };
        self.find_line(messages, me);
    }

    /// Looks for the line's place among what is held by now.
    pub fn find_line(&mut self, messages: &Messages, me: Option<AccountId>) {
        if let Line::Above { count, last } = self.line {
            let mut news = messages.range(..=Seq(last)).rev().filter(|(_, message)| is_news(message, me));
            let nth = usize::try_from(count - 1).unwrap_or(usize::MAX);
            if let Some((seq, _)) = news.nth(nth) {
                self.line = Line::At(*seq);
            }
        }
    }

    /// The first message that was new.
    pub fn line(&self) -> Option<Seq> {
        if let Line::At(seq) = self.line { Some(seq) } else { None }
    }

    /// How far the reader has come, where the server does not know: read, delivered. It counts as told then.
    pub fn report(&mut self, last: Seq) -> (Option<Seq>, Option<Seq>) {
        let (read, delivered) = self.unreported(last);
        self.reported = (self.reported.0.max(self.read), self.reported.1.max(last.0));
        (read, delivered)
    }

    /// The same, without its being told.
    pub fn unreported(&self, last: Seq) -> (Option<Seq>, Option<Seq>) {
        let read = (self.read > self.reported.0).then_some(Seq(self.read));
        let delivered = (last.0 > self.reported.1.max(self.read)).then_some(last);
        (read, delivered)
    }
}

/// Behind one message and up to another.
fn count(messages: &Messages, behind: Seq0, to: Seq0, me: Option<AccountId>) -> Unread {
    if behind >= to {
        return Unread::default();
    }
    let news = messages.range(Seq(behind + 1)..=Seq(to)).map(|(_, message)| message).filter(|it| is_news(it, me));
    news.fold(Unread::default(), |sum, message| Unread {
        messages: sum.messages + 1,
        mentions: sum.mentions + u64::from(is_called(message, me)),
    })
}

/// Whether there is something to read in it.
fn is_news(message: &Message, me: Option<AccountId>) -> bool {
    Some(message.sender.account_id) != me && !matches!(message.body, Body::System(_))
}

/// Whether it mentions the reader.
pub(super) fn is_called(message: &Message, me: Option<AccountId>) -> bool {
    let is_named = |me: AccountId| message.mentions.as_ref().is_some_and(|it| it.all || it.accounts.contains(&me));
    me.is_some_and(is_named)
}
