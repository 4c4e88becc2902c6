//! Catching up: every record behind a cursor that an account may see, in their order.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use bytes::Bytes;
use posthouse_protocol::{AccountId, ConversationId, Message};
use redb::{Range, ReadTransaction};
use serde_json::value::RawValue;

use super::{Page, Snapshot, corrupted, stored_frame};
use crate::store::StoreError;
use crate::store::membership::MembershipRow;
use crate::store::record::{Audience, Malformed, about, decode_json, known_message, raw_event, with_unknown};
use crate::store::rows::{RowKey, RowTable, VersionRow, number_key, pair_of};
use crate::store::tables::{AUDIENCE, LOG, each_row, row, split_stored};

/// So near to the end it is cheaper to look at every record than to look for those of each conversation: a
/// record costs about a microsecond, a conversation two.
const SCAN_LEN_MAX: u64 = 1000;

/// A part of what an account may see.
pub struct SyncPage {
    /// In their order, as they are stored.
    pub events: Vec<Box<RawValue>>,
    /// Everything up to this record was looked at.
    pub next: u64,
    /// Whether there may be more behind it.
    pub has_more: bool,
}

impl Snapshot {
    /// Up to `limit` events behind record `after` and up to `until`, as many of them as fit into one frame.
    pub fn sync(&self, reader: AccountId, range: (u64, u64), limit: u32) -> Result<SyncPage, StoreError> {
        self.sync_from(reader, range, limit, SCAN_LEN_MAX)
    }

    /// The same, looking at every record where there are no more than `scan_max`.
    pub(in crate::store) fn sync_from(
        &self,
        reader: AccountId,
        (after, until): (u64, u64),
        limit: u32,
        scan_max: u64,
    ) -> Result<SyncPage, StoreError> {
        let end = self.last_gseq()?.min(until);
        if end <= after {
            return Ok(SyncPage { events: Vec::new(), next: after, has_more: false });
        }
        if end - after <= scan_max {
            self.scan(reader, after, end, limit)
        } else {
            self.merge(reader, after, end, limit)
        }
    }

    /// Looks at every record.
    fn scan(&self, reader: AccountId, after: u64, end: u64, limit: u32) -> Result<SyncPage, StoreError> {
        let mut memberships = HashMap::new();
        let log = self.read(|txn| Ok(txn.open_table(LOG)?))?;
        let mut page = Page::new(limit);
        let mut last = after;
        for entry in log.range(after + 1..=end).map_err(StoreError::database)? {
            let (gseq, stored) = entry.map_err(StoreError::database)?;
            let gseq = gseq.value();
            let split = split_stored(stored.value());
            let (audience, frame) = split.ok_or_else(|| StoreError::Content(format!("record {gseq} is cut short")))?;
            let event = match audience {
                Audience::Site => Some(raw_event(frame)?),
                Audience::Account(account) => (account == reader).then(|| raw_event(frame)).transpose()?,
                Audience::Conversation(id) => match self.known_membership(&mut memberships, reader, id)? {
                    Some(membership) => shown(&self.txn, membership, gseq, frame)?,
                    None => None,
                },
            };
            if let Some(event) = event {
                if !page.has_room_for(event.get().len()) {
                    return Ok(SyncPage { events: page.items, next: last, has_more: true });
                }
                page.items.push(event);
            }
            last = gseq;
        }
        Ok(SyncPage { events: page.items, next: end, has_more: false })
    }

