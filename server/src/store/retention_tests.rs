//! What a site keeps no longer: what goes with it, and what stays as it was.

use posthouse_protocol::{
    AccountId, ClientMsgId, ConversationId, Mentions, MessageId, NewBody, SendResult, Seq, TimestampMs, Username,
};
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, ReadableTable};

use super::record::Audience;
use super::retention::{self, Erased};
use super::rows::{RowKey, RowTable};
use super::tables::{HOURS, META, ROWS, SENT, Tables};
use super::{
    AccountAdd, DirectOpen, MessageAppend, MessageEdit, MessageReact, Origin, Refusal, RetentionSet, Snapshot, Store,
    StoreParts, Which, Write,
};

const ORIGIN: Origin = Origin(0);

/// Anna and Ben, and what they write to each other.
struct Site {
    folder: tempfile::TempDir,
    store: Store,
    ended: Ended,
    anna: AccountId,
    ben: AccountId,
    conversation_id: ConversationId,
}

/// How an open store ends.
type Ended = tokio::sync::oneshot::Receiver<Result<(), super::StoreError>>;

async fn write<W: Write>(store: &Store, command: W) -> W::Output {
    store.write(command).await.expect("stored").expect("allowed").into_inner()
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (store, ended) = open(folder.path());
        let [mut anna, mut ben] = [AccountId(0); 2];
        for (name, account) in [("anna", &mut anna), ("ben", &mut ben)] {
            let username = Username::new(name).expect("a name");
            *account = write(&store, AccountAdd::by_machine(username, String::new())).await.account_id;
        }
        let (conversation_id, _) = write(&store, DirectOpen { account_id: anna, peer_id: ben }).await;
        Self { folder, store, ended, anna, ben, conversation_id }
    }

    async fn send(&self, name: &str) -> SendResult {
        let mentions = Some(Mentions { accounts: vec![self.ben], all: true });
        let (sender, conversation_id, reply_to) = (self.anna, self.conversation_id, None);
        let client_msg_id = ClientMsgId::new(name).expect("short");
        let body = NewBody::text(name);
        let origin = ORIGIN;
        let append = MessageAppend { sender, origin, conversation_id, client_msg_id, body, reply_to, mentions };
        write(&self.store, append).await
    }

    fn edit(&self, message_id: MessageId, text: &str) -> MessageEdit {
        let (author, conversation_id, body) = (self.anna, self.conversation_id, NewBody::text(text));
        MessageEdit { author, origin: ORIGIN, conversation_id, message_id, body }
    }

    /// Stops, lets the server have run for so many days with these records at the end of these days, and starts
    /// twice: stopping erases what is too old.
    async fn after(mut self, served_days: u64, days: &[(u64, MessageId)]) -> Self {
        self = self.restarted(|database| {
            let txn = database.begin_write().expect("a transaction");
            txn.open_table(META).expect("the table").insert("served_ms", served_days * 86_400_000).expect("written");
            for (day, last) in days {
                txn.open_table(HOURS).expect("the table").insert(day * 24, last.0).expect("written");
            }
            txn.commit().expect("committed");
        });
        self.restarted(|_| {})
    }

    fn restarted(self, meanwhile: impl FnOnce(&Database)) -> Self {
        let Self { folder, store, ended, anna, ben, conversation_id } = self;
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                store.stop().await;
                ended.await.expect("told").expect("a clean end");
            });
        });
        drop(store);
        meanwhile(&Builder::new().open(folder.path().join(super::FILE_NAME)).expect("opens"));
        let (store, ended) = open(folder.path());
        Self { folder, store, ended, anna, ben, conversation_id }
    }

    /// Texts of the messages that Ben sees, and how many he has not read and is mentioned in.
    async fn seen_by_ben(&self) -> (Vec<String>, u64, u64) {
        let (ben, conversation_id) = (self.ben, self.conversation_id);
        let read = move |snapshot: &Snapshot| {
            let history = snapshot.history(ben, conversation_id, Which::Newest, 100)?.expect("a member");
            let state = snapshot.read_state(ben, conversation_id)?.expect("a member");
            let texts = history.messages.iter().map(|message| {
                let message: posthouse_protocol::Message = serde_json::from_str(message.get()).expect("a message");
                message.text().unwrap_or_default().to_owned()
            });
            Ok((texts.collect(), state.unread, state.mentions))
        };
        self.store.read(read).await.expect("read")
    }

    /// How many rows of messages there are: versions, reactions, mentions; and names of sent ones.
    async fn hangs_on_messages(&self) -> (usize, u64) {
        let read = |snapshot: &Snapshot| {
            snapshot.read(|txn| {
                let kinds = [RowTable::Version, RowTable::Reaction, RowTable::Mention].map(|table| table as u8);
                let rows = txn.open_table(ROWS)?;
                let mut count = 0;
                for row in rows.iter()? {
                    count += usize::from(kinds.contains(&row?.0.value().0));
                }
                Ok((count, redb::ReadableTableMetadata::len(&txn.open_table(SENT)?)?))
            })
        };
        self.store.read(read).await.expect("read")
    }
}

