//! Who does not read is let go; nobody waits for them.

use std::time::{Duration, Instant};

use posthouse_e2e::raw::{End, RawSocket};
use posthouse_e2e::{Device, Site};
use posthouse_protocol::{close, limits};
use serde_json::json;

/// Enough to fill what the kernel holds for a connection (a few MiB) and the outbox.
const MESSAGES: u64 = 800;

/// Sends under way at once.
const PIPELINE: u64 = 50;

/// The server gives a write up after this time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_closed_with_4008_and_holds_nobody_up() {
    let site = Site::new();
    let server = site.start();
    server.add_account("anna");
    server.add_account("ben");
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    let mut lazy = RawSocket::open_narrow(server.address()).await;
    lazy.call(1, "connect", json!({ "token": ben.token })).await;

    let started = Instant::now();
    // Every send is acknowledged, and ben's other device gets each message, while one does not read.
    let text = "x".repeat(limits::TEXT_LEN_MAX);
    for first in (0..MESSAGES).step_by(PIPELINE.try_into().expect("it is small")) {
        let sends = (first..first + PIPELINE).map(|_| {
            let (client, text) = (anna.client.clone(), text.clone());
            tokio::spawn(async move {
                let client_msg_id = posthouse_client::new_client_msg_id();
                let params = posthouse_protocol::SendParams { conversation_id: conversation, client_msg_id, text };
                client.call::<posthouse_protocol::Send>(&params).await.expect("the acknowledgement")
            })
        });
        for send in sends.collect::<Vec<_>>() {
            posthouse_e2e::wait::within("acknowledgement", send).await.expect("a sender's end");
        }
        for number in first..first + PIPELINE {
            assert_eq!(ben.next_message().await.seq.0, number + 1);
        }
    }

    // Now it reads: an unbroken beginning, then the close. What it missed is in the history.
    let mut received = 0;
    let end = loop {
        match lazy.next_text().await {
            Ok(event) => {
                received += 1;
                assert_eq!(event["data"]["seq"], received, "no hole in what was delivered");
            }
            Err(end) => break end,
        }
    };
    // On a machine so slow that the server gave the writing up before, there is no code to be read.
    assert!(end == End::Close(close::SLOW_CONSUMER) || started.elapsed() > WRITE_TIMEOUT, "{end:?}");
    assert!(received < MESSAGES, "the queue was bounded");
    let outbox = u64::try_from(limits::OUTBOX_LEN_MAX).expect("a usize fits");
    println!("{received} of {MESSAGES} were delivered, the outbox holds {outbox}");
    assert!(received >= outbox, "what fitted was delivered");
    assert_eq!(u64::try_from(ben.history(conversation).await.len()).expect("a usize fits"), MESSAGES);
    server.assert_undisturbed();
}
