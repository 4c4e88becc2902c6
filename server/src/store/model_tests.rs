//! The store against a model of it: random changes, then every way of reading, for every account.
//!
//! `POSTHOUSE_TEST_SEED` repeats a run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use posthouse_protocol::{
    AccountId, Body, ClientMsgId, ConversationId, Event, MemberRole, Message, NewBody, Restarting, Seq, TimestampMs,
    Username,
};
use serde_json::Value;

#[path = "model_edits.rs"]
mod edits;

use super::command::{Decision, Group, NewRecord};
use super::crash_tests::{Random, seed};
use super::membership::{Interval, MembershipRow};
use super::model_groups::GroupModel;
use super::record::{Audience, Origin, Place, Recipients, decode_json, decode_message};
use super::rows::{Row, RowKey};
use super::{AccountAdd, DirectOpen, MessageAppend, Refusal, Store, StoreParts, Which, Write};

pub const ACCOUNTS: u64 = 4;
const STEPS: u64 = 400;
const ERASED: &str = "erased";

/// A record that is no message.
struct Note(Audience);

impl Write for Note {
    type Output = u64;

    fn decide(self, group: &mut Group<'_>) -> Decision<u64> {
        let place = match self.0 {
            Audience::Conversation(id) => {
                let conversation = group.state.conversations.get(&id).expect("it exists");
                Place { seq: conversation.last_seq, counted: conversation.last_counted, is_message: false }
            }
            Audience::Account(_) | Audience::Site => Place::default(),
        };
        let (recipients, ts) = (Recipients::Everybody, TimestampMs(0));
        let record = NewRecord { audience: self.0, place, ts, sent: None, recipients, origin: None };
        Ok(Ok(group.record(record, |gseq| Event::Restarting(Restarting { retry_ms: gseq }))))
    }
}

/// Lets an account leave a conversation, or come back.
struct Toggle(AccountId, ConversationId);

impl Write for Toggle {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let Self(account, conversation) = self;
        let key = RowKey::membership(account, conversation);
        let stored = group.overlay.row(&key)?.expect("it was a member once");
        let mut row: MembershipRow = decode_json("a membership", &stored)?;
        let next = group.next_gseq();
        let state = group.state.conversations.get_mut(&conversation).expect("it exists");
        let mut members = state.members.to_vec();
        if row.is_current() {
            row.intervals.last_mut().expect("one").to = Some(next - 1);
            members.retain(|member| *member != account);
            state.sight.exit(account);
        } else {
            row.intervals.push(Interval { from: next, to: None });
            state.sight.enter(account, &row);
            members.push(account);
            members.sort_unstable();
        }
        state.members = members.into();
        group.put(Row::json(key, &row));
        Ok(Ok(()))
    }
}

/// Takes a message's content away.
struct Erase(u64);

impl Write for Erase {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let (audience, frame) = group.overlay.record(self.0)?.expect("it was stored");
        let message = decode_message(&frame)?;
        let body = Body::Text { text: ERASED.to_owned() };
        group.rewrite(self.0, audience, Event::Message(Message { body, ..message }));
        Ok(Ok(()))
    }
}

/// Writes a row and takes it away again.
struct ComeAndGo;

impl Write for ComeAndGo {
    type Output = (Option<Bytes>, Option<Bytes>);

    fn decide(self, group: &mut Group<'_>) -> Decision<Self::Output> {
        let key = RowKey::device(&[7; 32]);
        group.put(Row::plain(key.clone(), *b"{}"));
        let there = group.overlay.row(&key)?;
        group.remove(key.clone());
        Ok(Ok((there, group.overlay.row(&key)?)))
    }
}

pub struct Known {
    pub gseq: u64,
    pub audience: Audience,
    /// Number and text, of a message; for one of the system what happened.
    pub message: Option<(u64, String)>,
}

