//! The seal: tells the database that served here last from a copy of an earlier one that was put in its place.
//!
//! The clients of a database that was set back hold cursors that it is going to give away again, for something else. So it
//! gets another epoch, by which they know that they have to begin anew. Nobody has to think of it: each start makes an empty
//! file with a name of its own, and notes in the database that name and when the system says that the file was made.
//!
//! - A database that was copied earlier names a file that a later start has removed.
//! - A copy of the whole folder brings the file along, with another time: that of its last change (`ctime`), which nobody
//!   can choose.
//!
//! What sets back a whole file system (an image of a card, a snapshot) brings all of it back as it was; whoever does that
//! removes the file. Without it the epoch is another one, which costs clients no more than reading everything again.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use posthouse_protocol::Epoch;
use redb::{Database, ReadableDatabase};

use super::StoreError;
use super::database::{folder_error, random_epoch};
use super::tables::{META, Tables};

/// What the names of seals begin with; the rest is a number.
const PREFIX: &str = "posthouse.seal.";

/// A file, and when it was last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seal {
    number: u64,
    /// In nanoseconds, by the clock of the file system.
    changed: u64,
}

/// Seals the database for another run. Gives its epoch: the one that it had, or another one where it is not what served
/// here last. It is durable then. The log must have nothing that the database lacks.
pub(super) fn renew(folder: &Path, database: &Database, epoch: Epoch) -> Result<Epoch, StoreError> {
    let failed = |reason| folder_error(folder, reason);
    let noted = noted(database)?;
    let found = seals(folder).map_err(failed)?;
    let stayed = match noted {
        Some(seal) => found.contains(&seal),
        // New, or from before there were seals; but not where there was one already.
        None => found.is_empty(),
    };
    let epoch = if stayed { epoch } else { Epoch(random_epoch()) };
    // The file first and the old one last: wherever a power cut comes, the one that the database names is there.
    let seal = make(folder).map_err(failed)?;
    note(database, seal, epoch)?;
    for old in found {
        std::fs::remove_file(path(folder, old.number)).map_err(failed)?;
    }
    sync(folder).map_err(failed)?;
    if !stayed {
        tracing::warn!("the database is not the one that served here last: clients read everything again");
    }
    Ok(epoch)
}

/// The seal that the database names.
fn noted(database: &Database) -> Result<Option<Seal>, StoreError> {
    let txn = database.begin_read().map_err(StoreError::database)?;
    let meta = txn.open_table(META).map_err(StoreError::database)?;
    let number = |name| -> Result<Option<u64>, StoreError> {
        Ok(meta.get(name).map_err(StoreError::database)?.map(|found| found.value()))
    };
    Ok(number("seal")?.zip(number("sealed")?).map(|(number, changed)| Seal { number, changed }))
}

/// Notes the seal and the epoch, both or neither.
fn note(database: &Database, seal: Seal, epoch: Epoch) -> Result<(), StoreError> {
    let mut txn = database.begin_write().map_err(StoreError::database)?;
    // As at a checkpoint.
    txn.set_quick_repair(true);
    {
        let mut tables = Tables::open(&txn).map_err(StoreError::database)?;
        for (name, value) in [("seal", seal.number), ("sealed", seal.changed), ("epoch", epoch.0)] {
            tables.meta.insert(name, value).map_err(StoreError::database)?;
        }
    }
    txn.commit().map_err(StoreError::database)
}

/// Makes a file with a name of its own; it is durable when this returns.
fn make(folder: &Path) -> std::io::Result<Seal> {
    let number = getrandom::u64().expect("the kernel has random numbers once user space runs");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path(folder, number))?;
    file.sync_all()?;
    sync(folder)?;
    Ok(Seal { number, changed: changed(&file.metadata()?) })
}

