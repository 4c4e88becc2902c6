//! What an account has set for itself in a conversation.

use posthouse_protocol::{AccountId, ConversationId, Event, Preferences, TimestampMs};

use super::{Decision, Group, NewRecord, Write};
use crate::store::authority;
use crate::store::record::{Audience, Origin, Place, Recipients, decode_json};
use crate::store::rows::{PreferencesRow, Row, RowKey};

/// Changes a member's own settings; what is `None` stays.
pub struct PreferencesSet {
    /// Whose.
    pub account_id: AccountId,
    /// The connection it came from.
    pub origin: Origin,
    /// Where.
    pub conversation_id: ConversationId,
    /// Whether it is silent, and until when.
    pub muted: Option<(bool, Option<TimestampMs>)>,
    /// Whether it is at the top.
    pub pinned: Option<bool>,
}

impl Write for PreferencesSet {
    type Output = Preferences;

    fn decide(self, group: &mut Group<'_>) -> Decision<Preferences> {
        let Self { account_id, origin, conversation_id, muted, pinned } = self;
        if let Err(refusal) = authority::as_member(group.state, account_id, conversation_id) {
            return Ok(Err(refusal));
        }
        let key = RowKey::preferences(account_id, conversation_id);
        let stored = group.overlay.row(&key)?;
        let before: PreferencesRow = match &stored {
            Some(stored) => decode_json("preferences", stored)?,
            None => PreferencesRow::default(),
        };
        let mut row = before.clone();
        if let Some((muted, until)) = muted {
            (row.muted, row.muted_until) = (muted, until.filter(|_| muted));
        }
        row.pinned = pinned.unwrap_or(row.pinned);
        let preferences = row.of(conversation_id);
        if row == before {
            return Ok(Ok(preferences));
        }
        group.put(Row::json(key, &row));
        let record = NewRecord {
            audience: Audience::Account(account_id),
            place: Place::default(),
            ts: group.now,
            sent: None,
            recipients: Recipients::Accounts([account_id].into()),
            origin: Some(origin),
        };
        group.record(record, |_| Event::Preferences(preferences));
        Ok(Ok(preferences))
    }
}
