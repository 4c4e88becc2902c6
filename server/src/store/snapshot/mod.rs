//! Reading: a snapshot sees one committed state and never waits for the writer nor the applier.
//!
//! One file for each family of what is read. Pages hold as much as fits into one frame ([`Page`]).

mod accounts;
mod conversations;
mod devices;
mod edits;
mod groups;
mod messages;
mod receipts;
mod site;
mod sync;

use posthouse_protocol::{AccountId, ConversationId, limits};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::StoreError;
use super::membership::MembershipRow;
use super::record::{Malformed, decode_json};
use super::rows::RowKey;
use super::tables::{LOG, META, row, split_stored};

pub use messages::Which;

/// Most bytes of JSON in a page: it has to fit into one frame with its envelope, for which 1 KiB is more
/// than enough. The longest message alone takes some 99,000.
const PAGE_LEN_MAX: usize = limits::FRAME_LEN_MAX - 1024;

/// One committed state of the database.
pub struct Snapshot {
    txn: ReadTransaction,
}

impl Snapshot {
    pub(super) fn new(database: &Database) -> Result<Self, StoreError> {
        Ok(Self { txn: database.begin_read().map_err(StoreError::database)? })
    }

    /// The last record that is no longer kept: a client that stood before it has a hole that can't be filled.
    ///
    /// # Errors
    /// The database's, as for every method of a snapshot.
    pub fn floor(&self) -> Result<u64, StoreError> {
        self.read(|txn| Ok(txn.open_table(META)?.get("floor")?.map_or(0, |floor| floor.value())))
    }

    /// The newest record, kept or not.
    pub fn last_gseq(&self) -> Result<u64, StoreError> {
        let kept = self.read(|txn| Ok(txn.open_table(LOG)?.last()?.map_or(0, |(gseq, _)| gseq.value())))?;
        Ok(kept.max(self.floor()?))
    }

    /// How many records are stored.
    /// Whether the account is in a conversation now.
    pub fn is_member(&self, account_id: AccountId, conversation_id: ConversationId) -> Result<bool, StoreError> {
        Ok(self.membership(account_id, conversation_id)?.is_some_and(|membership| membership.is_current()))
    }

    pub fn record_count(&self) -> Result<u64, StoreError> {
        self.read(|txn| Ok(txn.open_table(LOG)?.len()?))
    }

    /// What the account is to a conversation; `None` if it never was in it.
    fn membership(
        &self,
        account_id: AccountId,
        conversation_id: ConversationId,
    ) -> Result<Option<MembershipRow>, StoreError> {
        let found = row(&self.txn, &RowKey::membership(account_id, conversation_id))?;
        Ok(found.map(|found| decode_json("a membership", &found)).transpose()?)
    }

    pub(in crate::store) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        read(&self.txn).map_err(StoreError::database)
    }
}

/// Collects what goes into one answer: up to a number of items, and as many as fit into one frame, but at
/// least one.
struct Page<T> {
    items: Vec<T>,
    len: usize,
    limit: usize,
}

impl<T> Page<T> {
    fn new(limit: u32) -> Self {
        Self { items: Vec::new(), len: 0, limit: usize::try_from(limit).unwrap_or(usize::MAX) }
    }

    /// Whether an item of this many bytes of JSON still fits. If so, it is to be pushed.
    fn has_room_for(&mut self, len: usize) -> bool {
        let len = self.len + len + ",".len();
        if self.items.len() >= self.limit || (len > PAGE_LEN_MAX && !self.items.is_empty()) {
            return false;
        }
        self.len = len;
        true
    }
}

/// The event of a record that an index points to.
fn stored_frame<T>(
    log: &impl ReadableTable<u64, &'static [u8]>,
    gseq: u64,
    read: impl FnOnce(&[u8]) -> Result<T, redb::Error>,
) -> Result<T, redb::Error> {
    let stored = log.get(gseq)?;
    let missing = || redb::Error::Corrupted(format!("an index points to {gseq}, not in `log`"));
    let stored = stored.ok_or_else(missing)?;
    let (_, frame) = split_stored(stored.value()).ok_or_else(missing)?;
    read(frame)
}

fn corrupted(malformed: Malformed) -> redb::Error {
    redb::Error::Corrupted(malformed.0)
}
