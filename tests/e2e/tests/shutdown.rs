//! A stop that a service manager asks for: everyone is told, nothing is left half done.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use posthouse_client::{ClientError, new_client_msg_id};
use posthouse_e2e::raw::{End, FIN, RawSocket, TEXT, frame};
use posthouse_e2e::wait::{BOUND, until, within};
use posthouse_e2e::{Device, Site};
use posthouse_protocol::{ConversationId, Event, Push, Send, SendParams, close, limits};
use serde_json::json;

/// A write that takes longer is stuck. Where it only was slow, the test still holds, for less.
const STUCK_AFTER: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_tells_every_client_when_to_come_back_closes_with_1012_and_exits_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (site, server) = Site::with_accounts(&["anna"]);
        let mut anna = Device::log_in(&server.url(), "anna").await;
        let mut other = RawSocket::open(server.address()).await;
        other.call(1, "connect", json!({ "token": anna.token })).await;
        let stranger = RawSocket::open(server.address()).await;
        server.signal(signal);

        let next = within("event", anna.events.next()).await;
        let Some(Push { cursor: None, event: Event::Restarting(restarting) }) = next else {
            panic!("the client library hears of the restart");
        };
        assert!(restarting.retry_ms <= 1_000, "{restarting:?}");
        for mut socket in [other, stranger] {
            let event = socket.next_text().await.expect("an event");
            assert_eq!(event["event"], "restarting");
            assert_eq!(socket.end().await, End::Close(close::RESTARTING));
        }
        assert!(within("end of the events", anna.events.next()).await.is_none());
        let ended = server.ended();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");

        let server = site.start();
        let anna = Device::connect(&server.url(), anna.token).await;
        anna.send(anna.direct("anna").await, "back again").await;
    }
}

