//! Receipts: gathered in memory, written as one command a flush, and told once a conversation and flush.
//!
//! What is gathered and not yet written is lost with a server that crashes: the client says it again with its next receipt. What
//! moves nothing, as clients say it again after each reconnect, is neither written nor told. Nothing of it looks into the
//! database for a small conversation, unless the account has another device that is to learn what is left to read: a busy box
//! gets a receipt for each few messages, and the database would have to be brought up to date for each look.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthouse_protocol::{
    AccountId, ConversationId, Empty, ErrorBody, Event, Mark, Push, ReadState, Receipt, ReceiptParams, Receipts,
    ReceiptsGet, ReceiptsGetParams, limits,
};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::call::{Caller, Read};
use super::outbox::Class;
use super::{Inner, Router, invalid, refused, store_failed};
use crate::store::{MarksMove, Moved, Origin, Refusal, Snapshot, Step, StoreError};

/// For so long receipts are gathered.
const GATHER: Duration = Duration::from_millis(500);

type Member = (AccountId, ConversationId);

/// What has come since the last flush.
#[derive(Default)]
pub(super) struct Gathered {
    said: Mutex<HashMap<Member, Said>>,
    some: Notify,
    /// Held while what was gathered is written.
    writing: tokio::sync::Mutex<()>,
}

/// How far a member has come since the last flush, and who said so.
#[derive(Clone, Copy)]
struct Said {
    step: Step,
    /// The connection, if it was always the same.
    by: Option<Origin>,
}

impl Gathered {
    /// Keeps the furthest.
    fn add(&self, caller: Caller, params: &ReceiptParams) {
        let (account_id, conversation_id) = (caller.account_id, params.conversation_id);
        let [read, delivered] = [params.read, params.delivered].map(|seq| seq.map_or(0, |seq| seq.0));
        let new = Said { step: Step { account_id, conversation_id, read, delivered }, by: Some(caller.origin) };
        let mut all = self.lock();
        let said = all.entry((account_id, conversation_id)).or_insert(new);
        said.step.read = said.step.read.max(read);
        said.step.delivered = said.step.delivered.max(delivered);
        said.by = said.by.filter(|by| *by == caller.origin);
        drop(all);
        self.some.notify_one();
    }

    /// Whether something of the account's is gathered, or may be on its way into the store.
    fn is_about(&self, account_id: AccountId) -> bool {
        self.writing.try_lock().is_err() || self.lock().keys().any(|(account, _)| *account == account_id)
    }

