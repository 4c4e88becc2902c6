//! Who does not read is let go; nobody waits for them.

use std::time::{Duration, Instant};

use posthouse_client::new_client_msg_id;
use posthouse_e2e::raw::{End, RawSocket};
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Site};
use posthouse_protocol::{ConversationId, Send, SendParams, close, limits};
use serde_json::json;

/// Enough to fill what the kernel holds for a connection (a few MiB) and the outbox.
const FILLING: usize = 700;

/// Comes while the client that was slow reads.
const FURTHER: usize = 150;

/// Sends under way at once.
const PIPELINE: usize = 50;

/// The server gives a write up after this time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_closed_with_4008_and_holds_nobody_up() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    let mut lazy = RawSocket::open_narrow(server.address()).await;
    lazy.call(1, "connect", json!({ "token": ben.token })).await;

    let started = Instant::now();
    // Every send is acknowledged, and ben's other device gets each message, while one does not read.
    let text = "x".repeat(limits::TEXT_LEN_MAX);
    for first in (0..FILLING).step_by(PIPELINE) {
        send_and_receive(&anna, &mut ben, conversation, &text, first).await;
    }
    // Now it reads, while more comes: an unbroken beginning, then the close. What it missed is in the history.
    let reader = tokio::spawn(async move {
        let mut received = 0;
        loop {
            match lazy.next_text().await {
                Ok(event) => {
                    received += 1;
                    assert_eq!(event["data"]["seq"], received, "no hole in what was delivered");
                }
                Err(end) => return (received, end),
            }
        }
    });
    for first in (FILLING..FILLING + FURTHER).step_by(PIPELINE) {
        send_and_receive(&anna, &mut ben, conversation, &text, first).await;
    }
    let (received, end) = within("end of the reader", reader).await.expect("the reader's end");
    // On a machine so slow that the server gave the writing up before, there is no code to be read.
    assert!(end == End::Close(close::SLOW_CONSUMER) || started.elapsed() > WRITE_TIMEOUT, "{end:?}");
    println!("{received} of {} were delivered", FILLING + FURTHER);
    assert!((1..FILLING).contains(&received), "the queue was bounded: {received}");
    assert_eq!(ben.history(conversation).await.len(), FILLING + FURTHER);
    server.assert_undisturbed();
}

/// Sends as many as may be under way at once and waits for their acknowledgements and events.
async fn send_and_receive(
    anna: &Device,
    ben: &mut Device,
    conversation_id: ConversationId,
    text: &str,
    number_before: usize,
) {
    let sends = (0..PIPELINE).map(|_| {
        let (client, client_msg_id, text) = (anna.client.clone(), new_client_msg_id(), text.to_owned());
        let params = SendParams::text(conversation_id, client_msg_id, text);
        tokio::spawn(async move { client.call::<Send>(&params).await.expect("the acknowledgement") })
    });
    for send in sends.collect::<Vec<_>>() {
        within("acknowledgement", send).await.expect("a sender's end");
    }
    for number in number_before..number_before + PIPELINE {
        assert_eq!(usize::try_from(ben.next_message().await.seq.0).expect("it is small"), number + 1);
    }
}
