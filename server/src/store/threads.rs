//! The store's two threads: how they start, and how the end of one ends the other.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use redb::Database;
use tokio::sync::oneshot;

use super::handoff::Handoff;
use super::queue::Waiting;
use super::wal::Storage;
use super::writer::Writer;
use super::{StoreError, applier};
use crate::scheduling;

type Ended = oneshot::Sender<Result<(), StoreError>>;

/// Starts both. The receiver gets the first failure, or `Ok` when everything is durable in the database.
pub(super) fn start<S: Storage + 'static>(
    writer: Writer<S>,
    jobs: Waiting,
    database: Arc<Database>,
    handoff: Arc<Handoff>,
    floor: Arc<AtomicU64>,
) -> oneshot::Receiver<Result<(), StoreError>> {
    let (ended, receiver) = oneshot::channel();
    let ended = Arc::new(Mutex::new(Some(ended)));
    let (applier_ended, applier_handoff) = (Arc::clone(&ended), Arc::clone(&handoff));
    spawn("store-applier", move || {
        // It follows what is already durable; behind what people wait for it still gets its share of the cores.
        scheduling::enter_batch();
        let result = applier::run(&database, &applier_handoff, &floor);
        // Closes the file, where this was its last user, before the end is told.
        drop(database);
        tell(&applier_ended, result);
    });
    spawn("store-writer", move || {
        scheduling::enter_realtime();
        let result = writer.run(jobs);
        // The end is the applier's to tell, and its own failure, by which this one was stopped. Any other is told before the
        // applier can come to a good end.
        if !matches!(result, Ok(()) | Err(StoreError::Stopped)) {
            tell(&ended, result);
        }
        handoff.stop();
    });
    receiver
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.expect("the system can start a thread while the server starts");
}

fn tell(ended: &Mutex<Option<Ended>>, result: Result<(), StoreError>) {
    if let Some(ended) = ended.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Nobody listens any more only while the process ends.
        let _ = ended.send(result);
    }
}
