//! Entries into tables. The same code serves the running server and the replay at start.

use std::collections::BTreeMap;

use super::record::{Entry, Record};
use super::tables::Tables;

/// Frames of the log on their way into the database.
pub(super) struct Batch {
    pub last_number: u64,
    pub entries: Vec<Entry>,
}

/// Puts a batch into the tables, and says in `applied` that it is there.
pub(super) fn apply(tables: &mut Tables<'_>, batch: &Batch) -> Result<(), redb::Error> {
    let mut records: Vec<&Record> = Vec::with_capacity(batch.entries.len());
    for entry in &batch.entries {
        match entry {
            Entry::Record(record) => records.push(record),
            Entry::Row(row) => {
                tables.rows.insert((row.table as u8, &*row.key), &*row.value)?;
            }
        }
    }
    for record in &records {
        tables.log.insert(record.gseq, &*record.frame)?;
    }
    insert_indexes(tables, &mut records)?;
    tables.meta.insert("applied", batch.last_number)?;
    Ok(())
}

/// In the order of their keys: neighbours share pages, so that each page is changed once a batch.
fn insert_indexes(tables: &mut Tables<'_>, records: &mut [&Record]) -> Result<(), redb::Error> {
    let mut heads = BTreeMap::new();
    records.sort_unstable_by_key(|record| (record.conversation_id, record.seq));
    for record in records.iter() {
        let conversation = record.conversation_id.0;
        tables.conversation_log.insert((conversation, record.seq), record.gseq)?;
        heads.insert(conversation, (record.seq, record.ts.0, record.gseq));
    }
    for (conversation, head) in heads {
        tables.heads.insert(conversation, head)?;
    }
    records.sort_unstable_by(|a, b| (a.sender, a.client_msg_id.as_str()).cmp(&(b.sender, b.client_msg_id.as_str())));
    for record in records.iter() {
        tables.sent.insert((record.sender.0, record.client_msg_id.as_str()), record.gseq)?;
    }
    Ok(())
}