impl Known {
    /// Whether somebody wrote it.
    fn is_sent(&self) -> bool {
        const HAPPENED: [&str; 6] = ["created", "added", "removed", "left", "role", "updated"];
        self.message.as_ref().is_some_and(|(_, text)| !HAPPENED.contains(&text.as_str()))
    }
}

/// Who, where, from which record to which.
pub type Membership = (AccountId, ConversationId, Vec<(u64, u64)>);

pub struct Model {
    pub records: Vec<Known>,
    /// Account, conversation → which records it may see.
    pub members: Vec<Membership>,
    pub conversations: Vec<ConversationId>,
    pub groups: HashMap<ConversationId, GroupModel>,
    /// Of what people sent and nobody else changed.
    authors: HashMap<u64, AccountId>,
    /// Record → the message that it is about.
    about: HashMap<u64, u64>,
    /// What messages said that were edited later.
    as_sent: HashMap<u64, String>,
    /// Message, emoji, account.
    reactions: BTreeSet<(u64, String, AccountId)>,
}

impl Model {
    pub fn last(&self) -> u64 {
        self.records.last().map_or(0, |record| record.gseq)
    }

    pub fn intervals(&mut self, account: AccountId, conversation: ConversationId) -> Option<&mut Vec<(u64, u64)>> {
        self.members.iter_mut().find(|(a, c, _)| (*a, *c) == (account, conversation)).map(|(.., intervals)| intervals)
    }

    pub fn is_member(&self, account: AccountId, conversation: ConversationId) -> bool {
        let is_open = |intervals: &[(u64, u64)]| intervals.last().is_some_and(|(_, to)| *to == u64::MAX);
        self.members.iter().any(|(a, c, intervals)| (*a, *c) == (account, conversation) && is_open(intervals))
    }

    /// Whether an account may send.
    fn check_sender(&self, account: AccountId, conversation: ConversationId) -> Result<(), Refusal> {
        let is_for_admins = self.groups.get(&conversation).is_some_and(|group| group.settings.announcement_only);
        if !self.is_member(account, conversation) {
            Err(Refusal::NoSuchConversation)
        } else if is_for_admins && self.info(account, conversation).is_some_and(|info| info.role == MemberRole::Member)
        {
            Err(Refusal::NotAllowed)
        } else {
            Ok(())
        }
    }

    fn sees(&self, account: AccountId, record: &Known) -> bool {
        let about =
            self.about.get(&record.gseq).and_then(|message| self.records.iter().find(|one| one.gseq == *message));
        self.covers(account, record) && about.is_none_or(|message| self.covers(account, message))
    }

    fn covers(&self, account: AccountId, record: &Known) -> bool {
        match record.audience {
            Audience::Site => true,
            Audience::Account(owner) => owner == account,
            Audience::Conversation(conversation) => self.members.iter().any(|(a, c, intervals)| {
                (*a, *c) == (account, conversation)
                    && intervals.iter().any(|(from, to)| (*from..=*to).contains(&record.gseq))
            }),
        }
    }

    /// Number and text of a message as `sync` tells them: who has left gets it as it was sent.
    fn told(&self, account: AccountId, record: &Known) -> Option<(u64, String)> {
        let (seq, text) = record.message.clone()?;
        let has_left = matches!(record.audience, Audience::Conversation(id) if !self.is_member(account, id));
        let as_sent = self.as_sent.get(&record.gseq).filter(|_| has_left).cloned();
        Some((seq, as_sent.unwrap_or(text)))
    }

    /// What each message has under it: emoji and how many accounts.
    fn counts(&self, message: u64) -> Vec<(String, u64)> {
        let mut counts: Vec<(String, u64)> = Vec::new();
        for (_, emoji, _) in self.reactions.iter().filter(|(of, ..)| *of == message) {
            match counts.iter_mut().find(|(known, _)| known == emoji) {
                Some((_, count)) => *count += 1,
                None => counts.push((emoji.clone(), 1)),
            }
        }
        counts
    }

