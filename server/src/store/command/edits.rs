//! What happens to messages after they were sent: edits, recalls, reactions.
//!
//! Each rewrites the message's record in place, so that history shows the present, and adds a record of its own.
//! That one is for those members only who can see the message itself.

use std::sync::Arc;

use bytes::Bytes;
use posthouse_protocol::{
    AccountId, Body, ConversationId, Event, Message, MessageEdited, MessageId, MessageRecalled, NewBody, Reacted,
    Reaction, TimestampMs, limits,
};

use super::{Decision, Group, NewRecord, Refusal, Write};
use crate::store::StoreError;
use crate::store::authority;
use crate::store::membership::MembershipRow;
use crate::store::record::{Audience, Origin, Place, Recipients, decode_json, known_message, with_unknown};
use crate::store::rows::{Row, RowKey, VersionRow, number_of};
use crate::store::sight::Sees;

/// Changes what a message says.
pub struct MessageEdit {
    /// Must be its author.
    pub author: AccountId,
    /// The connection it came from.
    pub origin: Origin,
    /// Where it is.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
    /// What it is to say.
    pub body: NewBody,
}

impl Write for MessageEdit {
    type Output = TimestampMs;

    fn decide(self, group: &mut Group<'_>) -> Decision<TimestampMs> {
        let found = match group.visible_message(self.author, self.conversation_id, self.message_id)? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Found { frame, message } = found;
        let since = message.edited_ts.unwrap_or(message.ts);
        match &message.body {
            _ if message.sender.account_id != self.author => return Ok(Err(Refusal::NotTheAuthor)),
            Body::Recalled { .. } => return Ok(Err(Refusal::Recalled)),
            // A retry.
            body if *body == Body::from(self.body.clone()) => return Ok(Ok(since)),
            Body::Text { .. } => {}
            _ => return Ok(Err(Refusal::NotTheAuthor)),
        }
        // Or a group for announcements would get anybody's, in the place of an old message.
        if let Err(refusal) = authority::as_sender(group.state, self.author, self.conversation_id) {
            return Ok(Err(refusal));
        }
        let version = group.versions(self.message_id)?.len();
        let version = u32::try_from(version).expect("it is bounded by `EDITS_MAX`") + 1;
        if version > limits::EDITS_MAX {
            return Ok(Err(Refusal::EditedOften));
        }
        let readers = group.who_sees(self.conversation_id, self.message_id)?;
        let edited_ts = group.now.max(since);
        let body = Body::from(self.body);
        let (conversation_id, message_id, seq) = (self.conversation_id, self.message_id, message.seq);
        let edited = MessageEdited { conversation_id, message_id, seq, body: body.clone(), edited_ts };
        let record = group.about(conversation_id, readers, self.origin, Event::MessageEdited(edited));
        let row = VersionRow { ts: since, body: message.body.clone(), replaced_by: record };
        group.put(Row::json(RowKey::version(message_id, version), &row));
        group.rewrite_message(&frame, &message, Message { body, edited_ts: Some(edited_ts), ..message.clone() })?;
        Ok(Ok(edited_ts))
    }
}

/// Erases what a message says and said.
pub struct MessageRecall {
    /// Who recalls it.
    pub by: AccountId,
    /// The connection it came from.
    pub origin: Origin,
    /// Where it is.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
}

impl Write for MessageRecall {
    type Output = TimestampMs;

