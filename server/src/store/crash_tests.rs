//! The store on a disk that forgets: every write, sync and change of length of the database and its log
//! is recorded while clients send; then the files are rebuilt as a power cut at any of these moments
//! could have left them, and opened.
//!
//! What was not synced may be there, or not, or in part, in any order; what was synced is there.
//! `POSTHOUSE_TEST_SEED` repeats a run, `POSTHOUSE_TEST_CRASHES` asks for more rebuilt disks a moment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use posthouse_protocol::{Account, ClientMsgId, ConversationId, Message, NewBody, Username};
use redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend};
use tokio::runtime::Handle;

use super::database::{check_versions, initialise};
use super::record::decode_message;
use super::replay::Replay;
use super::tables::{LOG, split_stored};
use super::wal::{BLOCK_LEN, SEGMENTS, Storage};
use super::{AccountAdd, DirectOpen, MessageAppend, Origin, Store, StoreParts};

/// Some forty groups fit both segments: the log is recycled many times.
pub(super) const SEGMENT_BLOCKS: usize = 20;
/// What a disk writes whole or not at all.
const SECTOR_LEN: usize = 512;
/// Messages that are sent.
const MESSAGES: usize = 90;
/// Senders at once.
const SENDERS: usize = 3;
/// Records before the first message: two accounts are told of their conversation.
const TOLD: usize = 2;

pub(super) const DATABASE: usize = 0;
pub(super) const FILES: usize = 1 + SEGMENTS;

#[derive(Clone, Debug)]
pub(super) enum Event {
    Write { file: usize, offset: usize, bytes: Vec<u8> },
    SetLen { file: usize, len: usize },
    Sync { file: usize },
    Acknowledged(ClientMsgId),
}

pub type Files = [Vec<u8>; FILES];

/// A disk that remembers everything that was done to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<(Files, Vec<Event>)>>);