    /// Numbers and texts of the messages of a conversation that an account may see.
    fn messages(&self, account: AccountId, conversation: ConversationId) -> Vec<(u64, String)> {
        let of_it = |record: &&Known| record.audience == Audience::Conversation(conversation);
        let seen = self.records.iter().filter(of_it).filter(|record| self.sees(account, record));
        seen.filter_map(|record| record.message.clone()).collect()
    }
}

pub fn pick<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[index(random, of.len())]
}

pub fn index(random: &mut Random, below: usize) -> usize {
    usize::try_from(random.next() % below as u64).expect("it is below a usize")
}

async fn write<W: Write>(store: &Store, command: W) -> W::Output {
    store.write(command).await.expect("stored").expect("not refused").into_inner()
}

async fn people(store: &Store) -> Model {
    for name in ["anna", "ben", "carl", "dora"] {
        let username = Username::new(name).expect("a name");
        write(store, AccountAdd::by_machine(username, String::new())).await;
    }
    let mut model = Model {
        records: Vec::new(),
        members: Vec::new(),
        conversations: Vec::new(),
        groups: HashMap::new(),
        authors: HashMap::new(),
        about: HashMap::new(),
        as_sent: HashMap::new(),
        reactions: BTreeSet::new(),
    };
    for (one, other) in [(1, 2), (1, 3), (2, 3), (1, 1), (3, 4)].map(|(a, b)| (AccountId(a), AccountId(b))) {
        let (conversation, _) = write(store, DirectOpen { account_id: one, peer_id: other }).await;
        model.conversations.push(conversation);
        let from = model.last() + 1;
        for member in if one == other { vec![one] } else { vec![one, other] } {
            model.members.push((member, conversation, vec![(from, u64::MAX)]));
            model.record(Audience::Account(member), None);
        }
    }
    model
}

async fn step(store: &Store, model: &mut Model, random: &mut Random, number: u64) {
    let account = AccountId(1 + random.next() % ACCOUNTS);
    let conversation = pick(random, &model.conversations);
    if random.next().is_multiple_of(4) {
        return edits::step(store, model, account, random).await;
    }
    match random.next() % 14 {
        0..=4 => {
            let text = "x".repeat(index(random, 9) * 1000 + 1);
            let client_msg_id = ClientMsgId::new(number.to_string()).expect("short");
            let (body, origin) = (NewBody::text(&text), Origin(0));
            let append = MessageAppend {
                sender: account,
                origin,
                conversation_id: conversation,
                client_msg_id,
                body,
                reply_to: None,
                mentions: None,
            };
            let sent = store.write(append).await.expect("stored");
            assert_eq!(
                sent.as_ref().map(|_| ()).map_err(|refusal| *refusal),
                model.check_sender(account, conversation)
            );
            let Ok(sent) = sent else { return };
            let audience = Audience::Conversation(conversation);
            model.authors.insert(sent.message_id.0, account);
            model.records.push(Known { gseq: sent.message_id.0, audience, message: Some((sent.seq.0, text)) });
        }
        5 | 6 => {
            let audience =
                pick(random, &[Audience::Site, Audience::Account(account), Audience::Conversation(conversation)]);
            let gseq = write(store, Note(audience)).await;
            model.records.push(Known { gseq, audience, message: None });
        }
        7 if !model.groups.contains_key(&conversation) => {
            let last = model.last();
            let Some(intervals) = model.intervals(account, conversation) else { return };
            match intervals.last_mut() {
                Some((_, to)) if *to == u64::MAX => *to = last,
                _ => intervals.push((last + 1, u64::MAX)),
            }
            write(store, Toggle(account, conversation)).await;
        }
        8 => {
            let mut messages: Vec<&mut Known> = model.records.iter_mut().filter(|record| record.is_sent()).collect();
            if messages.is_empty() {
                return;
            }
            let at = index(random, messages.len());
            let (gseq, message) = (messages[at].gseq, &mut messages[at].message);
            model.authors.remove(&gseq);
            message.as_mut().expect("it is one").1 = ERASED.to_owned();
            write(store, Erase(gseq)).await;
        }
        10.. => model.group_step(store, random).await,
        _ => {
            let (there, gone) = write(store, ComeAndGo).await;
            assert_eq!((there.as_deref(), gone), (Some(&b"{}"[..]), None), "the writer sees what it wrote last");
        }
    }
}