/// Those that are there: one, or two where a start was cut off.
fn seals(folder: &Path) -> std::io::Result<Vec<Seal>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Some(number) = number(&entry.file_name()) else { continue };
        match entry.metadata() {
            Ok(metadata) => found.push(Seal { number, changed: changed(&metadata) }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

fn changed(metadata: &std::fs::Metadata) -> u64 {
    metadata.ctime().wrapping_mul(1_000_000_000).wrapping_add(metadata.ctime_nsec()).cast_unsigned()
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{number:016x}"))
}

fn number(name: &OsStr) -> Option<u64> {
    u64::from_str_radix(name.to_str()?.strip_prefix(PREFIX)?, 16).ok()
}

/// Names survive a power cut from here on.
fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use redb::Builder;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::store::database::{check_versions, initialise};

    struct Site {
        folder: tempfile::TempDir,
        database: Database,
    }

    impl Site {
        fn new() -> Self {
            let database = Builder::new().create_with_backend(InMemoryBackend::new()).expect("a database");
            initialise(&database).expect("initialised");
            Self { folder: tempfile::tempdir().expect("a folder"), database }
        }

        fn folder(&self) -> &Path {
            self.folder.path()
        }

        fn epoch(&self) -> Epoch {
            check_versions(&self.database, Path::new("x")).expect("sound").0
        }

        /// Whether a start goes on under the epoch that was there.
        fn goes_on(&self) -> bool {
            let before = self.epoch();
            let after = renew(self.folder(), &self.database, before).expect("sealed");
            assert_eq!(self.epoch(), after, "what is served is what is noted");
            assert_eq!(seals(self.folder()).expect("read").len(), 1, "one seal is left");
            before == after
        }
    }

    #[test]
    fn a_database_that_stayed_where_it_was_goes_on_and_one_without_its_seal_does_not() {
        let site = Site::new();
        assert!(site.goes_on(), "a new one, or one of a release without seals");
        assert!(site.goes_on() && site.goes_on());
        let seal = noted(&site.database).expect("read").expect("there");
        std::fs::remove_file(path(site.folder(), seal.number)).expect("removed");
        assert!(!site.goes_on(), "its seal is gone");
        assert!(site.goes_on(), "once");
    }

    #[test]
    fn an_earlier_state_in_its_place_is_noticed() {
        let site = Site::new();
        assert!(site.goes_on());
        let earlier = noted(&site.database).expect("read").expect("there");
        assert!(site.goes_on());
        note(&site.database, earlier, site.epoch()).expect("set back");
        assert!(!site.goes_on(), "a later start has removed its seal");
        // From before there were seals.
        let txn = site.database.begin_write().expect("a transaction");
        let mut meta = txn.open_table(META).expect("a table");
        for name in ["seal", "sealed"] {
            meta.remove(name).expect("removed");
        }
        drop(meta);
        txn.commit().expect("committed");
        assert!(!site.goes_on(), "there was one already");
    }

    #[test]
    fn a_seal_that_was_copied_is_none() {
        let site = Site::new();
        assert!(site.goes_on());
        let seal = noted(&site.database).expect("read").expect("there");
        let seal = path(site.folder(), seal.number);
        // As a copy over it does, and as one that had to make it does.
        let before = changed(&std::fs::metadata(&seal).expect("there"));
        while changed(&std::fs::metadata(&seal).expect("there")) == before {
            std::fs::write(&seal, b"").expect("written");
        }
        assert!(!site.goes_on(), "it was written again");
    }

    #[test]
    fn a_start_that_is_cut_off_changes_no_epoch_and_does_not_forget_that_it_has_to() {
        let site = Site::new();
        assert!(site.goes_on());
        let earlier = noted(&site.database).expect("read").expect("there");
        let made = make(site.folder()).expect("made");
        assert!(site.goes_on(), "cut off before the database named the new seal");
        let made_too = make(site.folder()).expect("made");
        note(&site.database, made_too, site.epoch()).expect("noted");
        assert!(site.goes_on(), "cut off before the old seal was removed");
        for seal in [earlier, made] {
            note(&site.database, seal, site.epoch()).expect("set back");
            make(site.folder()).expect("made");
            assert!(!site.goes_on(), "cut off before the database had another epoch");
        }
    }
}