#[test]
fn a_stop_is_clean_from_the_moment_at_which_the_server_can_be_seen() {
    let site = Site::new();
    for _ in 0..10 {
        let child = site.command().stderr(Stdio::null()).spawn().expect("the server's program starts");
        let mut running = Running(child);
        let begun = Instant::now();
        // No pause: what is looked for lasts less than a millisecond.
        while !site.admin_socket().exists() {
            assert!(begun.elapsed() < BOUND, "the server did not make its administration socket");
            std::thread::yield_now();
        }
        let id = Pid::from_raw(running.0.id().try_into().expect("process ids are positive"));
        kill(id, Signal::SIGTERM).expect("the process is this test's own and not reaped yet");
        let status = until("end of the server", || running.0.try_wait().expect("it is this test's child"));
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

/// A process that is killed when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_under_way_at_sigterm_are_answered_or_not_stored_as_acknowledged() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let mut sends = Vec::new();
    for number in 0..200 {
        let client = anna.client.clone();
        let (client_msg_id, text) = (new_client_msg_id(), format!("{number}"));
        sends.push(tokio::spawn(async move {
            let params = SendParams::text(notes, client_msg_id, &text);
            let result = client.call::<Send>(&params).await;
            (params, text, result)
        }));
    }
    anna.send(notes, "first").await;
    let ended = tokio::task::spawn_blocking(move || server.stop()).await.expect("the end");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");

    let server = site.start();
    let again = Device::connect(&server.url(), anna.token).await;
    let history = again.history(notes).await;
    for send in sends {
        let (params, text, result) = within("outcome", send).await.expect("a sender's end");
        let kept = history.iter().find(|message| message.client_msg_id.as_ref() == Some(&params.client_msg_id));
        match result {
            Ok(result) => {
                let kept = kept.expect("it was acknowledged");
                assert_eq!((kept.seq, kept.ts, kept.text()), (result.seq, result.ts, Some(text.as_str())));
            }
            Err(ClientError::Refused(error)) => assert!(error.retryable && kept.is_none(), "{error:?}"),
            Err(ClientError::Disconnected(_)) => {
                // Undecided for the client: the retry decides, and stores it once.
                let result = again.try_send(notes, params.client_msg_id.clone(), &text).await;
                let result = result.expect("the acknowledgement");
                assert!(kept.is_none_or(|kept| kept.seq == result.seq));
            }
            Err(other) => panic!("{other}"),
        }
    }
    let history = again.history(notes).await;
    assert_eq!(history.len(), 201, "each text is there once");
    assert!(history.iter().zip(1..).all(|(message, seq)| message.seq.0 == seq));
}

/// Asks for much more than it reads, until the server can't write to it any more.
async fn stall(socket: &mut RawSocket, conversation: ConversationId) {
    // Padding fills the way to the server soon after it stops reading, which it does when it can't write.
    let ask = json!({ "id": 2, "method": "history", "params": { "conversation_id": conversation } }).to_string();
    let ask = frame(FIN | TEXT, format!("{ask:60000}").as_bytes());
    while let Ok(written) = tokio::time::timeout(STUCK_AFTER, socket.write(&ask)).await {
        written.expect("the server waits for a slow reader");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_answer_the_goodbye_hold_no_stop_up() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    // One is silent, one has asked for much more than it reads, one has never spoken.
    let mut silent = RawSocket::open(server.address()).await;
    silent.call(1, "connect", json!({ "token": anna.token })).await;
    let mut greedy = RawSocket::open_narrow(server.address()).await;
    greedy.call(1, "connect", json!({ "token": anna.token })).await;
    for _ in 0..8 {
        anna.send(notes, &"x".repeat(limits::TEXT_LEN_MAX)).await;
    }
    stall(&mut greedy, notes).await;
    let _mute = tokio::net::TcpStream::connect(server.address()).await.expect("the server accepts");

    let ended = tokio::task::spawn_blocking(move || server.stop()).await.expect("the end");
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let server = site.start();
    let anna = Device::connect(&server.url(), anna.token).await;
    assert_eq!(anna.history(notes).await.len(), 8);
}

/// Clients that a stop has to tell.
const CROWD: usize = 1_000;

/// What the server promises, from the signal to its end.
const STOP_BOUND: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_within_its_bound_whoever_is_connected() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    for _ in 0..8 {
        anna.send(notes, &"x".repeat(limits::TEXT_LEN_MAX)).await;
    }
    let (address, token) = (server.address(), anna.token.clone());
    // Some read nothing and have much to come, some answer nothing, all others are as clients are.
    let (mut stalled, mut silent, mut crowd) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..CROWD {
        let mut socket =
            if number < 5 { RawSocket::open_narrow(address).await } else { RawSocket::open(address).await };
        socket.call(1, "connect", json!({ "token": token })).await;
        match number {
            0..5 => {
                stall(&mut socket, notes).await;
                stalled.push(socket);
            }
            5..25 => silent.push(socket),
            _ => crowd.push(tokio::spawn(async move {
                let told = socket.next_text().await.expect("an event");
                assert_eq!(socket.end().await, End::Close(close::RESTARTING));
                told["data"]["retry_ms"].as_u64().expect("a number")
            })),
        }
    }
    let begun = Instant::now();
    let ended = tokio::task::spawn_blocking(move || server.stop()).await.expect("the end");
    let took = begun.elapsed();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let mut retries = Vec::new();
    for client in crowd {
        retries.push(within("a client's end", client).await.expect("it was told"));
    }
    assert!(ended.log.contains(" stopped took_ms="), "the database was closed: {}", ended.log);
    println!("{CROWD} clients, 5 of them stalled and 20 silent: stopped after {} ms", took.as_millis());
    assert!(took < STOP_BOUND, "{took:?}");
    let most = retries.iter().max().expect("some").to_owned();
    assert!((250..500).contains(&most), "a thousand come back within half a second: {most} ms");

    let begun = Instant::now();
    let server = site.start();
    println!("the next one serves after {} ms", begun.elapsed().as_millis());
    assert_eq!(Device::connect(&server.url(), token).await.history(notes).await.len(), 8);
}