/// What an event says, as the model knows it.
fn read_event(event: &str) -> (u64, Option<(u64, String)>) {
    let event: Value = serde_json::from_str(event).expect("JSON");
    let gseq = event["cursor"].as_str().and_then(|cursor| cursor.parse().ok()).expect("a cursor");
    let text = (event["event"] == "message").then(|| said(&event["data"]["body"]));
    (gseq, text.map(|text| (event["data"]["seq"].as_u64().expect("a seq"), text)))
}

/// What a body says, or what happened; of one that was recalled nothing is left.
fn said(body: &Value) -> String {
    let erased = (body["type"] == "recalled").then_some(ERASED);
    body["text"].as_str().or(body["what"].as_str()).or(erased).expect("it says something").to_owned()
}

/// Reads everything behind a random cursor in pages of random sizes, both ways.
async fn check_sync(store: &Store, model: &Model, random: &mut Random, account: AccountId) {
    let from = random.next() % (model.last() + 1);
    let until = from + random.next() % (model.last() + 2 - from);
    let within = from + 1..=until;
    let expected = model.records.iter().filter(|record| within.contains(&record.gseq) && model.sees(account, record));
    let expected: Vec<_> = expected.map(|record| (record.gseq, model.told(account, record))).collect();
    for scan_max in [0, u64::MAX] {
        let (mut found, mut after) = (Vec::new(), from);
        loop {
            let limit = u32::try_from(1 + random.next() % 40).expect("small");
            let read = store.read(move |snapshot| snapshot.sync_from(account, (after, until), limit, scan_max));
            let page = read.await.expect("a page");
            assert!(page.events.len() <= limit as usize, "no more than were asked for");
            assert!(page.next > after || !page.has_more, "a page leads on");
            found.extend(page.events.iter().map(|event| read_event(event.get())));
            after = page.next;
            if !page.has_more {
                break;
            }
        }
        assert_eq!(after, until.min(model.last()), "the cursor ends at the end, whatever was to be seen");
        assert!(found == expected, "account {account} behind {from}, scanning {scan_max}");
    }
}

async fn check_history(store: &Store, model: &Model, random: &mut Random, account: AccountId) {
    for conversation in &model.conversations {
        let conversation = *conversation;
        let all = model.messages(account, conversation);
        let seq = random.next() % (all.last().map_or(0, |(seq, _)| *seq) + 3);
        let limit = u32::try_from(1 + random.next() % 20).expect("small");
        for which in [Which::Newest, Which::Before(Seq(seq)), Which::After(Seq(seq))] {
            let read = store.read(move |snapshot| snapshot.history(account, conversation, which, limit));
            let page = read.await.expect("read");
            let Some(page) = page else {
                assert!(!model.is_member(account, conversation), "members may read");
                continue;
            };
            assert!(model.is_member(account, conversation), "others may not");
            let found: Vec<(u64, String)> = page.messages.iter().map(|message| read_message(message.get())).collect();
            let (candidates, is_backwards) = match which {
                Which::Newest => (all.clone(), true),
                Which::Before(before) => (all.iter().filter(|(seq, _)| *seq < before.0).cloned().collect(), true),
                Which::After(after) => (all.iter().filter(|(seq, _)| *seq > after.0).cloned().collect(), false),
            };
            let beginning = if is_backwards { candidates.len() - found.len() } else { 0 };
            assert!(found == candidates[beginning..beginning + found.len()], "{account} {conversation} {which:?}");
            assert_eq!(page.has_more, found.len() < candidates.len(), "{account} {conversation} {which:?}");
            for message in &page.messages {
                let message: Message = serde_json::from_str(message.get()).expect("a message");
                let mut counts: Vec<_> = message.reactions.into_iter().map(|one| (one.emoji, one.count)).collect();
                counts.sort();
                assert_eq!(counts, model.counts(message.message_id.0), "{}", message.message_id);
            }
            assert!(found.len() <= limit as usize && (!found.is_empty() || candidates.is_empty()));
        }
    }
}

