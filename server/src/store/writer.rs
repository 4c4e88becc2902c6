//! The writer thread: the file where a message becomes durable.
//!
//! It takes whatever waits in the queue, up to [`GROUP_LEN_MAX`] commands, applies them in one
//! transaction, commits that with one sync, and only then answers and publishes. An idle queue adds no
//! delay: a lone command is a group of one. Any error of the database ends the thread, and with it the
//! server: what failed to become durable is never answered, and never tried again on a file in doubt.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use posthouse_protocol::TimestampMs;
use redb::Database;
use tokio::sync::{mpsc, oneshot};

use super::command::{Group, Write};
use super::committed::Committed;
use super::record::Published;
use super::tables::Tables;
use super::{Answer, StoreError};
use crate::scheduling;

/// Most commands in one commit: enough to pay for its sync, and few enough that the first of them
/// does not wait long for the last.
const GROUP_LEN_MAX: usize = 256;

/// What the queue carries.
pub(super) enum Job {
    Write(Box<dyn PendingWrite>),
    Stop,
}

impl Job {
    pub fn write<W: Write>(command: W, reply: oneshot::Sender<Answer<W>>) -> Self {
        Self::Write(Box::new(Queued { command, reply }))
    }
}

/// A command with the way back to its caller, before it was applied.
pub(super) trait PendingWrite: Send {
    fn apply(self: Box<Self>, group: &mut Group<'_>) -> Result<Reply, redb::Error>;
}

/// Tells the caller; called after the commit only.
type Reply = Box<dyn FnOnce()>;

struct Queued<W: Write> {
    command: W,
    reply: oneshot::Sender<Answer<W>>,
}

impl<W: Write> PendingWrite for Queued<W> {
    fn apply(self: Box<Self>, group: &mut Group<'_>) -> Result<Reply, redb::Error> {
        let Self { command, reply } = *self;
        let outcome = command.apply(group)?;
        Ok(Box::new(move || {
            // A caller that went away meanwhile needs no answer; its command stands.
            let _ = reply.send(outcome.map(Committed::after_commit));
        }))
    }
}

/// Starts the thread. The receiver gets its end: `Ok` after [`Job::Stop`].
pub(super) fn spawn(
    database: Arc<Database>,
    jobs: mpsc::Receiver<Job>,
    publish: mpsc::Sender<Committed<Published>>,
) -> oneshot::Receiver<Result<(), StoreError>> {
    let (ended, receiver) = oneshot::channel();
    let work = move || {
        scheduling::enter_realtime();
        let result = run(&database, jobs, &publish);
        // Before its end is known: the process may exit then, and the last handle closes the file.
        drop(database);
        // Nobody listens any more only while the process ends.
        let _ = ended.send(result);
    };
    std::thread::Builder::new()
        .name("store-writer".to_owned())
        .spawn(work)
        .expect("the system can start a thread while the server starts");
    receiver
}

fn run(
    database: &Database,
    mut jobs: mpsc::Receiver<Job>,
    publish: &mpsc::Sender<Committed<Published>>,
) -> Result<(), StoreError> {
    let mut waiting = Vec::with_capacity(GROUP_LEN_MAX);
    // With the queue closed after `Stop`, this goes on until everything accepted before is durable.
    while jobs.blocking_recv_many(&mut waiting, GROUP_LEN_MAX) > 0 {
        let mut writes = Vec::with_capacity(waiting.len());
        for job in waiting.drain(..) {
            match job {
                Job::Write(write) => writes.push(write),
                Job::Stop => jobs.close(),
            }
        }
        for record in commit(database, writes)? {
            // A router that is gone has nobody left to tell.
            let _ = publish.blocking_send(record);
        }
    }
    Ok(())
}

/// Makes one group durable, then answers it.
fn commit(database: &Database, writes: Vec<Box<dyn PendingWrite>>) -> Result<Vec<Committed<Published>>, StoreError> {
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    let txn = database.begin_write().map_err(StoreError::database)?;
    let mut replies = Vec::with_capacity(writes.len());
    let published = {
        let tables = Tables::open(&txn).map_err(StoreError::database)?;
        let mut group = Group { tables, now: now(), published: Vec::new() };
        for write in writes {
            replies.push(write.apply(&mut group).map_err(StoreError::database)?);
        }
        group.published
    };
    txn.commit().map_err(StoreError::database)?;
    // From here on the group survives a power cut.
    for reply in replies {
        reply();
    }
    Ok(published.into_iter().map(Committed::after_commit).collect())
}

fn now() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
