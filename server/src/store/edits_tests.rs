//! What happens to messages later: who learns of it, and how long one can be recalled.

use posthouse_protocol::{
    AccountId, ClientMsgId, ConversationId, HistoryAccess, Mentions, MessageId, NewBody, SendResult, Title, Username,
};
use redb::Builder;
use tokio::sync::mpsc::UnboundedReceiver;

use super::tables::{HOURS, META};
use super::{
    AccountAdd, Committed, DirectOpen, GroupCreate, GroupSettings, MemberRemove, MembersAdd, MessageAppend,
    MessageEdit, MessageReact, MessageRecall, Origin, Published, Recipients, Refusal, Store, StoreParts, Write,
};

const ORIGIN: Origin = Origin(0);

async fn write<W: Write>(store: &Store, command: W) -> W::Output {
    store.write(command).await.expect("stored").expect("allowed").into_inner()
}

/// Anna, Ben and Carl, and a group of the first two whose history begins with joining.
async fn group(store: &Store) -> ([AccountId; 3], ConversationId) {
    let mut accounts = [AccountId(0); 3];
    for (name, account) in ["anna", "ben", "carl"].into_iter().zip(&mut accounts) {
        let username = Username::new(name).expect("a name");
        *account = write(store, AccountAdd::by_machine(username, String::new())).await.account_id;
    }
    let title = Title::new("Board").expect("a title");
    let settings = GroupSettings { title, announcement_only: false, history: HistoryAccess::FromJoining };
    let create = GroupCreate { owner: accounts[0], settings, members: vec![accounts[1]], client_msg_id: None };
    let conversation_id = write(store, create).await;
    (accounts, conversation_id)
}

async fn send(store: &Store, sender: AccountId, conversation_id: ConversationId, text: &str) -> MessageId {
    let client_msg_id = ClientMsgId::new(text.len().to_string()).expect("short");
    let (body, origin, reply_to, mentions) = (NewBody::text(text), ORIGIN, None, None);
    let append = MessageAppend { sender, origin, conversation_id, client_msg_id, body, reply_to, mentions };
    write(store, append).await.message_id
}

async fn edit(store: &Store, author: AccountId, conversation_id: ConversationId, message_id: MessageId, text: &str) {
    let body = NewBody::text(text);
    write(store, MessageEdit { author, origin: ORIGIN, conversation_id, message_id, body }).await;
}

async fn react(
    store: &Store,
    account_id: AccountId,
    conversation_id: ConversationId,
    message_id: MessageId,
    emoji: &str,
) {
    let (emoji, add) = (emoji.to_owned(), true);
    write(store, MessageReact { account_id, origin: ORIGIN, conversation_id, message_id, emoji, add }).await;
}