    fn take(&self) -> Vec<Said> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Member, Said>> {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Receipt {
    type Answer = Empty;

    async fn read(inner: &Inner, caller: Caller, params: ReceiptParams) -> Result<Empty, ErrorBody> {
        if params.read.is_none() && params.delivered.is_none() {
            return Err(invalid("read, delivered: one of them at least"));
        }
        let (account_id, conversation_id) = (caller.account_id, params.conversation_id);
        if !inner.store.members().has(conversation_id, account_id) {
            return Err(refused(Refusal::NoSuchConversation));
        }
        inner.receipts.add(caller, &params);
        Ok(Empty {})
    }
}

impl Read for ReceiptsGet {
    type Answer = Receipts;

    async fn read(inner: &Inner, caller: Caller, params: ReceiptsGetParams) -> Result<Receipts, ErrorBody> {
        inner.count_receipts_of(caller.account_id).await?;
        inner
            .read(move |snapshot| snapshot.receipts(caller.account_id, params.conversation_id))
            .await?
            .ok_or_else(|| refused(Refusal::NoSuchConversation))
    }
}

impl Router {
    /// Writes and tells what was gathered, until the store ends.
    pub async fn flush_receipts(self) {
        loop {
            self.inner.receipts.some.notified().await;
            tokio::time::sleep(GATHER).await;
            if self.write_receipts().await.is_err() {
                return;
            }
        }
    }

    /// The same at once. Behind the last session this is what a stop of the server waits for.
    ///
    /// # Errors
    /// The store's, which has been logged.
    pub async fn write_receipts(&self) -> Result<(), StoreError> {
        let written = self.inner.write_receipts().await;
        written.inspect_err(|error| {
            // That the store has stopped is no failure.
            if !matches!(error, StoreError::Stopped) {
                store_failed(error);
            }
        })
    }
}

impl Inner {
    /// What follows counts what the account has said so far.
    pub(super) async fn count_receipts_of(&self, account_id: AccountId) -> Result<(), ErrorBody> {
        if self.receipts.is_about(account_id) {
            self.write_receipts().await.map_err(|error| store_failed(&error))?;
        }
        Ok(())
    }

    async fn write_receipts(&self) -> Result<(), StoreError> {
        let _until_told = self.receipts.writing.lock().await;
        for said in self.receipts.take().chunks(MarksMove::LEN_MAX) {
            self.flush(said.to_vec()).await?;
        }
        Ok(())
    }

    async fn flush(&self, said: Vec<Said>) -> Result<(), StoreError> {
        let steps = said.iter().map(|said| said.step).collect();
        let Ok(moved) = self.store.write(MarksMove { steps }).await? else { return Ok(()) };
        let moved = moved.into_inner();
        let alone =
            said.iter().filter(|said| said.by.is_some_and(|by| self.registry.is_alone(said.step.account_id, by)));
        let alone = alone.map(|said| said.step.account_id).collect();
        let News { read, large, .. } = news(&moved, &alone);
        let mut events = Vec::new();
        if !read.is_empty() || !large.is_empty() {
            events = self.store.read(move |snapshot| looked_up(snapshot, read, large)).await?;
        }
        // Somebody may have left since it was written.
        let moved: Vec<Moved> = moved.into_iter().filter_map(|moved| self.still(moved)).collect();
        events.extend(news(&moved, &alone).events);
        for (recipients, class, event) in events {
            let frame = serde_json::to_string(&Push { cursor: None, event }).expect("events have string keys");
            self.registry.deliver_beside(&recipients, &Utf8Bytes::from(frame), class);
        }
        Ok(())
    }

    fn still(&self, mut moved: Moved) -> Option<Moved> {
        moved.members = self.store.members().still(moved.conversation_id, &moved.members);
        moved.members.binary_search(&moved.mark.account_id).is_ok().then_some(moved)
    }
}

type Told = (Arc<[AccountId]>, Class, Event);

/// What is to be told.
#[derive(Default)]
struct News {
    /// What is known already.
    events: Vec<Told>,
    /// Who has messages left to read, which have to be counted.
    read: Vec<Member>,
    /// Conversations that are told only how many have come how far.
    large: BTreeMap<ConversationId, Arc<[AccountId]>>,
}

/// `alone` are those whose only connection knows, for it has said so.
fn news(moved: &[Moved], alone: &HashSet<AccountId>) -> News {
    let mut news = News::default();
    let mut small: BTreeMap<ConversationId, (Arc<[AccountId]>, Vec<Mark>)> = BTreeMap::new();
    for Moved { conversation_id, mark, has_read, last, members } in moved {
        let (conversation_id, members) = (*conversation_id, Arc::clone(members));
        let has_others = !alone.contains(&mark.account_id);
        if *has_read && has_others && mark.read == *last {
            let state = ReadState { conversation_id, read: mark.read, last_seq: *last, unread: 0, mentions: 0 };
            news.events.push(read_elsewhere(mark.account_id, state));
        } else if *has_read && has_others {
            news.read.push((mark.account_id, conversation_id));
        }
        if members.len() > limits::RECEIPT_MEMBERS_MAX {
            news.large.insert(conversation_id, members);
        } else {
            small.entry(conversation_id).or_insert((members, Vec::new())).1.push(*mark);
        }
    }
    for (conversation_id, (members, mut marks)) in small {
        marks.sort_unstable_by_key(|mark| mark.account_id);
        let receipts = Receipts { conversation_id, marks, counts: None };
        news.events.push((members, Class::Lossy, Event::Receipts(receipts)));
    }
    news
}

/// A device that misses it shows too much as unread for as long as nothing else is read: it has to know that it missed something.
fn read_elsewhere(account_id: AccountId, state: ReadState) -> Told {
    ([account_id].into(), Class::Durable, Event::ReadState(state))
}

/// The rest of it, which only the database knows.
fn looked_up(
    snapshot: &Snapshot,
    read: Vec<Member>,
    large: BTreeMap<ConversationId, Arc<[AccountId]>>,
) -> Result<Vec<Told>, StoreError> {
    let mut events = Vec::new();
    for (account_id, conversation_id) in read {
        let Some(state) = snapshot.read_state(account_id, conversation_id)? else { continue };
        events.push(read_elsewhere(account_id, state));
    }
    for (conversation_id, members) in large {
        let receipts = snapshot.receipts_of(conversation_id, &members, &[])?;
        events.push((members, Class::Lossy, Event::Receipts(receipts)));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::{ClientMsgId, DeviceId, NewBody, Pushed, Seq, Username, close};

    use super::*;
    use crate::router::outbox;
    use crate::router::outbox::{Outbox, OutboxSender};
    use crate::store::{AccountAdd, DirectOpen, MessageAppend, Origin, Store, StoreParts};

    /// A conversation of two with messages in it, of which nobody is told.
    struct Site {
        router: Router,
        conversation_id: ConversationId,
        ben: AccountId,
        _folder: tempfile::TempDir,
    }

    impl Site {
        async fn with_messages(count: u64) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let StoreParts { store, published, last_gseq, .. } = Store::open(folder.path()).expect("opens");
            let _forwarded = published.forwarded();
            let mut accounts = Vec::new();
            for name in ["anna", "ben"] {
                let add = AccountAdd::by_machine(Username::new(name).expect("a name"), String::new());
                accounts.push(store.write(add).await.expect("stored").expect("ok").into_inner().account_id);
            }
            let (anna, ben) = (accounts[0], accounts[1]);
            let open = DirectOpen { account_id: anna, peer_id: ben };
            let conversation_id = store.write(open).await.expect("stored").expect("ok").into_inner().0;
            for number in 0..count {
                let append = MessageAppend {
                    sender: anna,
                    origin: Origin(1),
                    conversation_id,
                    client_msg_id: ClientMsgId::new(number.to_string()).expect("short"),
                    body: NewBody::text("hello"),
                    reply_to: None,
                    mentions: None,
                };
                store.write(append).await.expect("stored").expect("ok");
            }
            let router = Router::new(store, last_gseq);
            Self { router, conversation_id, ben, _folder: folder }
        }

        /// A connection of Ben's.
        fn connection(&self, number: u64) -> (OutboxSender, Outbox) {
            let (sender, outbox) = outbox();
            self.router.inner.registry.add(self.ben, DeviceId(number), Origin(number), sender.clone());
            (sender, outbox)
        }

        async fn ben_reads(&self, read: u64) {
            let step = Step { account_id: self.ben, conversation_id: self.conversation_id, read, delivered: read };
            self.router.inner.flush(vec![Said { step, by: None }]).await.expect("written");
        }
    }

    fn read_state(outbox: &mut Outbox) -> Option<ReadState> {
        match Push::parse(&outbox.next_now()?).expect("an event") {
            Pushed::Known(Push { cursor: None, event: Event::ReadState(state) }) => Some(state),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_read_state_says_up_to_where_it_counts_whatever_its_connection_was_told() {
        let site = Site::with_messages(3).await;
        let (_sender, mut outbox) = site.connection(2);
        site.ben_reads(1).await;
        let (conversation_id, read, last_seq) = (site.conversation_id, Seq(1), Seq(3));
        let state = ReadState { conversation_id, read, last_seq, unread: 2, mentions: 0 };
        assert_eq!(read_state(&mut outbox), Some(state), "none of the messages has come");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_read_state_takes_the_place_of_what_is_lossy_or_ends_the_connection() {
        let site = Site::with_messages(1).await;
        let (hurried, mut hurried_outbox) = site.connection(2);
        let (slow, mut slow_outbox) = site.connection(3);
        for _ in 0..limits::OUTBOX_LEN_MAX {
            hurried.push("typing".into(), Class::Lossy).expect("room");
            slow.push("message".into(), Class::Durable).expect("room");
        }
        site.ben_reads(1).await;
        assert_eq!(read_state(&mut hurried_outbox).expect("it came").read, Seq(1));
        let (code, _) = slow_outbox.next().await.expect_err("it was told too little, and has to know");
        assert_eq!(code, close::SLOW_CONSUMER);
    }
}
