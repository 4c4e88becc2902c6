//! The tables of the database and how one transaction opens them all.
//!
//! Messages are stored once, in `log`, under an ever-growing key: appending to the end of the tree
//! writes the fewest pages. The other tables point into it.

use redb::{ReadTransaction, Table, TableDefinition, WriteTransaction};

use super::record::RowTable;

/// `schema`, `min_reader`, `epoch`, and `applied`: the last frame of the log that is in here.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// (table, key) → value; see [`RowTable`].
pub(super) const ROWS: TableDefinition<(u8, &[u8]), &[u8]> = TableDefinition::new("rows");
/// conversation → (seq, timestamp in ms, gseq) of its newest message.
pub(super) const HEADS: TableDefinition<u64, (u64, u64, u64)> = TableDefinition::new("heads");
/// gseq → the event as JSON.
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// (conversation, seq) → gseq.
pub(super) const CONVERSATION_LOG: TableDefinition<(u64, u64), u64> = TableDefinition::new("conversation_log");
/// (sender, `client_msg_id`) → gseq of the message that was stored for it.
pub(super) const SENT: TableDefinition<(u64, &str), u64> = TableDefinition::new("sent");

/// Every table that entries go to, open for writing in one transaction.
pub(super) struct Tables<'txn> {
    pub rows: Table<'txn, (u8, &'static [u8]), &'static [u8]>,
    pub heads: Table<'txn, u64, (u64, u64, u64)>,
    pub log: Table<'txn, u64, &'static [u8]>,
    pub conversation_log: Table<'txn, (u64, u64), u64>,
    pub sent: Table<'txn, (u64, &'static str), u64>,
    pub meta: Table<'txn, &'static str, u64>,
}

impl<'txn> Tables<'txn> {
    /// Opens all tables, making those that are missing.
    pub fn open(txn: &'txn WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            rows: txn.open_table(ROWS)?,
            heads: txn.open_table(HEADS)?,
            log: txn.open_table(LOG)?,
            conversation_log: txn.open_table(CONVERSATION_LOG)?,
            sent: txn.open_table(SENT)?,
            meta: txn.open_table(META)?,
        })
    }
}

/// The value of one row.
pub(super) fn row(txn: &ReadTransaction, table: RowTable, key: &[u8]) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(txn.open_table(ROWS)?.get((table as u8, key))?.map(|value| value.value().to_vec()))
}

/// Calls `each` with key and value of every row of a table whose key begins with `prefix`.
pub(super) fn each_row<E: From<redb::Error>>(
    txn: &ReadTransaction,
    table: RowTable,
    prefix: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let rows = txn.open_table(ROWS).map_err(|error| E::from(error.into()))?;
    let found = rows.range((table as u8, prefix)..).map_err(|error| E::from(error.into()))?;
    for entry in found {
        let (key, value) = entry.map_err(|error| E::from(error.into()))?;
        let (kind, key) = key.value();
        if kind != table as u8 || !key.starts_with(prefix) {
            break;
        }
        each(key, value.value())?;
    }
    Ok(())
}