impl Disk {
    pub(super) fn with(files: Files) -> Self {
        Self(Arc::new(Mutex::new((files, Vec::new()))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, (Files, Vec<Event>)> {
        self.0.lock().expect("no test panics while it holds it")
    }

    pub(super) fn do_event(&self, event: Event) {
        let mut disk = self.lock();
        apply(&mut disk.0, &event);
        disk.1.push(event);
    }

    pub(super) fn file(&self, file: usize) -> SimulatedFile {
        SimulatedFile { disk: self.clone(), file }
    }

    pub(super) fn segments(&self) -> [SimulatedFile; SEGMENTS] {
        std::array::from_fn(|index| self.file(1 + index))
    }
}

fn apply(files: &mut Files, event: &Event) {
    match event {
        Event::Write { file, offset, bytes } => {
            let content = &mut files[*file];
            let end = offset + bytes.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(bytes);
        }
        Event::SetLen { file, len } => files[*file].resize(*len, 0),
        Event::Sync { .. } | Event::Acknowledged(_) => {}
    }
}

#[derive(Clone, Debug)]
pub(super) struct SimulatedFile {
    disk: Disk,
    file: usize,
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("small")
}

impl Storage for SimulatedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        StorageBackend::read(self, offset, bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        let event = Event::Write { file: self.file, offset: index(offset), bytes: bytes.to_vec() };
        self.disk.do_event(event);
        Ok(())
    }

    fn sync(&self) -> std::io::Result<()> {
        self.disk.do_event(Event::Sync { file: self.file });
        Ok(())
    }

    fn len(&self) -> u64 {
        self.disk.lock().0[self.file].len() as u64
    }
}

impl StorageBackend for SimulatedFile {
    fn len(&self) -> std::io::Result<u64> {
        Ok(Storage::len(self))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let disk = self.disk.lock();
        let from = index(offset);
        let found = disk.0[self.file].get(from..from + out.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.disk.do_event(Event::SetLen { file: self.file, len: index(len) });
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        Storage::sync(self)
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.write_at(data, offset)
    }
}

/// splitmix64: enough to choose what a disk forgets.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

/// How much of what was not synced is on the disk.
#[derive(Clone, Copy, Debug)]
pub(super) enum Survival {
    Nothing,
    Everything,
    /// Each write, and each sector of it, or not; each change of length or not.
    Some,
}

/// What a power cut right before `events[moment]` may leave.
pub(super) fn crashed(
    start: &Files,
    events: &[Event],
    moment: usize,
    survival: Survival,
    random: &mut Random,
) -> Files {
    let mut files = start.clone();
    let mut unsynced: Vec<&Event> = Vec::new();
    for event in &events[..moment] {
        match event {
            Event::Write { .. } | Event::SetLen { .. } => unsynced.push(event),
            Event::Sync { file } => {
                let (done, rest) = unsynced.into_iter().partition(|event| of_file(event) == Some(*file));
                let done: Vec<&Event> = done;
                done.into_iter().for_each(|event| apply(&mut files, event));
                unsynced = rest;
            }
            Event::Acknowledged(_) => {}
        }
    }
    for event in unsynced {
        match survival {
            Survival::Nothing => {}
            Survival::Everything => apply(&mut files, event),
            Survival::Some => survive_in_part(&mut files, event, random),
        }
    }
    files
}

fn survive_in_part(files: &mut Files, event: &Event, random: &mut Random) {
    match event {
        Event::Write { file, offset, bytes } if random.coin() => {
            let whole = random.coin();
            for (number, sector) in bytes.chunks(SECTOR_LEN).enumerate() {
                if whole || random.coin() {
                    let (file, offset) = (*file, offset + number * SECTOR_LEN);
                    apply(files, &Event::Write { file, offset, bytes: sector.to_vec() });
                }
            }
        }
        Event::SetLen { .. } if random.coin() => apply(files, event),
        _ => {}
    }
}

fn of_file(event: &Event) -> Option<usize> {
    match event {
        Event::Write { file, .. } | Event::SetLen { file, .. } | Event::Sync { file } => Some(*file),
        Event::Acknowledged(_) => None,
    }
}

pub(super) fn open(disk: &Disk) -> Result<StoreParts, super::StoreError> {
    let name = Path::new("simulated");
    let database = Builder::new()
        .set_check_integrity_on_open(true)
        .create_with_backend(disk.file(DATABASE))
        .map_err(super::StoreError::database)?;
    let (epoch, applied) = check_versions(&database, name)?;
    let log = Replay::new(name, disk.segments(), epoch, applied)?.apply(&database)?;
    Store::start(database, log, epoch, &Handle::current())
}

/// An empty store, durable.
pub(super) fn new_files() -> Files {
    let disk = Disk::with([Vec::new(), vec![0; SEGMENT_BLOCKS * BLOCK_LEN], vec![0; SEGMENT_BLOCKS * BLOCK_LEN]]);
    let database = Builder::new().create_with_backend(disk.file(DATABASE)).expect("a new database");
    initialise(&database).expect("initialised");
    drop(database);
    disk.lock().0.clone()
}

/// Lets clients send, and records what the disk saw and when they were answered.
fn record_a_busy_hour(disk: &Disk) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let StoreParts { store, mut published, ended, .. } = open(disk).expect("opens");
        tokio::spawn(async move { while published.recv().await.is_some() {} });
        let (conversation_id, sender) = make_conversation(&store).await;
        let sends = (0..SENDERS).map(|number| {
            let (store, sender, disk) = (store.clone(), sender.clone(), disk.clone());
            tokio::spawn(async move {
                for count in 0..MESSAGES / SENDERS {
                    send(&store, &disk, &sender, conversation_id, number, count).await;
                }
            })
        });
        for send in sends.collect::<Vec<_>>() {
            send.await.expect("a sender's end");
        }
        store.stop().await;
        ended.await.expect("told").expect("a clean end");
    });
}

pub(super) async fn make_conversation(store: &Store) -> (ConversationId, Account) {
    let mut accounts = Vec::new();
    for name in ["anna", "ben"] {
        let username = Username::new(name).expect("a name");
        let add = AccountAdd::by_machine(username, String::new());
        accounts.push(store.write(add).await.expect("stored").expect("not refused").into_inner());
    }
    let open = DirectOpen { account_id: accounts[0].account_id, peer_id: accounts[1].account_id };
    let conversation = store.write(open).await.expect("stored").expect("not refused").into_inner();
    (conversation.0, accounts.remove(0).account())
}

