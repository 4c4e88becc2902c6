//! Entries into tables. The same code serves the running server and the replay at start.

use std::collections::BTreeMap;

use redb::ReadableTable;

use super::record::{Audience, Entry, Malformed, Record, SentName};
use super::retention;
use super::rows::{MarkRow, RowKey, RowTable};
use super::tables::Tables;

/// Frames of the log on their way into the database.
pub(super) struct Batch {
    pub last_number: u64,
    pub entries: Vec<Entry>,
}

/// Puts a batch into the tables, and says in `applied` that it is there.
pub(super) fn apply(tables: &mut Tables<'_>, batch: &Batch) -> Result<(), redb::Error> {
    let floor = retention::floor(tables)?;
    let mut records: Vec<&Record> = Vec::with_capacity(batch.entries.len());
    for entry in &batch.entries {
        match entry {
            Entry::Record(record) => {
                tables.store(record.gseq, record.audience, &record.frame)?;
                records.push(record);
            }
            // What was erased meanwhile stays erased.
            Entry::Rewrite(rewrite) if rewrite.gseq <= floor => {}
            Entry::Row(row) if row.key.message().is_some_and(|message| message <= floor) => {}
            // In the order of the entries: it comes behind its record, and the last one counts.
            Entry::Rewrite(rewrite) => tables.store(rewrite.gseq, rewrite.audience, &rewrite.frame)?,
            Entry::Row(row) if row.key.table == RowTable::Mark as u8 => {
                advance(tables, &row.key, MarkRow::from_bytes(&row.value).map_err(corrupted)?)?;
            }
            Entry::Row(row) => {
                tables.rows.insert((row.key.table, &*row.key.key), &*row.value)?;
            }
            Entry::RowRemoved(key) => {
                tables.rows.remove((key.table, &*key.key))?;
            }
        }
    }
    insert_indexes(tables, &mut records)?;
    tables.meta.insert("applied", batch.last_number)?;
    Ok(())
}

/// In the order of their keys: neighbours share pages, so that each page is changed once a batch.
fn insert_indexes(tables: &mut Tables<'_>, records: &mut [&Record]) -> Result<(), redb::Error> {
    let mut heads = BTreeMap::new();
    let mut senders = BTreeMap::new();
    records.sort_unstable_by_key(|record| (record.audience.parts(), record.gseq));
    for record in records.iter() {
        let (kind, id) = record.audience.parts();
        let place = record.place;
        tables.audience.insert((kind, id, record.gseq), (place.seq, place.counted, place.is_message))?;
        if let (Audience::Conversation(conversation), true) = (record.audience, place.is_message) {
            heads.insert(conversation.0, (place.seq, place.counted, record.ts.0, record.gseq));
            if let Some(sent) = &record.sent {
                senders.insert((conversation, sent.sender), place.seq);
            }
        }
    }
    for (conversation, head) in heads {
        tables.heads.insert(conversation, head)?;
    }
    // Who sends has read what came before; derived from the records, it costs the log nothing.
    for ((conversation, sender), seq) in senders {
        advance(tables, &RowKey::mark(conversation, sender), MarkRow { read: seq, delivered: seq })?;
    }
    let named = records.iter().filter_map(|record| Some((record.sent.as_ref()?, record.gseq)));
    let mut named: Vec<(&SentName, u64)> = named.collect();
    named.sort_unstable_by_key(|(sent, _)| (sent.sender, sent.client_msg_id.as_str()));
    for (sent, gseq) in named {
        tables.sent.insert((sent.sender.0, sent.client_msg_id.as_str()), (gseq, sent.fingerprint))?;
    }
    Ok(())
}

/// Moves a mark on, never back.
fn advance(tables: &mut Tables<'_>, key: &RowKey, to: MarkRow) -> Result<(), redb::Error> {
    let key = (key.table, &*key.key);
    let stored =
        tables.rows.get(key)?.map(|value| MarkRow::from_bytes(value.value())).transpose().map_err(corrupted)?;
    let furthest = to.furthest(stored.unwrap_or_default());
    if stored != Some(furthest) {
        tables.rows.insert(key, furthest.to_bytes().as_slice())?;
    }
    Ok(())
}

fn corrupted(malformed: Malformed) -> redb::Error {
    redb::Error::Corrupted(malformed.0)
}
