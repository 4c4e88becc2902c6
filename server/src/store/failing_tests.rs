//! The store's threads on a disk that fails or stalls: what is not durable is never answered, nothing is tried again, and the
//! end is told with its reason, upon which the server ends. What stalls is waited for.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use posthouse_protocol::{Account, ClientMsgId, ConversationId, NewBody, SendResult};
use redb::{Builder, StorageBackend};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::crash_tests::{
    DATABASE, Disk, Event, Files, Random, SEGMENT_BLOCKS, SimulatedFile, Survival, check, crashed, make_conversation,
    new_files, recover,
};
use super::database::check_versions;
use super::replay::Replay;
use super::wal::{LogError, Storage};
use super::{Answer, MessageAppend, Origin, Store, StoreError, StoreParts};

/// Longest wait for what another thread is to do.
const BOUND: Duration = Duration::from_secs(20);

/// Senders at once.
const SENDERS: u32 = 3;

/// Most messages of each: more than the log has room for, many times.
const SENT_MAX: u32 = 1_000;

/// Frames of the log that a conversation of two costs: two accounts, and itself.
const PREPARED: usize = 3;

/// What a file does from some moment on.
#[derive(Default)]
struct Fault {
    /// Syncs until one fails; 0 for none.
    syncs_left: AtomicU32,
    has_failed: AtomicBool,
    /// What was asked of the file after that.
    tried_again: AtomicU32,
    /// Syncs wait while it is closed.
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Fault {
    fn fail_at(&self, sync: u32) {
        self.syncs_left.store(sync, Ordering::SeqCst);
    }

    fn set_closed(&self, closed: bool) {
        *self.closed.lock().expect("no panic holds it") = closed;
        self.opened.notify_all();
    }

    fn on_write(&self) {
        self.tried_again.fetch_add(u32::from(self.has_failed.load(Ordering::SeqCst)), Ordering::SeqCst);
    }

    fn on_sync(&self) -> std::io::Result<()> {
        self.on_write();
        let mut closed = self.closed.lock().expect("no panic holds it");
        while *closed {
            closed = self.opened.wait(closed).expect("no panic holds it");
        }
        let left = self.syncs_left.load(Ordering::SeqCst);
        self.syncs_left.store(left.saturating_sub(1), Ordering::SeqCst);
        if left == 1 {
            self.has_failed.store(true, Ordering::SeqCst);
            return Err(std::io::Error::other("the card is gone"));
        }
        Ok(())
    }
}

/// A file with a fault. Once a sync has failed, the next one says that all is well, as a kernel's does.
struct Faulty {
    file: SimulatedFile,
    fault: Arc<Fault>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.file.fmt(formatter)
    }
}

impl Storage for Faulty {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.fault.on_write();
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.fault.on_sync()?;
        Storage::sync(&self.file)
    }

    fn len(&self) -> u64 {
        Storage::len(&self.file)
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> std::io::Result<u64> {
        StorageBackend::len(&self.file)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.fault.on_sync()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.fault.on_write();
        self.file.write(offset, data)
    }
}

/// A store on a disk whose log and database have a fault each.
struct Site {
    disk: Disk,
    start: Files,
    log: Arc<Fault>,
    database: Arc<Fault>,
    store: Store,
    ended: oneshot::Receiver<Result<(), StoreError>>,
    anna: Account,
    conversation_id: ConversationId,
}

impl Site {
    async fn new() -> Self {
        let start = new_files();
        let disk = Disk::with(start.clone());
        let (log, database) = (Arc::new(Fault::default()), Arc::new(Fault::default()));
        let (name, fault) = (Path::new("faulty"), Arc::clone(&database));
        let file = Faulty { file: disk.file(DATABASE), fault };
        let opened = Builder::new().create_with_backend(file).expect("opens");
        let (epoch, applied) = check_versions(&opened, name).expect("sound");
        let segments = disk.segments().map(|file| Faulty { file, fault: Arc::clone(&log) });
        let replayed = Replay::new(name, segments, epoch, applied).and_then(|replay| replay.apply(&opened));
        let started = Store::start(opened, replayed.expect("replayed"), epoch, &Handle::current()).expect("starts");
        let StoreParts { store, mut published, ended, .. } = started;
        tokio::spawn(async move { while published.recv().await.is_some() {} });
        let (conversation_id, anna) = make_conversation(&store).await;
        Self { disk, start, log, database, store, ended, anna, conversation_id }
    }

    fn append(&self, name: String) -> MessageAppend {
        MessageAppend {
            sender: self.anna.account_id,
            origin: Origin(0),
            conversation_id: self.conversation_id,
            client_msg_id: ClientMsgId::new(name).expect("short"),
            body: NewBody::text("x"),
            reply_to: None,
            mentions: None,
        }
    }