    fn decide(self, group: &mut Group<'_>) -> Decision<TimestampMs> {
        let Found { message, .. } = match group.visible_message(self.by, self.conversation_id, self.message_id)? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Body::Recalled { ts, .. } = message.body {
            return Ok(Ok(ts));
        }
        let expired = group.overlay.served_horizon(limits::RECALL_WINDOW_HOURS)?;
        let is_late = self.message_id.0 <= expired;
        if let Err(refusal) = authority::may_recall(group.state, self.by, &message, is_late) {
            return Ok(Err(refusal));
        }
        let versions = group.versions(self.message_id)?;
        let readers = group.who_sees(self.conversation_id, self.message_id)?;
        let (conversation_id, message_id, seq) = (self.conversation_id, self.message_id, message.seq);
        let ts = group.now.max(message.ts);
        let (by, body) = (self.by, Body::Recalled { by: self.by, ts });
        for (version, row) in (1..).zip(&versions) {
            let edited = MessageEdited { conversation_id, message_id, seq, body: body.clone(), edited_ts: ts };
            group.rewrite(row.replaced_by, Audience::Conversation(conversation_id), Event::MessageEdited(edited));
            group.remove(RowKey::version(message_id, version));
        }
        for reaction in &message.reactions {
            group.remove(RowKey::reaction(message_id, &reaction.emoji));
        }
        for account in message.mentions.iter().flat_map(authority::mentioned) {
            group.remove(RowKey::mention(conversation_id, account, seq));
        }
        let (mentions, reactions, edited_ts) = (None, Vec::new(), None);
        let erased = Message { body, mentions, reactions, edited_ts, reply_to: None, ..message };
        // Nothing of a later version is kept: it may say what was to be erased.
        group.rewrite(message_id.0, Audience::Conversation(conversation_id), Event::Message(erased));
        let recalled = MessageRecalled { conversation_id, message_id, seq, by, ts };
        group.about(conversation_id, readers, self.origin, Event::MessageRecalled(recalled));
        Ok(Ok(ts))
    }
}

/// Adds a reaction or takes it away.
pub struct MessageReact {
    /// Whose.
    pub account_id: AccountId,
    /// The connection it came from.
    pub origin: Origin,
    /// Where the message is.
    pub conversation_id: ConversationId,
    /// Which.
    pub message_id: MessageId,
    /// With what.
    pub emoji: String,
    /// Whether it is to be there.
    pub add: bool,
}

impl Write for MessageReact {
    type Output = Vec<Reaction>;

    fn decide(self, group: &mut Group<'_>) -> Decision<Vec<Reaction>> {
        let Found { frame, message } =
            match group.visible_message(self.account_id, self.conversation_id, self.message_id)? {
                Ok(found) => found,
                Err(refusal) => return Ok(Err(refusal)),
            };
        if matches!(message.body, Body::Recalled { .. }) {
            return Ok(Err(Refusal::Recalled));
        }
        let Some(account) = group.state.accounts.get(&self.account_id).cloned() else {
            return Ok(Err(Refusal::NoSuchAccount));
        };
        let key = RowKey::reaction(self.message_id, &self.emoji);
        let mut accounts = accounts_of(group.overlay.row(&key)?)?;
        match (accounts.binary_search(&self.account_id), self.add) {
            (Ok(_), true) | (Err(_), false) => return Ok(Ok(message.reactions)),
            (Ok(at), false) => drop(accounts.remove(at)),
            (Err(_), true) if accounts.is_empty() && message.reactions.len() >= limits::REACTIONS_MAX => {
                return Ok(Err(Refusal::ManyReactions));
            }
            (Err(at), true) => accounts.insert(at, self.account_id),
        }
        let readers = group.who_sees(self.conversation_id, self.message_id)?;
        let mut reactions = message.reactions.clone();
        count(&mut reactions, &self.emoji, &accounts);
        if accounts.is_empty() {
            group.remove(key);
        } else {
            let bytes: Vec<u8> = accounts.iter().flat_map(|account| account.0.to_be_bytes()).collect();
            group.put(Row::plain(key, bytes));
        }
        let (conversation_id, message_id, seq) = (self.conversation_id, self.message_id, message.seq);
        group.rewrite_message(&frame, &message, Message { reactions: reactions.clone(), ..message.clone() })?;
        let count = accounts.len() as u64;
        let event = Reacted { conversation_id, message_id, seq, account, emoji: self.emoji, added: self.add, count };
        group.about(conversation_id, readers, self.origin, Event::Reaction(event));
        Ok(Ok(reactions))
    }
}

fn accounts_of(row: Option<Bytes>) -> Result<Vec<AccountId>, StoreError> {
    let row = row.unwrap_or_default();
    Ok(row.chunks(8).map(|number| number_of(number).map(AccountId)).collect::<Result<_, _>>()?)
}

