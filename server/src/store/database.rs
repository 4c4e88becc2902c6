//! Opening the database file: made whole or not at all, checked before it is trusted, never
//! overwritten.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use posthouse_protocol::Epoch;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError};

use super::StoreError;
use super::tables::{META, Tables};

/// The database's name in the data folder.
pub const FILE_NAME: &str = "posthouse.redb";

/// What this build writes.
const SCHEMA: u64 = 1;

/// The oldest schema that can still make sense of what this build writes.
const MIN_READER: u64 = 1;

/// Memory for pages: redb's own default of 1 GiB would starve a Pi with 2 GB.
const CACHE_LEN: usize = 64 * 1024 * 1024;

/// Files up to this size have every checksum verified when they are opened: two seconds of reading
/// from a slow card. A larger one is verified after a crash only, as redb does by itself.
const CHECK_LEN_MAX: u64 = 64 * 1024 * 1024;

/// Opens the database in `folder`, or makes one where there is none.
pub(super) fn open(folder: &Path) -> Result<(Database, Epoch), StoreError> {
    // What people write to each other is nobody else's to read on this machine.
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|reason| folder_error(folder, reason))?;
    let path = folder.join(FILE_NAME);
    let exists = path.try_exists().map_err(|reason| folder_error(folder, reason))?;
    if !exists {
        create(folder, &path)?;
    }
    let length = std::fs::metadata(&path).map_err(|reason| folder_error(folder, reason))?.len();
    let database = Builder::new()
        .set_cache_size(CACHE_LEN)
        .set_check_integrity_on_open(length <= CHECK_LEN_MAX)
        .open(&path)
        .map_err(|error| open_error(&path, error))?;
    let epoch = check_versions(&database, &path)?;
    Ok((database, epoch))
}

/// Makes an empty database under another name and moves it into place when it is whole, so that a
/// power cut leaves either none or a sound one; what exists under the final name is never initialised.
fn create(folder: &Path, path: &Path) -> Result<(), StoreError> {
    let unfinished = path.with_extension("new");
    if unfinished.exists() {
        std::fs::remove_file(&unfinished).map_err(|reason| folder_error(folder, reason))?;
    }
    let database = Builder::new().create(&unfinished).map_err(|error| open_error(&unfinished, error))?;
    let txn = database.begin_write().map_err(StoreError::database)?;
    {
        let mut meta = txn.open_table(META).map_err(StoreError::database)?;
        for (key, value) in [("schema", SCHEMA), ("min_reader", MIN_READER), ("epoch", random_epoch())] {
            meta.insert(key, value).map_err(StoreError::database)?;
        }
        Tables::open(&txn).map_err(StoreError::database)?;
    }
    txn.commit().map_err(StoreError::database)?;
    database.close().map_err(StoreError::database)?;
    std::fs::rename(&unfinished, path).map_err(|reason| folder_error(folder, reason))?;
    // The new name itself must survive a power cut.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|reason| folder_error(folder, reason))
}

fn check_versions(database: &Database, path: &Path) -> Result<Epoch, StoreError> {
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
    Ok(Epoch(read("epoch")?))
}

/// Below 2^53, as every number of the protocol.
fn random_epoch() -> u64 {
    (getrandom::u64().expect("the kernel has random numbers once user space runs") >> 11).max(1)
}

fn folder_error(folder: &Path, reason: std::io::Error) -> StoreError {
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
