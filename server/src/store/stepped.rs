//! The store without its threads, on a disk that forgets: for the simulator, which decides when a group is
//! committed, when the database follows, and when the power goes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use posthouse_protocol::AccountId;
use redb::Builder;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::crash_tests::{DATABASE, Disk, SimulatedFile, Survival, crashed, new_files, open};
pub use super::crash_tests::{Files, Random, number_from};
use super::database::check_versions;
use super::expiry::Expiry;
use super::queue::Waiting;
use super::replay::Replay;
use super::wal::Storage;
use super::writer::Writer;
use super::{Assembled, Committed, DeviceAdd, Records, SignedOut, Store, StoreError, StoreParts, applier};

/// Room in the log that any group of a simulation finds.
const GROUP_BYTES: usize = 32 * 1024;

/// A segment of the log whose disk fails when its fuse has burnt down.
struct Fused {
    file: SimulatedFile,
    fuse: Arc<AtomicU32>,
}

impl Fused {
    fn burn(&self) -> std::io::Result<()> {
        match self.fuse.load(Ordering::Relaxed) {
            0 => Err(std::io::Error::other("the power is going")),
            u32::MAX => Ok(()),
            left => {
                self.fuse.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl Storage for Fused {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.burn()?;
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.burn()?;
        Storage::sync(&self.file)
    }

    fn len(&self) -> u64 {
        Storage::len(&self.file)
    }
}

/// What a store tells the router of its own accord.
pub type Outcomes = (Records, mpsc::Receiver<Committed<SignedOut>>);

/// Gives an account a device with a token.
pub async fn add_device(store: &Store, account_id: AccountId, name: &str, token: &str) {
    let (password_hash, name) = (String::new(), name.to_owned());
    let token_hash = Sha256::digest(token.as_bytes()).into();
    let add = DeviceAdd { account_id, password_hash, token_hash, name };
    store.write(add).await.expect("stored").expect("not refused");
}

/// See the module.
pub struct Stepped {
    /// The handle, as the router has it.
    pub store: Store,
    /// The last record that was there before.
    pub last_gseq: u64,
    writer: Writer<Fused>,
    jobs: Waiting,
    disk: Disk,
    start: Files,
    fuse: Arc<AtomicU32>,
}

impl Stepped {
    /// A disk's content, once `prepare` has filled a new store and it was closed in order.
    pub fn files<F: Future<Output = ()>>(prepare: impl FnOnce(Store) -> F) -> Files {
        let disk = Disk::with(new_files());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let StoreParts { store, ended, .. } = open(&disk).expect("opens");
            prepare(store.clone()).await;
            store.stop().await;
            drop(store);
            ended.await.expect("told").expect("a clean end");
        });
        drop(runtime);
        disk.lock().0.clone()
    }

    /// Opens a disk as a start of the server does. What is published and who is signed out comes by the receivers.
    ///
    /// # Errors
    /// As [`Store::open_with_cache`].
    pub fn open(files: Files) -> Result<(Self, Outcomes), StoreError> {
        let (disk, name) = (Disk::with(files.clone()), Path::new("simulated"));
        let fuse = Arc::new(AtomicU32::new(u32::MAX));
        let database = Builder::new().create_with_backend(disk.file(DATABASE)).map_err(StoreError::database)?;
        let (epoch, applied) = check_versions(&database, name)?;
        let segments = disk.segments().map(|file| Fused { file, fuse: Arc::clone(&fuse) });
        let log = Replay::new(name, segments, epoch, applied)?.apply(&database)?;
        let Assembled { writer, jobs, store, published, signed_out } = Store::assemble(database, log, epoch)?;
        let last_gseq = writer.state.last_gseq;
        Ok((Self { store, last_gseq, writer, jobs, disk, start: files, fuse }, (published, signed_out)))
    }

    /// Commits one group of the commands that wait; says whether there were any.
    ///
    /// # Errors
    /// The disk's: the server is to end.
    pub fn commit(&mut self, most: usize) -> Result<bool, StoreError> {
        if !self.writer.log.has_room(GROUP_BYTES) {
            self.apply(true)?;
        }
        self.writer.step(&mut self.jobs, most)
    }

    /// Brings what is in the log into the database.
    ///
    /// # Errors
    /// The database's.
    pub fn apply(&mut self, checkpoint: bool) -> Result<(), StoreError> {
        let Some(work) = self.store.handoff.take_now(checkpoint) else { return Ok(()) };
        let mut expiry = Expiry::new();
        applier::commit(&self.store.database, &work.batch, work.checkpoint.then_some(&mut expiry))?;
        self.store.handoff.applied(work.batch.last_number, work.checkpoint);
        Ok(())
    }

    /// The log's disk fails after so many further writes and syncs.
    pub fn fail_after(&self, operations: u32) {
        self.fuse.store(operations, Ordering::Relaxed);
    }

    /// What the disk may hold after a power cut now.
    pub fn cut(self, random: &mut Random) -> Files {
        let survival = match random.next() % 3 {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            _ => Survival::Some,
        };
        let events = std::mem::take(&mut self.disk.lock().1);
        crashed(&self.start, &events, events.len(), survival, random)
    }
}
