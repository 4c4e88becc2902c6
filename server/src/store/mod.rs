//! The store: the one place where something becomes durable.
//!
//! Owns the database and its write-ahead log. One writer thread drains a bounded queue ([`queue`]), decides each
//! command by the state that it keeps in memory, makes the whole group durable with one sync of the log
//! ([`writer`]) and only then hands it out, as [`Committed`] values. The applier thread brings the log into
//! the database behind it ([`applier`]); readers wait until that has what was durable when they asked,
//! and then use snapshots that wait for nobody ([`Snapshot`]).
//!
//! Never knows who is connected and never calls upwards: what was committed flows back through one bounded
//! channel of groups, each with its answers and its [`Published`] records. The router calls it.

mod applier;
mod apply;
mod authority;
mod choice;
mod codec;
mod command;
mod committed;
mod database;
mod device_index;
mod expiry;
mod format;
mod handoff;
mod highest;
mod member_index;
mod membership;
mod overlay;
pub mod probe;
mod queue;
mod record;
mod replay;
mod reserved;
mod retention;
mod rows;
mod seal;
mod settled;
mod sight;
mod snapshot;
mod state;
mod tables;
mod threads;
mod wal;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use posthouse_protocol::{Account, Epoch};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

#[cfg(test)]
use command::GroupsLeave;
pub use command::{
    AccountAdd, AccountDepart, AccountDisable, AccountEnable, AccountImport, AccountRename, AccountReset,
    AccountRoleSet, By, DeviceAdd, DevicesRevoke, DevicesUsed, DirectOpen, EverybodyFill, EverybodyOpen, GroupCreate,
    GroupLeave, GroupRole, GroupUpdate, InviteAccept, InviteAdd, InviteRevoke, MarksMove, MemberRemove, MembersAdd,
    MessageAppend, MessageEdit, MessageReact, MessageRecall, Moved, NewAccount, OwnerClaim, OwnerRecover, PasswordSet,
    PreferencesSet, ProbeAdmit, Refusal, RetentionSet, Revoked, Step, Write,
};
pub use committed::Committed;
pub use database::{CACHE_MIB, FILE_NAME};
pub use device_index::{DeviceIndex, FoundDevice, SignedOut, TokenHash};
pub use format::{MIN_READER, SCHEMA};
pub use member_index::MemberIndex;
pub use record::{Origin, Published, Recipients, cursor, gseq};
pub use rows::AccountRow;
pub use rows::GroupSettings;
pub use settled::Records;
pub use snapshot::{Snapshot, Which};

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod edits_tests;
#[cfg(test)]
mod failing_tests;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod model_groups;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod retention_tests;
#[cfg(test)]
pub mod stepped;

use database::Opened;
use handoff::Handoff;
use overlay::Overlay;
use queue::{Queue, Waiting, queue};
use state::State;
use writer::Writer;

use crate::panics;

/// Groups that may wait for the router once they are on the disk; past it, the writer waits.
const SETTLED_LEN_MAX: usize = 16;

/// Sign-outs that may wait for the router; past it, the writer waits.
const SIGNED_OUT_LEN_MAX: usize = 64;

/// Why the store can't serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data folder or a file in it can't be made, read or written.
    #[error("cannot use {path}: {reason}. {}, or name another --data-dir", way_out(.reason))]
    Folder {
        /// The folder or the file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process: stop the other posthoused, or give this one its own --data-dir")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The file is not a sound database.
    #[error(
        "the database {path} is damaged ({reason}). It was left as it is. Restore a copy of it, or \
         move it away to start with an empty one, in both cases together with its log (posthouse.wal.*), and start posthoused again"
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What opening it met was not foreseen.
    #[error(
        "the database {path} could not be opened ({reason}). If that comes back at every start, it may be damaged: restore a \
         copy of it, or move it away to start with an empty one, in both cases together with its log (posthouse.wal.*)"
    )]
    Panicked {
        /// The database.
        path: PathBuf,
        /// What the panic said.
        reason: String,
    },
    /// The file was written by a later version, in a way that this one can't read.
    #[error("the database {path} needs a newer posthoused (it asks for schema {min_reader}, this one reads {schema})")]
    TooNew {
        /// The database.
        path: PathBuf,
        /// What the file asks for.
        min_reader: u64,
        /// What this build has.
        schema: u64,
    },
    /// The file was written before the first release, in a way that was given up.
    #[error(
        "the database {path} was written by a development version (schema {found}; this posthoused has {schema} and does \
         not convert it). Move it away together with its log (posthouse.wal.*) to start with an empty one"
    )]
    TooOld {
        /// The database.
        path: PathBuf,
        /// What the file has.
        found: u64,
        /// What this build has.
        schema: u64,
    },
    /// What was read from the database or its log makes no sense.
    #[error("the database holds what this version can't read: {0}")]
    Content(String),
    /// The log could not be written. Nothing that was not durable has been acknowledged.
    #[error("{0}")]
    Log(#[from] wal::LogError),
    /// Reading or writing failed while serving. Nothing that was not durable has been acknowledged.
    #[error(
        "posthouse.redb in the data folder failed: {0}. \
         If it is damaged, restore a copy of it, or move it away to start with an empty one, in both cases together with \
         its log (posthouse.wal.*)"
    )]
    Database(Box<redb::Error>),
    /// The store has stopped.
    #[error("the store has stopped")]
    Stopped,
}

