//! The log's files, and what a start does with what is in them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use posthouse_protocol::Epoch;
use redb::Database;

use super::apply::Batch;
use super::codec::decode;
use super::database::folder_error;
use super::expiry::Expiry;
use super::wal::{self, Log, SEGMENTS, Segment, Storage};
use super::{StoreError, applier};

/// The log's segments, beside the database.
const SEGMENT_NAMES: [&str; SEGMENTS] = ["posthouse.wal.0", "posthouse.wal.1"];

/// Both, as a message names them.
const LOG_NAME: &str = "posthouse.wal.*";

/// Length of a segment: 4,096 lone messages, some minutes of a busy company. Full groups fill one in under a second; the
/// longer it is, the fewer checkpoints they cost. A start reads both.
const SEGMENT_LEN: u64 = 16 * 1024 * 1024;

/// Makes the log's files, before the database that needs them. Those of a start that was cut off are as
/// good; those with content belong to a database that is not here.
pub(super) fn create(folder: &Path, database: &Path) -> Result<(), StoreError> {
    for path in paths(folder) {
        match std::fs::read(&path) {
            Ok(content) if wal::holds_frames(&content) => {
                let reason = format!("its log {} is there without it", path.display());
                return Err(StoreError::Corrupt { path: database.to_owned(), reason });
            }
            Ok(content) if content.len() as u64 == SEGMENT_LEN => {}
            Err(reason) if reason.kind() != ErrorKind::NotFound => return Err(folder_error(folder, reason)),
            _ => wal::create(&path, SEGMENT_LEN).map_err(|reason| folder_error(folder, reason))?,
        }
    }
    Ok(())
}

/// A log that was read and proved sound, and what it has that the database lacks.
pub(super) struct Replay<S: Storage> {
    log: Log<S>,
    groups: usize,
    batch: Batch,
}

/// Reads the log and changes nothing. `applied` is the last frame that the database has.
pub(super) fn read(folder: &Path, epoch: Epoch, applied: u64) -> Result<Replay<Segment>, StoreError> {
    let [first, second] = paths(folder).map(|path| open_segment(folder, path));
    Replay::new(&folder.join(LOG_NAME), [first?, second?], epoch, applied)
}

impl<S: Storage> Replay<S> {
    /// From wherever the segments are; `name` is what a message calls them.
    pub fn new(name: &Path, segments: [S; SEGMENTS], epoch: Epoch, applied: u64) -> Result<Self, StoreError> {
        let damaged = |reason: String| StoreError::Corrupt { path: name.to_owned(), reason };
        let (log, frames) = Log::open(segments, epoch, applied).map_err(|error| damaged(error.to_string()))?;
        let groups = frames.len();
        let mut batch = Batch { last_number: log.last_number(), entries: Vec::new() };
        for frame in frames {
            batch.entries.extend(decode(frame.payload).map_err(|error| damaged(error.to_string()))?);
        }
        Ok(Self { log, groups, batch })
    }

    /// Brings it into the database, durably, and starts the log anew.
    pub fn apply(mut self, database: &Database) -> Result<Log<S>, StoreError> {
        if self.groups > 0 {
            tracing::info!(groups = self.groups, entries = self.batch.entries.len(), "replaying the log");
            applier::commit(database, &self.batch, Some(&mut Expiry::new()))?;
        }
        self.log.restart();
        Ok(self.log)
    }
}

fn open_segment(folder: &Path, path: PathBuf) -> Result<Segment, StoreError> {
    let segment = Segment::open(&path).map_err(|reason| match reason.kind() {
        // What was acknowledged last may be in it and nowhere else.
        ErrorKind::NotFound => StoreError::Corrupt { path: path.clone(), reason: "it is missing".to_owned() },
        _ => folder_error(folder, reason),
    })?;
    if segment.len() != SEGMENT_LEN {
        // It was made at its full length. What was cut off may have been acknowledged, and a log that ends
        // earlier looks like one that was not written further.
        let reason = format!("it has {} bytes, and was made with {SEGMENT_LEN}", segment.len());
        return Err(StoreError::Corrupt { path, reason });
    }
    Ok(segment)
}

fn paths(folder: &Path) -> [PathBuf; SEGMENTS] {
    SEGMENT_NAMES.map(|name| folder.join(name))
}

#[cfg(test)]
mod tests {
    use redb::ReadableDatabase;

    use super::super::codec::encode;
    use super::super::database::{self, CACHE_MIB, Opened};
    use super::super::record::Entry;
    use super::super::rows::{Row, RowKey};
    use super::super::tables;

    #[test]
    fn rows_of_a_table_that_only_a_later_release_knows_are_brought_in_and_taken_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = |name: &'static str| RowKey { table: 200, key: name.as_bytes().into() };
        let keep = Row::plain(key("kept"), *b"what it means");
        let go = Row::plain(key("gone"), *b"what it means");
        let Opened { database, mut log, .. } = database::open(folder.path(), CACHE_MIB).expect("opens");
        let mut payload = Vec::new();
        for entry in [Entry::Row(keep), Entry::Row(go), Entry::RowRemoved(key("gone"))] {
            encode(&entry, &mut payload);
        }
        log.append(&payload).expect("appended");
        drop((database, log));
        let Opened { database, .. } =
            database::open(folder.path(), CACHE_MIB).expect("an older release can read its log");
        let txn = database.begin_read().expect("a snapshot");
        assert_eq!(tables::row(&txn, &key("kept")).expect("read").as_deref(), Some(&b"what it means"[..]));
        assert_eq!(tables::row(&txn, &key("gone")).expect("read"), None);
    }
}
