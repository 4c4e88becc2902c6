//! The applier thread: brings what is in the log into the database, where readers see it.
//!
//! Its transactions are not synced: the log has everything. A checkpoint is one that is, and gives the
//! log its space back. It runs when that space runs out, five minutes after a change at the latest, each hour, and at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Database, Durability};

use super::StoreError;
use super::apply::{Batch, apply};
use super::expiry::Expiry;
use super::handoff::Handoff;
use super::retention::{self, Erased};
use super::tables::Tables;

/// Runs until [`Handoff::stop`]; an error ends the server.
pub(super) fn run(database: &Arc<Database>, handoff: &Handoff, floor: &AtomicU64) -> Result<(), StoreError> {
    let mut expiry = Expiry::new();
    loop {
        let work = handoff.take();
        let expiry = work.checkpoint.then_some(&mut expiry);
        match commit(database, &work.batch, expiry) {
            Ok(Some(erased)) => {
                floor.store(erased.floor, Ordering::Release);
                if erased.has_more {
                    handoff.more_to_erase();
                }
            }
            Ok(None) => {}
            Err(error) => {
                handoff.fail();
                return Err(error);
            }
        }
        handoff.applied(work.batch.last_number, work.checkpoint);
        if work.last {
            return Ok(());
        }
    }
}

/// Applies a batch in one transaction: a durable one, which removes what has expired and says how far that came, or one
/// without a sync.
pub(super) fn commit(
    database: &Database,
    batch: &Batch,
    checkpoint: Option<&mut Expiry>,
) -> Result<Option<Erased>, StoreError> {
    let mut erased = None;
    let mut txn = database.begin_write().map_err(StoreError::database)?;
    if checkpoint.is_some() {
        // Opening after a crash then takes milliseconds, whatever the size, instead of a walk through the file.
        txn.set_quick_repair(true);
    } else {
        let set = txn.set_durability(Durability::None);
        set.map_err(|error| StoreError::Content(error.to_string()))?;
    }
    {
        let mut tables = Tables::open(&txn).map_err(StoreError::database)?;
        apply(&mut tables, batch).map_err(StoreError::database)?;
        if let Some(expiry) = checkpoint {
            expiry.run(&mut tables).map_err(StoreError::database)?;
            erased = Some(retention::run(&mut tables).map_err(StoreError::database)?);
        }
    }
    txn.commit().map_err(StoreError::database)?;
    Ok(erased)
}

#[cfg(test)]
mod tests {
    use redb::Builder;

    use super::super::database::initialise;
    use super::super::record::Entry;
    use super::super::rows::{Row, RowKey};
    use super::*;

    /// Checkpoints: a day of a busy company.
    const CHECKPOINTS: u64 = 288;

    /// Rows that each of them changes, with a value of this length.
    const ROWS: u64 = 100;
    const VALUE_LEN: usize = 1024;

    #[test]
    fn the_file_does_not_grow_with_checkpoints_over_what_stays_as_much_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.redb");
        let database = Builder::new().create(&path).expect("a database");
        initialise(&database).expect("initialised");
        let mut expiry = Expiry::new();
        let mut lengths = Vec::new();
        for number in 1..=CHECKPOINTS {
            let batch = |last_number| {
                let value = vec![u8::try_from(number % 251).expect("small"); VALUE_LEN];
                let row = |row: u64| {
                    Entry::Row(Row::plain(RowKey { table: 200, key: row.to_be_bytes().to_vec().into() }, value.clone()))
                };
                Batch { last_number, entries: (0..ROWS).map(row).collect() }
            };
            commit(&database, &batch(2 * number - 1), None).expect("applied");
            commit(&database, &batch(2 * number), Some(&mut expiry)).expect("a checkpoint");
            lengths.push(std::fs::metadata(&path).expect("a file").len());
        }
        let [early, last] = [lengths[9], lengths[lengths.len() - 1]];
        println!("{early} bytes after 10 checkpoints, {last} after {CHECKPOINTS}");
        assert!(last <= 2 * early, "{lengths:?}");
    }
}