impl From<record::Malformed> for StoreError {
    fn from(malformed: record::Malformed) -> Self {
        Self::Content(malformed.0)
    }
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

impl StoreError {
    /// Whether there was no room for what had to be written: nothing is wrong with what is there.
    pub fn is_storage_full(&self) -> bool {
        let reason = match self {
            Self::Folder { reason, .. } | Self::Log(wal::LogError::Io { source: reason, .. }) => reason,
            Self::Database(error) => match &**error {
                redb::Error::Io(reason) => reason,
                _ => return false,
            },
            _ => return false,
        };
        matches!(reason.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
    }

    fn database(error: impl Into<redb::Error>) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// What makes a file usable that the system refuses.
fn way_out(reason: &std::io::Error) -> &'static str {
    match reason.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem => "Have its file system checked, which takes no more writing",
        std::io::ErrorKind::StorageFull => "Make room on its file system",
        _ => "Give it to the user who runs posthoused",
    }
}

/// A handle to the store; clones share it.
#[derive(Clone)]
pub struct Store {
    database: Arc<redb::Database>,
    handoff: Arc<Handoff>,
    queue: Queue,
    epoch: Epoch,
    devices: Arc<DeviceIndex>,
    members: Arc<MemberIndex>,
    owner: watch::Receiver<Option<Account>>,
    floor: Arc<AtomicU64>,
}

/// What [`Store::open_with_cache`] gives beside the handle.
pub struct StoreParts {
    /// The handle.
    pub store: Store,
    /// The last record that was there before.
    pub last_gseq: u64,
    /// Everything that others are to see. Whoever keeps it has to take from it, or nobody is answered.
    pub published: Records,
    /// Whose connections are to be closed.
    pub signed_out: mpsc::Receiver<Committed<SignedOut>>,
    /// Ends with the store's threads: `Ok` after [`Store::stop`], the reason otherwise.
    pub ended: oneshot::Receiver<Result<(), StoreError>>,
}

/// A store whose threads have not begun.
struct Assembled<S: wal::Storage> {
    writer: Writer<S>,
    jobs: Waiting,
    store: Store,
    published: Records,
    signed_out: mpsc::Receiver<Committed<SignedOut>>,
}

impl Store {
    /// As a server without options does.
    #[cfg(test)]
    pub fn open(folder: &std::path::Path) -> Result<StoreParts, StoreError> {
        Self::open_with_cache(folder, CACHE_MIB)
    }

    /// Opens the database in `folder`, or makes one where there is none, and starts the writer. Pages take `cache_mib` of memory
    /// at most. To be called within the runtime that serves the network.
    ///
    /// # Errors
    /// Any [`StoreError`] but `Stopped`. A file that can't be read is never changed.
    pub fn open_with_cache(folder: &std::path::Path, cache_mib: u32) -> Result<StoreParts, StoreError> {
        let (data_dir, network) = (folder.to_owned(), Handle::current());
        let opened = panics::guarded("store-opening", move || {
            let Opened { database, log, epoch } = database::open(&data_dir, cache_mib)?;
            Self::start(database, log, epoch, &network)
        });
        opened.unwrap_or_else(|reason| Err(StoreError::Panicked { path: folder.join(FILE_NAME), reason }))
    }

    /// Starts the threads over an open database whose log was replayed; `network` has the tasks that queue commands.
    fn start<S: wal::Storage + 'static>(
        database: redb::Database,
        log: wal::Log<S>,
        epoch: Epoch,
        network: &Handle,
    ) -> Result<StoreParts, StoreError> {
        let Assembled { writer, jobs, store, published, signed_out } = Self::assemble(database, log, epoch)?;
        let last_gseq = writer.state.last_gseq;
        store.queue.serve(network);
        let (database, handoff, floor) = (&store.database, &store.handoff, &store.floor);
        let ended = threads::start(writer, jobs, Arc::clone(database), Arc::clone(handoff), Arc::clone(floor));
        Ok(StoreParts { store, last_gseq, published, signed_out, ended })
    }

