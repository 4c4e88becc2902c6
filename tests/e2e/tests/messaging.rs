//! What a message goes through: acknowledgement, delivery, history, retries.

use posthouse_client::new_client_msg_id;
use posthouse_e2e::{Device, Site, refusal};
use posthouse_protocol::{ErrorCode, Message, Seq};

/// Texts that a careless server changes: emoji with joiners, Chinese, combining marks in both normal forms,
/// right to left, control characters, line ends, what JSON and HTML escape.
const TEXTS: [&str; 8] = [
    "👩‍👩‍👧‍👦 🏳️‍🌈",
    "你好,世界。驿站传书",
    "e\u{301} \u{e9} Z\u{351}\u{36b}\u{343}",
    "שלום \u{202e}abc\u{202c}",
    " leading and trailing \t",
    "a\r\nb\nc\0d\u{7f}",
    r#"<b>"quoted" & \u0041 'single' \\"#,
    "\u{feff}\u{10ffff}",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_message_reaches_all_other_devices_and_both_histories_unchanged() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let mut others = [
        Device::log_in(&server.url(), "anna").await,
        Device::log_in(&server.url(), "ben").await,
        Device::log_in(&server.url(), "ben").await,
    ];
    let conversation = anna.direct("ben").await;

    let mut sent = Vec::new();
    for text in TEXTS {
        let acknowledged = anna.send(conversation, text).await;
        for device in &mut others {
            let message = device.next_message().await;
            assert_eq!(message.text(), Some(text));
            assert_eq!(message.sender, anna.account);
            assert_eq!((message.seq, message.ts), (acknowledged.seq, acknowledged.ts));
            assert_eq!(message.message_id, acknowledged.message_id);
            assert_eq!(message.conversation_id, conversation);
        }
        sent.push(acknowledged);
    }
    let of_anna = anna.history(conversation).await;
    let of_ben = others[2].history(conversation).await;
    assert_eq!(of_anna, of_ben, "both sides have the same history");
    let kept: Vec<_> =
        of_anna.iter().map(|message| (message.seq, message.ts, message.text().expect("a text"))).collect();
    let acknowledged: Vec<_> = sent.iter().zip(TEXTS).map(|(sent, text)| (sent.seq, sent.ts, text)).collect();
    assert_eq!(kept, acknowledged);
    assert_eq!(seqs(&of_anna), (1..=8).collect::<Vec<_>>());

    // The sending connection has the answers; the only event that it ever gets is the one of ben's reply.
    others[1].send(conversation, "done").await;
    assert_eq!(anna.next_message().await.text(), Some("done"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_oneself_reaches_ones_other_devices_once() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let (anna, mut other) = (Device::log_in(&server.url(), "anna").await, Device::log_in(&server.url(), "anna").await);
    let notes = anna.direct("anna").await;
    anna.send(notes, "milk").await;
    anna.send(notes, "bread").await;
    assert_eq!(other.next_message().await.text(), Some("milk"));
    assert_eq!(other.next_message().await.text(), Some("bread"));
    assert_eq!(anna.history(notes).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gets_the_first_answer_and_delivers_nothing_twice_also_after_a_restart() {
    let (site, mut server) = Site::with_accounts(&["anna", "ben"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    let id = new_client_msg_id();
    let first = anna.try_send(conversation, id.clone(), "once").await.expect("the acknowledgement");
    anna.send(conversation, "between").await;

    for restart in ["none", "clean", "kill"] {
        match restart {
            "none" => {}
            "clean" => {
                server.stop();
                server = site.start();
            }
            _ => {
                server.kill();
                server = site.start();
            }
        }
        if restart != "none" {
            anna = Device::connect(&server.url(), anna.token).await;
            ben = Device::connect(&server.url(), ben.token).await;
        }
        for _ in 0..3 {
            let again = anna.try_send(conversation, id.clone(), "once").await.expect("the same acknowledgement");
            assert_eq!(again, first, "after a restart: {restart}");
        }
        let other_text = refusal(anna.try_send(conversation, id.clone(), "twice").await);
        assert_eq!(other_text.code, ErrorCode::Conflict);
        let notes = anna.direct("anna").await;
        let other_conversation = refusal(anna.try_send(notes, id.clone(), "once").await);
        assert_eq!(other_conversation.code, ErrorCode::Conflict);
        assert!(anna.history(notes).await.is_empty(), "what was refused changed nothing");
        // The same name from another sender is another message.
        ben.try_send(notes_of(&ben).await, id.clone(), "mine").await.expect("names are the sender's own");

        let marker = format!("after {restart}");
        anna.send(conversation, &marker).await;
        if restart == "none" {
            assert_eq!(ben.next_message().await.text(), Some("once"));
            assert_eq!(ben.next_message().await.text(), Some("between"));
        }
        assert_eq!(ben.next_message().await.text(), Some(marker.as_str()), "retries are not delivered");
    }
    let texts: Vec<_> = anna.history(conversation).await.iter().map(text).collect();
    assert_eq!(texts, ["once", "between", "after none", "after clean", "after kill"]);
}

async fn notes_of(device: &Device) -> posthouse_protocol::ConversationId {
    device.direct(device.account.username.as_str()).await
}

fn text(message: &Message) -> String {
    message.text().expect("a text").to_owned()
}

fn seqs(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| message.seq).map(|Seq(seq)| seq).collect()
}