/// Puts an emoji's accounts into the list.
fn count(reactions: &mut Vec<Reaction>, emoji: &str, accounts: &[AccountId]) {
    let shown = accounts.iter().take(limits::REACTION_ACCOUNTS_SHOWN).copied().collect();
    let new = Reaction { emoji: emoji.to_owned(), count: accounts.len() as u64, accounts: shown };
    match reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
        Some(reaction) => *reaction = new,
        None => reactions.push(new),
    }
    reactions.retain(|reaction| reaction.count > 0);
}

/// A message as it is stored.
pub(super) struct Found {
    pub frame: Bytes,
    pub message: Message,
}

impl Group<'_> {
    /// A message of a conversation, for a member who can see it; for all others there is none.
    pub(super) fn visible_message(
        &mut self,
        account_id: AccountId,
        conversation_id: ConversationId,
        message_id: MessageId,
    ) -> Decision<Found> {
        if let Err(refusal) = authority::as_member(self.state, account_id, conversation_id) {
            return Ok(Err(refusal));
        }
        if !self.sees(account_id, conversation_id, message_id.0)? {
            return Ok(Err(Refusal::NoSuchMessage));
        }
        let found = self.overlay.record(message_id.0)?;
        let of_it = |(audience, _): &(Audience, Bytes)| *audience == Audience::Conversation(conversation_id);
        let Some((_, frame)) = found.filter(of_it) else { return Ok(Err(Refusal::NoSuchMessage)) };
        let Some(message) = known_message(&frame)? else { return Ok(Err(Refusal::NoSuchMessage)) };
        Ok(Ok(Found { frame, message }))
    }

    fn sees(&mut self, account: AccountId, conversation: ConversationId, gseq: u64) -> Result<bool, StoreError> {
        let Some(row) = self.overlay.row(&RowKey::membership(account, conversation))? else { return Ok(false) };
        let row: MembershipRow = decode_json("a membership", &row)?;
        Ok(row.sees(gseq))
    }

    /// The members who can see a message.
    fn who_sees(&mut self, conversation: ConversationId, message: MessageId) -> Result<Arc<[AccountId]>, StoreError> {
        let Some(found) = self.state.conversations.get(&conversation) else { return Ok(Arc::default()) };
        let members = Arc::clone(&found.members);
        if found.sight.is_open_to_all(message.0) {
            return Ok(members);
        }
        let sight: Vec<Sees> = members.iter().map(|member| found.sight.of(*member, message.0)).collect();
        let mut readers = Vec::with_capacity(members.len());
        for (member, sees) in members.iter().zip(sight) {
            let sees = match sees {
                Sees::Yes => true,
                Sees::No => false,
                Sees::IfItDidBefore => self.sees(*member, conversation, message.0)?,
            };
            if sees {
                readers.push(*member);
            }
        }
        Ok(if readers.len() == members.len() { members } else { readers.into() })
    }

    /// What a message said before, oldest first.
    fn versions(&mut self, message: MessageId) -> Result<Vec<VersionRow>, StoreError> {
        let mut versions = Vec::new();
        for version in 1..=limits::EDITS_MAX {
            let Some(row) = self.overlay.row(&RowKey::version(message, version))? else { break };
            versions.push(decode_json("a version", &row)?);
        }
        Ok(versions)
    }

    /// Adds a record about a message of the conversation.
    fn about(&mut self, id: ConversationId, readers: Arc<[AccountId]>, origin: Origin, event: Event) -> u64 {
        let head = self.state.conversations.get(&id).map_or((0, 0), |found| (found.last_seq, found.last_counted));
        let place = Place { seq: head.0, counted: head.1, is_message: false };
        let (audience, recipients) = (Audience::Conversation(id), Recipients::Accounts(readers));
        let record = NewRecord { audience, place, ts: self.now, sent: None, recipients, origin: Some(origin) };
        self.record(record, |_| event)
    }

    /// Stores another content of a message, with what a later version has put into it.
    fn rewrite_message(&mut self, frame: &[u8], before: &Message, after: Message) -> Result<(), StoreError> {
        let audience = Audience::Conversation(before.conversation_id);
        let gseq = before.message_id.0;
        let frame = with_unknown(gseq, frame, before, after)?;
        self.rewrite_frame(gseq, audience, frame);
        Ok(())
    }
}