    /// What the reader is to a conversation, read once a page.
    fn known_membership<'known>(
        &self,
        known: &'known mut HashMap<ConversationId, Option<MembershipRow>>,
        reader: AccountId,
        conversation: ConversationId,
    ) -> Result<Option<&'known MembershipRow>, StoreError> {
        Ok(match known.entry(conversation) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.membership(reader, conversation)?),
        }
        .as_ref())
    }

    /// Merges the reader's audiences, each of which is in order.
    fn merge(&self, reader: AccountId, after: u64, end: u64, limit: u32) -> Result<SyncPage, StoreError> {
        let mut parts = vec![(Audience::Site, after + 1, end), (Audience::Account(reader), after + 1, end)];
        let mut memberships = HashMap::new();
        each_row(&self.txn, RowTable::Membership, &number_key(reader.0), |key, value| {
            let audience = Audience::Conversation(ConversationId(pair_of(key)?.1));
            let membership: MembershipRow = decode_json("a membership", value)?;
            parts.extend(membership.within(after + 1, end).map(|(from, to)| (audience, from, to)));
            memberships.insert(audience, membership);
            Ok::<_, StoreError>(())
        })?;
        self.read(|txn| {
            let (index, log) = (txn.open_table(AUDIENCE)?, txn.open_table(LOG)?);
            let mut streams = Vec::with_capacity(parts.len());
            let mut next: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
            for (audience, from, to) in parts {
                let (kind, id) = audience.parts();
                let mut stream = index.range((kind, id, from)..=(kind, id, to))?;
                if let Some(gseq) = following(&mut stream)? {
                    next.push(Reverse((gseq, streams.len())));
                    streams.push((stream, audience));
                }
            }
            let mut page = Page::new(limit);
            let mut last = after;
            while let Some(Reverse((gseq, stream))) = next.pop() {
                let (entries, audience) = &mut streams[stream];
                let event = stored_frame(&log, gseq, |frame| match memberships.get(audience) {
                    Some(membership) => shown(txn, membership, gseq, frame),
                    None => raw_event(frame).map(Some).map_err(corrupted),
                })?;
                if let Some(event) = event {
                    if !page.has_room_for(event.get().len()) {
                        return Ok(SyncPage { events: page.items, next: last, has_more: true });
                    }
                    page.items.push(event);
                }
                last = gseq;
                if let Some(gseq) = following(entries)? {
                    next.push(Reverse((gseq, stream)));
                }
            }
            Ok(SyncPage { events: page.items, next: end, has_more: false })
        })
    }
}

/// A record of a conversation as the reader's device gets it, if it may. What happened to a message is for those who can
/// see the message.
fn shown(
    txn: &ReadTransaction,
    membership: &MembershipRow,
    gseq: u64,
    frame: &[u8],
) -> Result<Option<Box<RawValue>>, redb::Error> {
    if !membership.sees(gseq) || about(frame).is_some_and(|message| !membership.sees(message)) {
        return Ok(None);
    }
    let as_sent = if membership.is_current() { None } else { as_sent(txn, gseq, frame)? };
    raw_event(as_sent.as_deref().unwrap_or(frame)).map(Some).map_err(corrupted)
}

/// A message as it was sent, where it reads otherwise now. Who has left gets it so: what happened to it until then
/// follows in records of its own, and what happened later is nothing for them. A recall leaves nothing to give.
fn as_sent(txn: &ReadTransaction, gseq: u64, frame: &[u8]) -> Result<Option<Bytes>, redb::Error> {
    let Some(now) = known_message(frame).map_err(corrupted)? else { return Ok(None) };
    if now.edited_ts.is_none() && now.reactions.is_empty() {
        return Ok(None);
    }
    let mut first = Message { edited_ts: None, reactions: Vec::new(), ..now.clone() };
    if now.edited_ts.is_some() {
        let missing = || Malformed(format!("message {gseq} was edited and has no first version"));
        let stored = row(txn, &RowKey::version(now.message_id, 1))?.ok_or_else(missing).map_err(corrupted)?;
        first.body = decode_json::<VersionRow>("a version", &stored).map_err(corrupted)?.body;
    }
    with_unknown(gseq, frame, &now, first).map(Some).map_err(corrupted)
}

fn following(stream: &mut Range<'_, (u8, u64, u64), (u64, u64, bool)>) -> Result<Option<u64>, redb::StorageError> {
    Ok(stream.next().transpose()?.map(|(key, _)| key.value().2))
}