/// All that an account's `sync` gives, looking at every record and looking for its own.
async fn synced(store: &Store, account: AccountId) -> String {
    let read = |scan_max| store.read(move |snapshot| snapshot.sync_from(account, (0, u64::MAX), 500, scan_max));
    let mut texts = Vec::new();
    for scan_max in [0, u64::MAX] {
        let events = read(scan_max).await.expect("read").events;
        texts.push(events.iter().map(|event| event.get()).collect::<Vec<_>>().join("\n"));
    }
    assert_eq!(texts[0], texts[1]);
    texts.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_gets_what_was_said_as_it_was_then_and_nothing_of_what_happened_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let StoreParts { store, .. } = Store::open(folder.path()).expect("opens");
    let ([anna, ben, _], board) = group(&store).await;
    let edited = send(&store, anna, board, "as sent").await;
    let recalled = send(&store, anna, board, "a mistake").await;
    let plain = send(&store, ben, board, "never touched").await;
    edit(&store, anna, board, edited, "during the stay").await;
    react(&store, anna, board, edited, "early").await;
    write(&store, MemberRemove { actor: anna, conversation_id: board, member: ben }).await;
    edit(&store, anna, board, edited, "after the stay").await;
    for message in [edited, plain] {
        react(&store, anna, board, message, "late").await;
    }
    write(&store, MessageRecall { by: anna, origin: ORIGIN, conversation_id: board, message_id: recalled }).await;

    let seen = synced(&store, ben).await;
    let first = seen.lines().find(|event| event.contains(r#""event":"message""#) && event.contains("as sent"));
    assert!(!first.expect("the message as it was sent").contains("early"), "{seen}");
    for told in ["during the stay", "early", "never touched", r#""type":"recalled""#] {
        assert_eq!(seen.matches(told).count(), 1, "{told}: {seen}");
    }
    for hidden in ["after the stay", "late", "a mistake", "message_recalled"] {
        assert!(!seen.contains(hidden), "{hidden}: {seen}");
    }
    // Who is there sees how it is now, and who is there again.
    assert!(synced(&store, anna).await.contains("after the stay"));
    write(&store, MembersAdd { actor: anna, conversation_id: board, members: vec![ben] }).await;
    let seen = synced(&store, ben).await;
    let now = seen.lines().find(|event| event.contains(r#""event":"message""#) && event.contains("after the stay"));
    assert!(now.expect("the message as it is").contains("early") && !seen.contains("as sent"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_told_to_those_members_who_see_the_message_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let StoreParts { store, published, ended, .. } = Store::open(folder.path()).expect("opens");
    let mut published = published.forwarded();
    let (people, board) = group(&store).await;
    let [anna, ben, carl] = people;
    let early = send(&store, anna, board, "early").await;
    let add = |members: &[AccountId]| MembersAdd { actor: anna, conversation_id: board, members: members.to_vec() };
    let told =
        async |store: &Store, published: &mut UnboundedReceiver<Committed<Published>>, message_id, text: &str| {
            edit(store, anna, board, message_id, text).await;
            loop {
                let record = published.recv().await.expect("the store serves");
                if String::from_utf8_lossy(&record.frame).contains("message_edited") {
                    let Recipients::Accounts(accounts) = &record.recipients else { panic!("not for everybody") };
                    return accounts.to_vec();
                }
            }
        };
    assert_eq!(told(&store, &mut published, early, "all are there").await, [anna, ben]);
    write(&store, add(&[carl])).await;
    let late = send(&store, anna, board, "late").await;
    assert_eq!(told(&store, &mut published, early, "one came").await, [anna, ben]);
    assert_eq!(told(&store, &mut published, late, "all are there").await, people);
    store.stop().await;
    ended.await.expect("told").expect("a clean end");
    drop((store, published));

    let StoreParts { store, published, .. } = Store::open(folder.path()).expect("opens again");
    let mut published = published.forwarded();
    assert_eq!(told(&store, &mut published, early, "after a restart").await, [anna, ben]);
    assert_eq!(told(&store, &mut published, late, "after a restart").await, people);
    write(&store, MemberRemove { actor: anna, conversation_id: board, member: ben }).await;
    write(&store, add(&[ben])).await;
    assert_eq!(told(&store, &mut published, early, "one came back").await, [anna, ben]);
    assert_eq!(told(&store, &mut published, late, "one came back").await, people);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_can_be_recalled_for_a_day_of_serving_whatever_the_clock_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let StoreParts { store, ended, .. } = Store::open(folder.path()).expect("opens");
    let anna = AccountAdd::by_machine(Username::new("anna").expect("a name"), String::new());
    let anna = store.write(anna).await.expect("stored").expect("made").into_inner().account_id;
    let open = DirectOpen { account_id: anna, peer_id: anna };
    let (conversation_id, _) = store.write(open).await.expect("stored").expect("made").into_inner();
    let mut sent = Vec::new();
    for name in ["old", "new"] {
        let append = MessageAppend {
            sender: anna,
            origin: Origin(0),
            conversation_id,
            client_msg_id: ClientMsgId::new(name).expect("short"),
            body: NewBody::text(name),
            reply_to: None,
            mentions: None,
        };
        sent.push(store.write(append).await.expect("stored").expect("sent").into_inner());
    }
    let [old, new]: [SendResult; 2] = sent.try_into().expect("two");
    store.stop().await;
    ended.await.expect("told").expect("a clean end");
    drop(store);

    // The server has run for 30 hours: the old one was sent in the fourth of them, the new one in the seventh.
    let database = Builder::new().open(folder.path().join(super::FILE_NAME)).expect("opens");
    let txn = database.begin_write().expect("a transaction");
    txn.open_table(META).expect("the table").insert("served_ms", 30 * 3_600_000).expect("written");
    for (hour, last) in [(0, 0), (5, old.message_id.0), (6, new.message_id.0)] {
        txn.open_table(HOURS).expect("the table").insert(hour, last).expect("written");
    }
    txn.commit().expect("committed");
    drop(database);

    let StoreParts { store, .. } = Store::open(folder.path()).expect("opens again");
    let recall = |message_id: MessageId| MessageRecall { by: anna, origin: Origin(0), conversation_id, message_id };
    let refused = store.write(recall(old.message_id)).await.expect("decided").map(|_| ());
    assert_eq!(refused, Err(Refusal::RecallLate));
    let done = store.write(recall(new.message_id)).await.expect("decided").map(|_| ());
    assert_eq!(done, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_stands_for_one_text_with_one_answer_and_those_whom_it_calls() {
    type Said = (String, Option<MessageId>, Option<Mentions>);
    let folder = tempfile::tempdir().expect("a folder");
    let StoreParts { store, .. } = Store::open(folder.path()).expect("opens");
    let ([anna, ben, _], board) = group(&store).await;
    let answered = send(&store, anna, board, "hello").await;
    let try_to = async |name: &str, (text, reply_to, mentions): Said| {
        let (client_msg_id, body) = (ClientMsgId::new(name).expect("short"), NewBody::text(text));
        let conversation_id = board;
        let append =
            MessageAppend { sender: anna, origin: ORIGIN, conversation_id, client_msg_id, body, reply_to, mentions };
        store.write(append).await.expect("stored").map(|sent| sent.message_id)
    };
    // A number behind the text: as an answer, as a mention, as part of the text.
    let text = |number: u64| format!("x{}", number.to_le_bytes().map(char::from).iter().collect::<String>());
    let reply = |number: u64| ("x".to_owned(), Some(MessageId(number)), None);
    let mention = |number: u64| {
        let mentions = Mentions { accounts: vec![AccountId(number)], all: false };
        ("x".to_owned(), None, Some(mentions))
    };
    let all = ("x".to_owned(), None, Some(Mentions { accounts: Vec::new(), all: true }));
    for (name, first, others) in [
        ("reply", reply(answered.0), [mention(answered.0), (text(answered.0), None, None)]),
        ("mention", mention(ben.0), [reply(ben.0), (text(ben.0), None, None)]),
        ("text", (text(ben.0), None, None), [reply(ben.0), mention(ben.0)]),
        ("all", all, [reply(0), (text(0), None, None)]),
    ] {
        let sent = try_to(name, first.clone()).await.expect("sent");
        for other in others {
            assert_eq!(try_to(name, other.clone()).await, Err(Refusal::ClientMsgIdUsed), "{name}: {other:?}");
        }
        edit(&store, anna, board, sent, "something else").await;
        assert_eq!(try_to(name, first.clone()).await, Ok(sent), "{name}");
        let recall = MessageRecall { by: anna, origin: ORIGIN, conversation_id: board, message_id: sent };
        write(&store, recall).await;
        assert_eq!(try_to(name, first).await, Ok(sent), "{name}, recalled");
    }
}
