//! How long a message can be recalled.

use posthouse_protocol::{ClientMsgId, MessageId, NewBody, SendResult, Username};
use redb::Builder;

use super::tables::{HOURS, META};
use super::{AccountAdd, DirectOpen, MessageAppend, MessageRecall, Origin, Refusal, Store, StoreParts};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_can_be_recalled_for_a_day_of_serving_whatever_the_clock_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let StoreParts { store, ended, published, .. } = Store::open(folder.path()).expect("opens");
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
    drop((store, published));

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
