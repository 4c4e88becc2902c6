//! Damaged groups behind a sound checksum, as a defect or a later version would write them: the decoding of the log's entries
//! and of the frames in them, and a start that finds them.
//!
//! What can be read says exactly what its bytes say: writing it again gives the same ones. What can't is refused with a
//! line that says so. A start ends with a store that can be read or with such a line, never with a panic.

use std::path::Path;
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use posthouse_protocol::{AccountId, ClientMsgId, HistoryAccess, NewBody, Title, Username};
use redb::Builder;

use super::codec::{decode, encode};
use super::crash_tests::{DATABASE, Disk, new_files};
use super::database::check_versions;
use super::record::{Entry, Record, Rewrite, decode_message, raw_data, raw_event};
use super::rows::RowKey;
use super::stepped::{Files, Stepped};
use super::wal::Log;
use super::{AccountAdd, DeviceAdd, DirectOpen, GroupCreate, GroupSettings, MessageAppend, Origin, Store, StoreError};
use crate::fuzzing::{Change, changes, damaged, fuzz};

#[derive(Debug, Arbitrary)]
struct Input {
    group: u8,
    #[arbitrary(with = changes)]
    changes: Vec<Change>,
}

#[test]
fn what_is_read_of_a_damaged_group_is_what_it_says() {
    fuzz(|input: &Input| {
        let payload = input.payload();
        let Ok(entries) = decode(payload.clone()) else { return };
        let mut again = Vec::new();
        entries.iter().for_each(|entry| encode(entry, &mut again));
        assert_eq!(again, payload, "another group reads the same: {entries:?}");
        for entry in &entries {
            if let Entry::Record(Record { frame, .. }) | Entry::Rewrite(Rewrite { frame, .. }) = entry {
                check_frame(frame);
            }
        }
    });
}

/// What goes to clients is what stands there.
fn check_frame(frame: &[u8]) {
    let event = raw_event(frame).ok();
    if let Some(event) = &event {
        assert_eq!(event.get().as_bytes(), frame.trim_ascii(), "an event says what is stored");
    }
    if let Ok(data) = raw_data(frame) {
        let is_part = frame.windows(data.get().len()).any(|window| window == data.get().as_bytes());
        assert!(is_part, "{} is no part of {frame:?}", data.get());
    }
    assert!(decode_message(frame).is_err() || event.is_some(), "a message that is no event: {frame:?}");
}

#[test]
fn a_start_over_a_damaged_group_serves_or_says_why_not() {
    fuzz(|input: &Input| {
        let (files, groups) = recorded();
        let mut groups = groups.clone();
        let number = input.number(groups.len());
        groups[number] = input.payload();
        match Stepped::open(with_groups(files, &groups)) {
            Ok((stepped, _outcomes)) => read_everything(&stepped.store),
            Err(error) => assert!(matches!(error, StoreError::Corrupt { .. } | StoreError::Content(_)), "{error}"),
        }
    });
}

impl Input {
    fn number(&self, groups: usize) -> usize {
        usize::from(self.group) % groups
    }

    fn payload(&self) -> Vec<u8> {
        let groups = &recorded().1;
        damaged(&groups[self.number(groups.len())], &self.changes)
    }
}

/// An empty store, and the groups with which it became one with accounts, devices and messages.
fn recorded() -> &'static (Files, Vec<Vec<u8>>) {
    static RECORDED: OnceLock<(Files, Vec<Vec<u8>>)> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let full = Disk::with(Stepped::files(|store| async move { found(&store).await }));
        let database = Builder::new().create_with_backend(full.file(DATABASE)).expect("opens");
        let (epoch, _) = check_versions(&database, Path::new("full")).expect("sound");
        let (_, frames) = Log::open(full.segments(), epoch, 0).expect("sound");
        let mut groups: Vec<Vec<u8>> = frames.into_iter().map(|frame| frame.payload).collect();
        groups.push(rare_entries(&groups));
        (new_files(), groups)
    })
}

/// A group of the kinds that founding does not write.
fn rare_entries(groups: &[Vec<u8>]) -> Vec<u8> {
    let entries = groups.iter().flat_map(|group| decode(group.clone()).expect("sound"));
    let rewrites = entries.filter_map(|entry| match entry {
        Entry::Record(Record { gseq, audience, frame, .. }) => Some(Entry::Rewrite(Rewrite { gseq, audience, frame })),
        _ => None,
    });
    let mut payload = Vec::new();
    let removed = Entry::RowRemoved(RowKey::username("nobody"));
    rewrites.take(1).chain([removed]).for_each(|entry| encode(&entry, &mut payload));
    payload
}

async fn found(store: &Store) {
    for (name, account) in [("anna", 1), ("ben", 2)] {
        let add = AccountAdd::by_machine(Username::new(name).expect("a name"), String::new());
        store.write(add).await.expect("stored").expect("not refused");
        let add = DeviceAdd {
            account_id: AccountId(account),
            password_hash: String::new(),
            token_hash: [7; 32],
            name: name.to_owned(),
        };
        store.write(add).await.expect("stored").expect("not refused");
    }
    let open = DirectOpen { account_id: AccountId(1), peer_id: AccountId(2) };
    let conversation_id = store.write(open).await.expect("stored").expect("not refused").into_inner().0;
    let title = Title::new("Board").expect("a title");
    let settings = GroupSettings { title, announcement_only: false, history: HistoryAccess::All };
    let create = GroupCreate { owner: AccountId(1), settings, members: vec![AccountId(2)], client_msg_id: None };
    store.write(create).await.expect("stored").expect("not refused");
    for (sender, name) in [(1, "one"), (2, "two"), (1, "three")] {
        let append = MessageAppend {
            sender: AccountId(sender),
            origin: Origin(0),
            conversation_id,
            client_msg_id: ClientMsgId::new(name).expect("short"),
            body: NewBody::text(format!("{name}, 你好")),
            reply_to: None,
            mentions: None,
        };
        store.write(append).await.expect("stored").expect("not refused");
    }
}

fn with_groups(files: &Files, groups: &[Vec<u8>]) -> Files {
    let disk = Disk::with(files.clone());
    let database = Builder::new().create_with_backend(disk.file(DATABASE)).expect("opens");
    let (epoch, applied) = check_versions(&database, Path::new("new")).expect("sound");
    let (mut log, _) = Log::open(disk.segments(), epoch, applied).expect("sound");
    drop(database);
    log.restart();
    for group in groups {
        // A group that outgrew the log can't have been written.
        if log.has_room(group.len()) {
            log.append(group).expect("appended");
        }
    }
    disk.lock().0.clone()
}

/// Rows that make no sense are errors, too.
fn read_everything(store: &Store) {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().expect("a runtime");
    for account in 1..=2 {
        let account = AccountId(account);
        let read = runtime.block_on(store.read(move |snapshot| {
            let page = snapshot.sync(account, (0, u64::MAX), 100)?;
            let list = snapshot.conversations(account, None, 100)?;
            Ok((page.events.len(), list.map_or(0, |list| list.conversations.len())))
        }));
        // A reader that panicked is told as a store that stopped.
        assert!(!matches!(read, Err(StoreError::Stopped)), "a reader panicked");
    }
}