    /// The handle and what the threads are to work with.
    fn assemble<S: wal::Storage>(
        database: redb::Database,
        log: wal::Log<S>,
        epoch: Epoch,
    ) -> Result<Assembled<S>, StoreError> {
        let database = Arc::new(database);
        let state = State::load(&database)?;
        let handoff = Arc::new(Handoff::new(log.last_number()));
        let (queue, jobs) = queue();
        let (settled, groups) = mpsc::channel(SETTLED_LEN_MAX);
        let overlay = Overlay::new(Arc::clone(&database));
        let (sign_out, signed_out) = mpsc::channel(SIGNED_OUT_LEN_MAX);
        let devices = Arc::clone(&state.devices);
        let members = Arc::clone(&state.members);
        let owner = state.owner.subscribe();
        let floor = Arc::new(AtomicU64::new(state.floor));
        let writer = Writer { log, state, overlay, handoff: Arc::clone(&handoff), settled, sign_out };
        let store = Self { database, handoff, queue, epoch, devices, members, owner, floor };
        Ok(Assembled { writer, jobs, store, published: Records::new(groups), signed_out })
    }

    /// Names the life of this database.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Which tokens are valid.
    pub fn devices(&self) -> &DeviceIndex {
        &self.devices
    }

    /// Who is in which conversation.
    pub fn members(&self) -> &MemberIndex {
        &self.members
    }

    /// Who owns the site; nobody does until it is claimed.
    pub fn owner(&self) -> watch::Receiver<Option<Account>> {
        self.owner.clone()
    }

    /// For how many seconds servers ran on this database, in all.
    pub fn served_s(&self) -> u64 {
        self.devices.served_s()
    }

    /// The last record that is no longer kept, without reading the disk.
    pub fn floor(&self) -> u64 {
        self.floor.load(Ordering::Acquire)
    }

    /// Queues a command, and says how to learn what it came to. Commands are carried out in the order of their calls; where
    /// there was no room in the queue, in that in which the future ends that comes along.
    pub fn submit<W: Write>(&self, command: W) -> (Pending<W>, Option<BoxFuture<'static, ()>>) {
        let (reply, answer) = oneshot::channel();
        let waiting = self.queue.push(writer::Job::write(command, reply));
        (Pending { answer }, waiting)
    }

    /// Queues a command and waits for it.
    ///
    /// # Errors
    /// `Stopped` when the store ended before the command was durable.
    pub async fn write<W: Write>(&self, command: W) -> Result<Answer<W>, StoreError> {
        let (pending, waiting) = self.submit(command);
        if let Some(waiting) = waiting {
            waiting.await;
        }
        pending.done().await
    }

    /// Reads from a snapshot, on a thread where waiting for the disk is allowed. Everything that was
    /// acknowledged before is in it.
    ///
    /// # Errors
    /// `Database` when the file can't be read.
    pub async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot) -> Result<T, StoreError> + Send + 'static,
    {
        self.handoff.caught_up().await?;
        let database = Arc::clone(&self.database);
        let work = move || read(&Snapshot::new(&database)?);
        tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopped)?
    }

    /// Whether the release, once it is confirmed, has something to do after which those before it can't read the database.
    ///
    /// # Errors
    /// `Database` when the file can't be read.
    pub fn has_raises(&self) -> Result<bool, StoreError> {
        format::has_raises(&self.database, format::RAISES)
    }

    /// The oldest schema whose servers can read the database once that is done; as it is, where nothing is to be done.
    ///
    /// # Errors
    /// `Database` when the file can't be read.
    pub fn needs(&self) -> Result<u32, StoreError> {
        format::needs(&self.database, format::RAISES)
    }

    /// Does that; for a release that is confirmed. Gives the oldest schema that can read the database from now on, if that is
    /// another than before; it is durable then.
    ///
    /// # Errors
    /// `Database` when the file can't be written; then nothing has changed.
    pub async fn raise(&self) -> Result<Option<u64>, StoreError> {
        let database = Arc::clone(&self.database);
        let work = move || format::raise(&database, format::RAISES);
        tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Stopped)?
    }

    /// Whether commands are still taken.
    pub fn is_serving(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Lets the writer finish what is queued, then ends it.
    pub async fn stop(&self) {
        // Where the writer has ended already, nobody takes it.
        if let Some(waiting) = self.queue.push(writer::Job::Stop) {
            waiting.await;
        }
    }
}

/// What a command came to: durable, or refused without a change.
pub type Answer<W> = Result<Committed<<W as Write>::Output>, Refusal>;

/// A command on its way to the disk.
pub struct Pending<W: Write> {
    answer: oneshot::Receiver<Answer<W>>,
}

impl<W: Write> Pending<W> {
    /// Waits until the command is durable or refused.
    ///
    /// # Errors
    /// `Stopped` when the store ended before.
    pub async fn done(self) -> Result<Answer<W>, StoreError> {
        self.answer.await.map_err(|_| StoreError::Stopped)
    }
}
