//! A conversation's messages, by their numbers.

use posthouse_protocol::{AccountId, ConversationId, HistoryResult, Seq};
use redb::{ReadOnlyTable, ReadTransaction};
use serde_json::value::RawValue;

use super::{Page, Snapshot, corrupted, stored_frame};
use crate::store::StoreError;
use crate::store::membership::MembershipRow;
use crate::store::record::{Audience, raw_data};
use crate::store::tables::{AUDIENCE, LOG};

type Index = ReadOnlyTable<(u8, u64, u64), (u64, u64, bool)>;
type Entries = redb::Range<'static, (u8, u64, u64), (u64, u64, bool)>;
type Log = ReadOnlyTable<u64, &'static [u8]>;
type History = HistoryResult<Box<RawValue>>;

/// Which messages of a conversation.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// The newest ones.
    Newest,
    /// The last ones below this number.
    Before(Seq),
    /// The first ones above this number.
    After(Seq),
}

impl Snapshot {
    /// Up to `limit` messages, oldest first, as many of them as fit into one frame; `None` where the account
    /// is no member.
    pub fn history(
        &self,
        reader: AccountId,
        conversation_id: ConversationId,
        which: Which,
        limit: u32,
    ) -> Result<Option<History>, StoreError> {
        let Some(membership) = self.membership(reader, conversation_id)?.filter(MembershipRow::is_current) else {
            return Ok(None);
        };
        self.read(|txn| {
            let records = Records::open(txn, conversation_id)?;
            let page = match which {
                Which::Newest => records.backwards(&membership, u64::MAX, limit),
                // Everything before the first record from which on `seq` is as large.
                Which::Before(seq) => match records.first_with(seq.0)?.checked_sub(1) {
                    Some(last) => records.backwards(&membership, last, limit),
                    None => Ok(HistoryResult { messages: Vec::new(), has_more: false }),
                },
                Which::After(seq) => {
                    let first = records.first_with(seq.0.saturating_add(1))?;
                    records.forwards(&membership, first, limit)
                }
            };
            page.map(Some)
        })
    }
}

/// The records of one conversation.
pub(super) struct Records {
    audience: (u8, u64),
    index: Index,
    log: Log,
}

impl Records {
    pub fn open(txn: &ReadTransaction, conversation_id: ConversationId) -> Result<Self, redb::Error> {
        let audience = Audience::Conversation(conversation_id).parts();
        Ok(Self { audience, index: txn.open_table(AUDIENCE)?, log: txn.open_table(LOG)? })
    }

    /// How many messages that count as unread there are up to a record; `None` where none is kept up to there.
    pub fn counted_up_to(&self, gseq: u64) -> Result<Option<u64>, redb::Error> {
        Ok(self.range(0, gseq)?.next_back().transpose()?.map(|(_, place)| place.value().1))
    }

    /// The newest messages up to record `last` that the member may see.
    fn backwards(&self, membership: &MembershipRow, last: u64, limit: u32) -> Result<History, redb::Error> {
        let mut page = Page::new(limit);
        for (from, to) in membership.within(0, last).rev() {
            for entry in self.range(from, to)?.rev() {
                let (key, place) = entry?;
                if place.value().2 && !self.take(key.value().2, &mut page)? {
                    page.items.reverse();
                    return Ok(HistoryResult { messages: page.items, has_more: true });
                }
            }
        }
        page.items.reverse();
        Ok(HistoryResult { messages: page.items, has_more: false })
    }

    /// The oldest messages from record `first` on that the member may see.
    fn forwards(&self, membership: &MembershipRow, first: u64, limit: u32) -> Result<History, redb::Error> {
        let mut page = Page::new(limit);
        for (from, to) in membership.within(first, u64::MAX) {
            for entry in self.range(from, to)? {
                let (key, place) = entry?;
                if place.value().2 && !self.take(key.value().2, &mut page)? {
                    return Ok(HistoryResult { messages: page.items, has_more: true });
                }
            }
        }
        Ok(HistoryResult { messages: page.items, has_more: false })
    }

    /// Takes a message into the page, if there is room.
    fn take(&self, gseq: u64, page: &mut Page<Box<RawValue>>) -> Result<bool, redb::Error> {
        let message = stored_frame(&self.log, gseq, |frame| raw_data(frame).map_err(corrupted))?;
        let fits = page.has_room_for(message.get().len());
        if fits {
            page.items.push(message);
        }
        Ok(fits)
    }

    /// The first record where the conversation has come to `seq`; behind the last one where it has not.
    /// Numbers never fall from record to record: a search by halves.
    pub fn first_with(&self, seq: u64) -> Result<u64, redb::Error> {
        let (mut low, mut high) = match self.range(0, u64::MAX)?.next_back().transpose()? {
            Some((key, place)) if place.value().0 >= seq => (0, key.value().2),
            _ => return Ok(u64::MAX),
        };
        // The record sought is in `low..=high`, and `high` is one that has come so far.
        while low < high {
            let middle = low + (high - low) / 2;
            let (key, place) = self.range(middle, high)?.next().transpose()?.expect("`high` itself is there");
            match (place.value().0 >= seq, key.value().2) {
                // Between `middle` and the record found there is none.
                (true, found) if found == high => match self.range(low, middle)?.next_back().transpose()? {
                    Some((key, place)) if place.value().0 >= seq => high = key.value().2,
                    _ => return Ok(high),
                },
                (true, found) => high = found,
                (false, found) => low = found + 1,
            }
        }
        Ok(high)
    }

    fn range(&self, from: u64, to: u64) -> Result<Entries, redb::StorageError> {
        let (kind, id) = self.audience;
        self.index.range((kind, id, from)..=(kind, id, to))
    }
}
