//! Who is writing: told at once to those who are connected, and kept nowhere.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use posthouse_protocol::{
    AccountId, ConversationId, Empty, ErrorBody, Event, Push, Typing, TypingNow, TypingParams, limits,
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::call::{Caller, Read};
use super::outbox::Class;
use super::{Inner, refused};
use crate::clock::now;
use crate::store::Refusal;

/// Between two events about the same account in the same conversation; more often says nothing new.
const PAUSE: Duration = Duration::from_secs(2);

/// So many are remembered before those are forgotten whose pause is over.
const REMEMBERED_MAX: usize = 4096;

/// Who was last told to be writing, where and when.
#[derive(Default)]
pub(super) struct Writers(Mutex<HashMap<(AccountId, ConversationId), Instant>>);

impl Writers {
    /// Whether it is to be told again.
    fn is_due(&self, writer: (AccountId, ConversationId), now: Instant) -> bool {
        // A panic elsewhere leaves the map whole.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(&writer).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        if told.len() >= REMEMBERED_MAX {
            told.retain(|_, last| now.duration_since(*last) < PAUSE);
        }
        let has_room = told.len() < REMEMBERED_MAX;
        if has_room {
            told.insert(writer, now);
        }
        has_room
    }
}

impl Read for Typing {
    type Answer = Empty;

    async fn read(inner: &Inner, caller: Caller, params: TypingParams) -> Result<Empty, ErrorBody> {
        let (account_id, TypingParams { conversation_id }) = (caller.account_id, params);
        let members = inner.read(move |snapshot| {
            Ok(if snapshot.is_member(account_id, conversation_id)? {
                Some(snapshot.member_ids(conversation_id)?)
            } else {
                None
            })
        });
        let mut members = members.await?.ok_or_else(|| refused(Refusal::NoSuchConversation))?;
        let is_small = members.len() <= limits::TYPING_MEMBERS_MAX;
        if is_small && inner.writers.is_due((account_id, conversation_id), now()) {
            members.retain(|member| *member != account_id);
            let event = Event::Typing(TypingNow { conversation_id, account_id });
            let frame = serde_json::to_string(&Push { cursor: None, event }).expect("events have string keys");
            inner.registry.deliver_beside(&members, &Utf8Bytes::from(frame), Class::Lossy);
        }
        Ok(Empty {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_types_on_is_told_every_two_seconds_and_what_is_remembered_is_bounded() {
        let (writers, start) = (Writers::default(), Instant::now());
        let writer = |number| (AccountId(1), ConversationId(number));
        let times = [0, 1999, 2000, 2001, 4000].map(|ms| start + Duration::from_millis(ms));
        assert_eq!(times.map(|now| writers.is_due(writer(1), now)), [true, false, true, false, true]);
        for number in 2..10_000 {
            writers.is_due(writer(number), times[4]);
        }
        assert_eq!(writers.0.lock().expect("no panic").len(), REMEMBERED_MAX);
        assert!(writers.is_due(writer(1), times[4] + PAUSE), "there is room again");
        assert_eq!(writers.0.lock().expect("no panic").len(), 1);
    }
}
