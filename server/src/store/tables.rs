//! The tables of the database and how one transaction opens them all.
//!
//! Records are stored once, in `log`, under an ever-growing key: appending to the end of the tree writes
//! the fewest pages. The other tables point into it.

use redb::{ReadTransaction, Table, TableDefinition, WriteTransaction};

use super::record::Audience;
use super::rows::{RowKey, RowTable};

/// `schema`, `min_reader`, `epoch`; `applied`: the last frame of the log that is in here; `floor`: the last
/// record that is no longer kept; `served_ms`: for how long servers ran on this database, in all; `seal`, `sealed`: see
/// [`super::seal`].
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// (table, key) → value; see [`RowTable`].
pub(super) const ROWS: TableDefinition<(u8, &[u8]), &[u8]> = TableDefinition::new("rows");
/// conversation → (seq, counted, timestamp in ms, gseq) of its newest message.
pub(super) const HEADS: TableDefinition<u64, (u64, u64, u64, u64)> = TableDefinition::new("heads");
/// gseq → the audience (kind, then id big-endian) and behind it the event as JSON.
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// (audience's kind, its id, gseq) → (seq, counted, whether it is a message); see [`super::record::Place`].
pub(super) const AUDIENCE: TableDefinition<(u8, u64, u64), (u64, u64, bool)> = TableDefinition::new("audience");
/// (sender, `client_msg_id`) → gseq of the message that was stored for it, and its fingerprint.
pub(super) const SENT: TableDefinition<(u64, &str), (u64, u32)> = TableDefinition::new("sent");
/// Hours of serving → the last record at that time; see [`super::expiry`].
pub(super) const HOURS: TableDefinition<u64, u64> = TableDefinition::new("hours");

/// Length of the audience in front of a stored event.
const AUDIENCE_LEN: usize = 9;

/// Every table that entries go to, open for writing in one transaction.
pub(super) struct Tables<'txn> {
    pub rows: Table<'txn, (u8, &'static [u8]), &'static [u8]>,
    pub heads: Table<'txn, u64, (u64, u64, u64, u64)>,
    pub log: Table<'txn, u64, &'static [u8]>,
    pub audience: Table<'txn, (u8, u64, u64), (u64, u64, bool)>,
    pub sent: Table<'txn, (u64, &'static str), (u64, u32)>,
    pub hours: Table<'txn, u64, u64>,
    pub meta: Table<'txn, &'static str, u64>,
}

impl<'txn> Tables<'txn> {
    /// Opens all tables, making those that are missing.
    pub fn open(txn: &'txn WriteTransaction) -> Result<Self, redb::TableError> {
        Ok(Self {
            rows: txn.open_table(ROWS)?,
            heads: txn.open_table(HEADS)?,
            log: txn.open_table(LOG)?,
            audience: txn.open_table(AUDIENCE)?,
            sent: txn.open_table(SENT)?,
            hours: txn.open_table(HOURS)?,
            meta: txn.open_table(META)?,
        })
    }

    /// Puts an event into `log`.
    pub fn store(&mut self, gseq: u64, audience: Audience, frame: &[u8]) -> Result<(), redb::Error> {
        let (kind, id) = audience.parts();
        let mut value = self.log.insert_reserve(gseq, AUDIENCE_LEN + frame.len())?;
        let value = value.as_mut();
        value[0] = kind;
        value[1..AUDIENCE_LEN].copy_from_slice(&id.to_be_bytes());
        value[AUDIENCE_LEN..].copy_from_slice(frame);
        Ok(())
    }
}

/// A value of `log`: who may see it, and the event.
pub(super) fn split_stored(value: &[u8]) -> Option<(Audience, &[u8])> {
    let (audience, frame) = value.split_at_checked(AUDIENCE_LEN)?;
    let (kind, id) = audience.split_first()?;
    Some((Audience::from_parts(*kind, u64::from_be_bytes(id.try_into().ok()?))?, frame))
}

/// The value of one row.
pub(super) fn row(txn: &ReadTransaction, key: &RowKey) -> Result<Option<Vec<u8>>, redb::Error> {
    Ok(txn.open_table(ROWS)?.get((key.table, &*key.key))?.map(|value| value.value().to_vec()))
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