async fn send(
    store: &Store,
    disk: &Disk,
    sender: &Account,
    conversation_id: ConversationId,
    number: usize,
    count: usize,
) {
    let client_msg_id = ClientMsgId::new(format!("{number}-{count}")).expect("short");
    let append = MessageAppend {
        sender: sender.account_id,
        origin: Origin(0),
        conversation_id,
        client_msg_id: client_msg_id.clone(),
        body: NewBody::text("x".repeat((count * 911) % 9000 + 1)),
        reply_to: None,
        mentions: None,
    };
    store.write(append).await.expect("stored").expect("not refused");
    disk.do_event(Event::Acknowledged(client_msg_id));
}

/// Opens a disk as a restart does, and reads all messages that it has.
pub(super) fn recover(files: Files) -> Result<Vec<Message>, String> {
    let disk = Disk::with(files);
    let name = Path::new("simulated");
    let database = Builder::new()
        .set_check_integrity_on_open(true)
        .create_with_backend(disk.file(DATABASE))
        .map_err(|error| error.to_string())?;
    let (epoch, applied) = check_versions(&database, name).map_err(|error| error.to_string())?;
    let replay = Replay::new(name, disk.segments(), epoch, applied).map_err(|error| error.to_string())?;
    replay.apply(&database).map_err(|error| error.to_string())?;
    messages(&database).map_err(|error| error.to_string())
}

fn messages(database: &Database) -> Result<Vec<Message>, redb::Error> {
    let txn = database.begin_read()?;
    let mut messages = Vec::new();
    for entry in txn.open_table(LOG)?.iter()?.skip(TOLD) {
        let stored = entry?.1;
        let (_, frame) = split_stored(stored.value()).expect("each record has an audience");
        messages.push(decode_message(frame).map_err(|error| redb::Error::Corrupted(error.0))?);
    }
    Ok(messages)
}

/// Every acknowledged message once, and no hole in the order.
pub(super) fn check(found: &[Message], events: &[Event]) -> Result<(), String> {
    let mut by_id = BTreeMap::new();
    for (number, message) in found.iter().enumerate() {
        if message.seq.0 != number as u64 + 1 || message.message_id.0 != (TOLD + number) as u64 + 1 {
            return Err(format!("message {} has seq {}", number + 1, message.seq));
        }
        let id = message.client_msg_id.as_ref().expect("clients sent all of them").as_str();
        if by_id.insert(id, message).is_some() {
            return Err(format!("{id} is there twice"));
        }
    }
    for event in events {
        let Event::Acknowledged(id) = event else { continue };
        if !by_id.contains_key(id.as_str()) {
            return Err(format!("{} was acknowledged and is lost ({} are there)", id.as_str(), found.len()));
        }
    }
    Ok(())
}

/// Of the environment or fresh; printed, so that a run can be repeated.
pub(super) fn seed() -> u64 {
    let seed = number_from("POSTHOUSE_TEST_SEED").unwrap_or_else(|| getrandom::u64().expect("random numbers"));
    println!("POSTHOUSE_TEST_SEED={seed}");
    seed
}

pub fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged() {
    let seed = seed();
    let partial = number_from("POSTHOUSE_TEST_CRASHES").unwrap_or(1);
    let mut random = Random(seed);
    let start = new_files();
    let disk = Disk::with(start.clone());
    record_a_busy_hour(&disk);
    let events = disk.lock().1.clone();
    let recycled = events.iter().filter(|event| matches!(event, Event::Write { file, offset: 0, .. } if *file > 0));
    assert!(recycled.count() > 2, "the log was never recycled");

    let mut rebuilt = 0;
    for moment in 0..=events.len() {
        let partially = (0..partial).map(|_| Survival::Some);
        for survival in [Survival::Nothing, Survival::Everything].into_iter().chain(partially) {
            let files = crashed(&start, &events, moment, survival, &mut random);
            let result = recover(files).and_then(|found| check(&found, &events[..moment]));
            if let Err(reason) = result {
                panic!("cut before event {moment} of {}, {survival:?}: {reason}", events.len());
            }
            rebuilt += 1;
        }
    }
    println!("{rebuilt} of {rebuilt} disks opened with every acknowledged message ({} moments)", events.len() + 1);
}