    /// Sends one message after the other until the store has ended.
    async fn send_on(&self, sender: u32) {
        for count in 0..SENT_MAX {
            let name = format!("{sender}-{count}");
            match self.store.write(self.append(name.clone())).await {
                Ok(sent) => self.acknowledged(&name, sent),
                Err(StoreError::Stopped) => return,
                Err(other) => panic!("{other}"),
            }
        }
        panic!("the store goes on as if nothing had failed");
    }

    /// Sends one message, named so that the writer need not look for it in the database.
    async fn send(&self, count: usize) {
        let name = format!("{count:04}");
        let sent = tokio::time::timeout(BOUND, self.store.write(self.append(name.clone()))).await;
        self.acknowledged(&name, sent.expect("answered").expect("stored"));
    }

    fn acknowledged(&self, name: &str, sent: Answer<MessageAppend>) {
        let _: SendResult = sent.expect("not refused").into_inner();
        self.disk.do_event(Event::Acknowledged(ClientMsgId::new(name).expect("short")));
    }

    /// How the store ends; no command is taken from then on.
    async fn end(&mut self) -> Result<(), StoreError> {
        let ended = &mut self.ended;
        let end = tokio::time::timeout(BOUND, ended).await.expect("the end is told, so that the server can end");
        let late = self.store.write(self.append("late".to_owned())).await;
        assert!(matches!(late, Err(StoreError::Stopped)), "nothing is taken any more");
        end.expect("told by the store's threads")
    }

    /// Has everything that is not synced lost, and looks for what was acknowledged.
    fn cut_off_and_read(&self) -> usize {
        let events = self.disk.lock().1.clone();
        let files = crashed(&self.start, &events, events.len(), Survival::Nothing, &mut Random(1));
        let found = recover(files).unwrap_or_else(|reason| panic!("{reason}"));
        check(&found, &events).unwrap_or_else(|reason| panic!("{reason}"));
        events.iter().filter(|event| matches!(event, Event::Acknowledged(_))).count()
    }
}

/// Has several send until the store has ended; gives how it did.
async fn send_to_the_end(site: &mut Site) -> Result<(), StoreError> {
    let sends = futures_util::future::join_all((0..SENDERS).map(|sender| site.send_on(sender)));
    tokio::time::timeout(BOUND, sends).await.expect("whoever waits is told of the end");
    site.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_could_not_be_synced_ends_the_store_and_nothing_of_it_is_answered() {
    for sync in [1, 2, 7, 30] {
        let mut site = Site::new().await;
        site.log.fail_at(sync);
        let end = send_to_the_end(&mut site).await;
        assert!(matches!(end, Err(StoreError::Log(LogError::Io { what: "synced", .. }))), "sync {sync}: {end:?}");
        assert_eq!(site.log.tried_again.load(Ordering::SeqCst), 0, "sync {sync}: nothing is tried again");
        let acknowledged = site.cut_off_and_read();
        assert!(acknowledged + 1 >= usize::try_from(sync).expect("small"), "sync {sync}: {acknowledged} before it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_could_not_be_synced_ends_the_store_with_that_reason() {
    for sync in [1, 2, 4] {
        let mut site = Site::new().await;
        // In one of the checkpoints that the log asks for where it is full.
        site.database.fail_at(sync);
        let end = send_to_the_end(&mut site).await;
        let reason = end.expect_err("it failed").to_string();
        assert!(reason.contains("posthouse.redb") && reason.contains("the card is gone"), "sync {sync}: {reason}");
        assert!(matches!(site.store.read(|_| Ok(())).await, Err(StoreError::Stopped)), "nobody waits for ever");
        assert!(site.cut_off_and_read() > 0, "some were answered before");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_log_is_full_answers_wait_for_the_checkpoint_and_go_on_behind_it() {
    let site = Site::new().await;
    site.send(0).await;
    site.database.set_closed(true);
    // Each is a block of the log.
    let room = super::wal::SEGMENTS * SEGMENT_BLOCKS - PREPARED;
    for count in 1..room {
        site.send(count).await;
    }
    let waiting = site.send(room);
    tokio::pin!(waiting);
    assert!((&mut waiting).now_or_never().is_none(), "it is on its way");
    // The first was taken when the log came to its second half.
    let begun = Instant::now();
    while !site.store.handoff.waits_for_checkpoint() {
        assert!(begun.elapsed() < BOUND, "the writer asks for a second one, since it has no room");
        tokio::task::yield_now().await;
    }
    assert!((&mut waiting).now_or_never().is_none(), "without room it is not answered");
    assert_eq!(site.cut_off_and_read(), room, "what was answered needs no checkpoint");
    site.database.set_closed(false);
    waiting.await;
    for count in room + 1..3 * room {
        site.send(count).await;
    }
    assert_eq!(site.cut_off_and_read(), 3 * room);
}