fn read_message(message: &str) -> (u64, String) {
    let message: Value = serde_json::from_str(message).expect("a message");
    (message["seq"].as_u64().expect("a seq"), said(&message["body"]))
}

/// What each sees of the conversations themselves.
async fn check_members(store: &Store, model: &Model, random: &mut Random, account: AccountId) {
    for conversation in &model.conversations {
        let conversation = *conversation;
        let found = store.read(move |snapshot| snapshot.conversation(account, conversation)).await.expect("read");
        assert_eq!(found.is_some(), model.is_member(account, conversation), "{account} {conversation}");
        assert_eq!(found.and_then(|found| found.group), model.info(account, conversation), "{account} {conversation}");
        let (mut listed, mut after) = (Vec::new(), AccountId(0));
        loop {
            let limit = u32::try_from(1 + random.next() % 3).expect("small");
            let read = store.read(move |snapshot| snapshot.members(account, conversation, after, limit));
            let Some(page) = read.await.expect("read") else {
                assert!(!model.is_member(account, conversation), "members may see them");
                break;
            };
            listed.extend(page.members.iter().map(|member| (member.account.account_id, member.role)));
            match page.next {
                Some(next) => after = AccountId(next.0.parse().expect("an account")),
                None => break,
            }
        }
        if let Some(group) = model.groups.get(&conversation).filter(|_| model.is_member(account, conversation)) {
            let expected: Vec<_> = group.members.iter().map(|(account, (role, _))| (*account, *role)).collect();
            assert_eq!(listed, expected, "{account} {conversation}");
        }
    }
}

async fn check(store: &Store, model: &Model, random: &mut Random) {
    for account in (1..=ACCOUNTS).map(AccountId) {
        check_sync(store, model, random, account).await;
        check_history(store, model, random, account).await;
        check_members(store, model, random, account).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_written_is_read_as_the_model_says_also_after_a_restart() {
    let seed = seed();
    let mut random = Random(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let mut model = None;
    let mut number = 0;
    for _run in 0..3 {
        let StoreParts { store, mut published, ended, last_gseq, .. } = Store::open(folder.path()).expect("opens");
        let received = Arc::new(std::sync::Mutex::new(Vec::new()));
        let receiver = Arc::clone(&received);
        let reader = tokio::spawn(async move {
            while let Some(record) = published.recv().await {
                receiver.lock().expect("no panic").push(record.gseq);
            }
        });
        let model = match &mut model {
            Some(model) => model,
            None => model.insert(people(&store).await),
        };
        check(&store, model, &mut random).await;
        for _ in 0..STEPS / 4 {
            for _ in 0..1 + random.next() % 8 {
                number += 1;
                step(&store, model, &mut random, number).await;
            }
            if random.next().is_multiple_of(8) {
                check(&store, model, &mut random).await;
            }
        }
        check(&store, model, &mut random).await;
        store.stop().await;
        ended.await.expect("told").expect("a clean end");
        reader.await.expect("the reader's end");
        let told: Vec<u64> = received.lock().expect("no panic").clone();
        assert_eq!(told, (last_gseq + 1..=model.last()).collect::<Vec<_>>(), "each record is published once, in order");
    }
}
