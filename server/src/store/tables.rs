//! The tables of the database and how one transaction opens them all.
//!
//! Messages are stored once, in `log`, under an ever-growing key: appending to the end of the tree
//! writes the fewest pages. The other tables point into it.

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

/// `schema`, `min_reader` and `epoch`.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// account → `AccountRecord`.
pub(super) const ACCOUNTS: TableDefinition<u64, &[u8]> = TableDefinition::new("accounts");
/// user name → account.
pub(super) const USERNAMES: TableDefinition<&str, u64> = TableDefinition::new("usernames");
/// SHA-256 of a token → `DeviceRecord`.
pub(super) const DEVICES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("devices");
/// (lower account, higher account) → their direct conversation.
pub(super) const DIRECT: TableDefinition<(u64, u64), u64> = TableDefinition::new("direct");
/// (conversation, member) → the gseq at which the member joined.
pub(super) const MEMBERS: TableDefinition<(u64, u64), u64> = TableDefinition::new("members");
/// (account, conversation): `MEMBERS` the other way round.
pub(super) const MEMBERSHIPS: TableDefinition<(u64, u64), ()> = TableDefinition::new("memberships");
/// conversation → (seq, timestamp in ms, gseq) of its newest message; zeros while there is none.
pub(super) const HEADS: TableDefinition<u64, (u64, u64, u64)> = TableDefinition::new("heads");
/// gseq → the message as JSON.
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// (conversation, seq) → gseq.
pub(super) const CONVERSATION_LOG: TableDefinition<(u64, u64), u64> = TableDefinition::new("conversation_log");
/// (sender, `client_msg_id`) → gseq of the message that was stored for it.
pub(super) const SENT: TableDefinition<(u64, &str), u64> = TableDefinition::new("sent");

/// Every table, open for writing in one transaction.
pub(super) struct Tables<'txn> {
    pub accounts: Table<'txn, u64, &'static [u8]>,
    pub usernames: Table<'txn, &'static str, u64>,
    pub devices: Table<'txn, &'static [u8; 32], &'static [u8]>,
    pub direct: Table<'txn, (u64, u64), u64>,
    pub members: Table<'txn, (u64, u64), u64>,
    pub memberships: Table<'txn, (u64, u64), ()>,
    pub heads: Table<'txn, u64, (u64, u64, u64)>,
    pub log: Table<'txn, u64, &'static [u8]>,
    pub conversation_log: Table<'txn, (u64, u64), u64>,
    pub sent: Table<'txn, (u64, &'static str), u64>,
}

impl<'txn> Tables<'txn> {
    /// Opens all tables, making those that are missing.
    pub fn open(txn: &'txn WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            accounts: txn.open_table(ACCOUNTS)?,
            usernames: txn.open_table(USERNAMES)?,
            devices: txn.open_table(DEVICES)?,
            direct: txn.open_table(DIRECT)?,
            members: txn.open_table(MEMBERS)?,
            memberships: txn.open_table(MEMBERSHIPS)?,
            heads: txn.open_table(HEADS)?,
            log: txn.open_table(LOG)?,
            conversation_log: txn.open_table(CONVERSATION_LOG)?,
            sent: txn.open_table(SENT)?,
        })
    }
}

/// The number after the highest key; the first is 1.
pub(super) fn next_key<V: redb::Value + 'static>(table: &Table<'_, u64, V>) -> Result<u64, redb::StorageError> {
    Ok(table.last()?.map_or(0, |(key, _)| key.value()) + 1)
}
