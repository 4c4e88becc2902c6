//! Opening the store: made whole or not at all, checked before it is trusted, never overwritten.
//!
//! The database and its log are one: they carry the same epoch, and neither is of use without the other.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use posthouse_protocol::Epoch;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError};

use super::format::{MIN_READER, SCHEMA, SCHEMA_MIN};
use super::tables::{META, Tables};
use super::wal::{Log, Segment};
use super::{StoreError, replay, reserved, seal};

/// The database's name in the data folder.
pub const FILE_NAME: &str = "posthouse.redb";

/// Memory for pages, in MiB, where nothing else is asked for: redb's own default of 1 GiB would starve a Pi with 2 GB.
pub const CACHE_MIB: u32 = 64;

/// Files up to this size have every checksum verified when they are opened: two seconds of reading
/// from a slow card. A larger one is verified after a crash only, as redb does by itself.
const CHECK_LEN_MAX: u64 = 64 * 1024 * 1024;

/// An open store whose log was replayed.
pub(super) struct Opened {
    pub database: Database,
    pub log: Log<Segment>,
    pub epoch: Epoch,
}

/// Opens the store in `folder`, or makes one where there is none. Pages take `cache_mib` of memory at most.
pub(super) fn open(folder: &Path, cache_mib: u32) -> Result<Opened, StoreError> {
    // What people write to each other is nobody else's to read on this machine.
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|reason| folder_error(folder, reason))?;
    let path = folder.join(FILE_NAME);
    let exists = path.try_exists().map_err(|reason| folder_error(folder, reason))?;
    if !exists {
        replay::create(folder, &path)?;
        create(folder, &path)?;
    }
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(|reason| folder_error(&path, reason))?;
    let length = file.metadata().map_err(|reason| folder_error(&path, reason))?.len();
    if length == 0 {
        // redb would take it for a new one.
        return Err(StoreError::Corrupt { path, reason: "it is empty".to_owned() });
    }
    let (reserved, reserve) = reserved::reserve(file).map_err(|error| open_error(&path, error))?;
    let database = Builder::new()
        .set_cache_size(usize::try_from(cache_mib).unwrap_or(usize::MAX).saturating_mul(1024 * 1024))
        .set_check_integrity_on_open(length <= CHECK_LEN_MAX)
        .create_with_backend(reserved)
        .map_err(|error| open_error(&path, error))?;
    let (epoch, applied) = check_versions(&database, &path)?;
    let replay = replay::read(folder, epoch, applied)?;
    // Both have proved sound.
    reserve.settle().map_err(|reason| folder_error(folder, reason))?;
    let mut log = replay.apply(&database)?;
    let epoch = seal::renew(folder, &database, epoch)?;
    log.go_on_under(epoch);
    Ok(Opened { database, log, epoch })
}

/// Makes an empty database under another name and moves it into place when it is whole, so that a
/// power cut leaves either none or a sound one; what exists under the final name is never initialised.
fn create(folder: &Path, path: &Path) -> Result<(), StoreError> {
    let unfinished = path.with_extension("new");
    if unfinished.exists() {
        std::fs::remove_file(&unfinished).map_err(|reason| folder_error(folder, reason))?;
    }
    let database = Builder::new().create(&unfinished).map_err(|error| open_error(&unfinished, error))?;
    initialise(&database)?;
    database.close().map_err(StoreError::database)?;
    std::fs::rename(&unfinished, path).map_err(|reason| folder_error(folder, reason))?;
    // The new name itself must survive a power cut.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|reason| folder_error(folder, reason))
}

/// Gives a new database its tables and its identity.
pub(super) fn initialise(database: &Database) -> Result<(), StoreError> {
    let txn = database.begin_write().map_err(StoreError::database)?;
    {
        let mut tables = Tables::open(&txn).map_err(StoreError::database)?;
        let versions = [("schema", SCHEMA), ("min_reader", MIN_READER)];
        let values = versions.into_iter().chain([("epoch", random_epoch()), ("applied", 0), ("floor", 0)]);
        for (key, value) in values {
            tables.meta.insert(key, value).map_err(StoreError::database)?;
        }
    }
    txn.commit().map_err(StoreError::database)
}

/// The epoch, and the last frame of the log that is in the database.
pub(super) fn check_versions(database: &Database, path: &Path) -> Result<(Epoch, u64), StoreError> {
    let txn = database.begin_read().map_err(StoreError::database)?;
    let corrupt = |reason: String| StoreError::Corrupt { path: path.to_owned(), reason };
    let meta = txn.open_table(META).map_err(|error| corrupt(error.to_string()))?;
    let read = |key: &str| -> Result<u64, StoreError> {
        let value = meta.get(key).map_err(StoreError::database)?;
        value.map(|value| value.value()).ok_or_else(|| corrupt(format!("`{key}` is missing")))
    };
    let min_reader = read("min_reader")?;
    if min_reader > SCHEMA {
        return Err(StoreError::TooNew { path: path.to_owned(), min_reader, schema: SCHEMA });
    }
    let found = read("schema")?;
    if found < SCHEMA_MIN {
        return Err(StoreError::TooOld { path: path.to_owned(), found, schema: SCHEMA });
    }
    Ok((Epoch(read("epoch")?), read("applied")?))
}

/// Below 2^53, as every number of the protocol.
pub(super) fn random_epoch() -> u64 {
    (getrandom::u64().expect("the kernel has random numbers once user space runs") >> 11).max(1)
}

pub(super) fn folder_error(folder: &Path, reason: std::io::Error) -> StoreError {
    StoreError::Folder { path: folder.to_owned(), reason }
}

fn open_error(path: &Path, error: DatabaseError) -> StoreError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => StoreError::InUse { path },
        // A file that is shorter than it claims to be is damaged, not out of reach.
        DatabaseError::Storage(StorageError::Io(reason))
            if !matches!(reason.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
        {
            StoreError::Folder { path, reason }
        }
        other => StoreError::Corrupt { path, reason: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    #[test]
    fn a_database_of_another_schema_is_refused_by_name_and_one_of_this_schema_is_not() {
        let database = Builder::new().create_with_backend(InMemoryBackend::new()).expect("a database");
        initialise(&database).expect("initialised");
        let check = |key: &str, value: u64| {
            let txn = database.begin_write().expect("a transaction");
            txn.open_table(META).expect("a table").insert(key, value).expect("written");
            txn.commit().expect("committed");
            check_versions(&database, Path::new("x.redb")).map_err(|error| error.to_string())
        };
        assert!(check("schema", SCHEMA).is_ok());
        // A later version that this one can read.
        assert!(check("schema", SCHEMA + 1).is_ok());
        let newer = check("min_reader", SCHEMA + 1).expect_err("too new");
        assert!(newer.contains("x.redb needs a newer posthoused"), "{newer}");
        assert!(check("min_reader", SCHEMA).is_ok());
        let older = check("schema", SCHEMA_MIN - 1).expect_err("too old");
        assert!(older.contains("x.redb was written by a development version (schema 1"), "{older}");
    }
}