fn open(folder: &std::path::Path) -> (Store, Ended) {
    let StoreParts { store, ended, .. } = Store::open(folder).expect("opens");
    (store, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_site_keeps_it_goes_with_all_that_hangs_on_it() {
    let site = Site::new().await;
    let old = [site.send("old one").await, site.send("old two").await];
    write(&site.store, site.edit(old[0].message_id, "old edited")).await;
    let (account_id, conversation_id, message_id) = (site.ben, site.conversation_id, old[0].message_id);
    let (emoji, add) = ("👍".to_owned(), true);
    let react = MessageReact { account_id, origin: ORIGIN, conversation_id, message_id, emoji, add };
    write(&site.store, react).await;
    let floor = MessageId(old[1].message_id.0 + 2);
    let new = site.send("new").await;
    assert_eq!(new.message_id.0, floor.0 + 1, "an edit and a reaction lie between");
    assert_eq!(site.hangs_on_messages().await, (8, 3));

    let site = site.after(40, &[(5, floor), (35, new.message_id)]).await;
    assert_eq!(site.seen_by_ben().await.0.len(), 3, "nothing is set: all is kept");
    assert_eq!(site.store.floor(), 0);
    write(&site.store, RetentionSet { days: Some(30) }).await;
    let site = site.after(41, &[]).await;
    assert_eq!(site.seen_by_ben().await, (vec!["new".to_owned()], 1, 1));
    assert_eq!(site.hangs_on_messages().await, (2, 1));
    assert_eq!(site.store.floor(), floor.0);
    let refused = site.store.write(site.edit(old[0].message_id, "again")).await.expect("decided").map(|_| ());
    assert_eq!(refused, Err(Refusal::NoSuchMessage));
    let ben = site.ben;
    let sync = site.store.read(move |snapshot| snapshot.sync(ben, (snapshot.floor()?, u64::MAX), 100));
    let events = sync.await.expect("read").events;
    assert!(events.iter().all(|event| !event.get().contains("old")), "{events:?}");
    assert_eq!(site.send("next").await.seq, Seq(4), "numbers go on");
    assert_eq!(site.seen_by_ben().await, (vec!["new".to_owned(), "next".to_owned()], 2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_left_a_conversation_goes_on_and_no_number_comes_twice() {
    let site = Site::new().await;
    let last = site.send("old").await;
    write(&site.store, RetentionSet { days: Some(8) }).await;
    let site = site.after(8, &[(0, last.message_id)]).await;
    assert_eq!(site.seen_by_ben().await.0.len(), 1, "it may still be less than eight days old");
    let site = site.after(10, &[]).await;
    assert_eq!(site.seen_by_ben().await, (Vec::new(), 0, 0));
    let next = site.send("new").await;
    assert!(next.message_id > last.message_id && next.seq == Seq(2) && next.ts >= TimestampMs(1));
    assert_eq!(site.seen_by_ben().await, (vec!["new".to_owned()], 1, 1));
    drop(site.folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_stands_for_a_newer_message_outlives_the_older_one() {
    let site = Site::new().await;
    let old = site.send("again").await;
    write(&site.store, RetentionSet { days: Some(30) }).await;
    // Seven days later the name is forgotten, and the message is there.
    let site = site.after(10, &[(0, old.message_id)]).await;
    assert_eq!(site.hangs_on_messages().await.1, 0);
    let new = site.send("again").await;
    assert_ne!(new.message_id, old.message_id);
    let site = site.after(40, &[(35, old.message_id)]).await;
    assert_eq!(site.store.floor(), old.message_id.0);
    assert_eq!(site.send("again").await.message_id, new.message_id, "a retry is recognised");
}

#[test]
fn more_than_one_checkpoint_erases_is_said_to_be_there_until_it_is_gone() {
    let database = Builder::new().create_with_backend(InMemoryBackend::new()).expect("a database");
    let run = |prepare: fn(&mut Tables<'_>) -> Result<(), redb::Error>| {
        let txn = database.begin_write().expect("a transaction");
        let mut tables = Tables::open(&txn).expect("the tables");
        prepare(&mut tables).expect("prepared");
        let erased = retention::run(&mut tables).expect("run");
        drop(tables);
        txn.commit().expect("committed");
        erased
    };
    let last = retention::ERASED_MAX as u64 + 1;
    let first = run(|tables| {
        let key = RowKey::retention();
        tables.rows.insert((key.table, &*key.key), &b"{\"days\":8}"[..])?;
        tables.meta.insert("served_ms", 10 * 86_400_000)?;
        tables.hours.insert(0, retention::ERASED_MAX as u64 + 1)?;
        (1..=retention::ERASED_MAX as u64 + 2).try_for_each(|gseq| tables.store(gseq, Audience::Site, b"{}"))
    });
    assert_eq!(first, Erased { floor: last - 1, has_more: true });
    assert_eq!(run(|_| Ok(())), Erased { floor: last, has_more: false });
    assert_eq!(run(|_| Ok(())), Erased { floor: last, has_more: false });
}
