//! More than the box can hold is refused with a clear answer, and those who are there notice nothing.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use posthouse_client::Transport;
use posthouse_e2e::http::{self, Answer};
use posthouse_e2e::raw::{FIN, RawSocket, TEXT, frame};
use posthouse_e2e::wait::within;
use posthouse_e2e::wire::{TRANSPORTS, Wire};
use posthouse_e2e::{Device, PASSWORD, Server, Site};
use posthouse_protocol::{Event, limits};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Descriptors of a server that is to run out of them.
const DESCRIPTORS: u64 = 64;

#[tokio::test(flavor = "multi_thread")]
async fn past_the_last_place_newcomers_are_told_when_to_come_back_and_a_free_place_is_given_away() {
    let (_site, server) = site_with(&["--connections-max", "6"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let other = Device::connect(&server.url(), anna.token.clone()).await;
    // The log-in's own connection may still be about to leave.
    let guests = fill(server.address()).await;
    for _ in 0..20 {
        let answer = health(server.address()).await;
        let wait: u64 = answer.header("retry-after").expect("a time to wait").parse().expect("seconds");
        assert!(answer.status == 503 && (2..=9).contains(&wait), "{answer:?}");
    }
    other.send(notes, "we are fine").await;
    assert_eq!(anna.next_message().await.text(), Some("we are fine"));
    drop(guests);
    within("free place", freed(server.address())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_being_told_a_number_the_server_keeps_descriptors_for_itself() {
    let (_site, server) = with_few_descriptors(&[]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let guests = fill(server.address()).await;
    assert!(guests.len() > 8, "{}", guests.len());
    // A password's thread, a message on the disk and what reads it again work while all places are taken.
    anna.send(anna.direct("anna").await, "still here").await;
    assert_eq!(anna.history(anna.direct("anna").await).await.len(), 1);
    drop(guests);
    within("free place", freed(server.address())).await;
    let log = server.log().text();
    assert!(!log.contains("can be accepted"), "it never came to that: {log}");
    anna = Device::connect(&server.url(), anna.token).await;
    anna.send(anna.direct("anna").await, "and back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_out_of_descriptors_waits_says_so_once_and_recovers() {
    let (_site, server) = with_few_descriptors(&["--connections-max", "1000"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let other = Device::connect(&server.url(), anna.token.clone()).await;
    let mut guests = Vec::new();
    for _ in 0..DESCRIPTORS {
        // The kernel completes the connection; whether the server took it is another matter.
        guests.push(TcpStream::connect(server.address()).await.expect("the kernel's queue has room"));
    }
    let failed = |line: &str| line.contains("no connection can be accepted").then_some(());
    server.log().find(failed).expect("the server says what is wrong");
    for number in 1..=20 {
        assert_eq!(other.send(notes, "we are fine").await.seq.0, number);
        assert_eq!(anna.next_message().await.seq.0, number);
    }
    drop(guests);
    let late = Device::connect(&server.url(), anna.token.clone()).await;
    assert_eq!(late.history(notes).await.len(), 20);
    let over = async {
        while !server.log().text().contains("accepted again") {
            assert_eq!(health(server.address()).await.status, 200);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("word that it is over", over).await;
    let log = server.log().text();
    assert_eq!(log.matches("no connection can be accepted").count(), 1, "{log}");
    assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_behind_turns_newcomers_away_until_it_is_calm_again() {
    let (_site, server) = site_with(&[]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    // Stopped, it can't wake in time, as on a box that has too much to do.
    server.signal(Signal::SIGSTOP);
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.signal(Signal::SIGCONT);
    server.log().find(|line| line.contains("too busy").then_some(())).expect("it notices");
    let answer = health(server.address()).await;
    assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
    anna.send(notes, "who is here stays here").await;
    server.log().find(|line| line.contains("calm again").then_some(())).expect("it calms down");
    assert_eq!(health(server.address()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_bounded_and_only_for_the_name_that_they_were_tried_with() {
    let (_site, server) = site_with(&[]);
    let mut socket = RawSocket::open(server.address()).await;
    let login = |name: &str, password: &str| json!({ "username": name, "password": password, "device": "test" });
    for number in 0..u64::from(limits::LOGIN_FAILURES_BURST) {
        let answer = socket.call(number, "login", login("anna", "wrong horse")).await;
        assert_eq!(answer["error"]["code"], "login_failed", "the {number}th");
    }
    for password in ["wrong horse", PASSWORD] {
        let answer = socket.call(50, "login", login("anna", password)).await;
        let error = &answer["error"];
        assert!(error["code"] == "rate_limited" && error["retryable"] == true, "{answer}");
        let wait = error["retry_after_ms"].as_u64().expect("a time to wait");
        assert!((1..=1_000 * limits::LOGIN_FAILURE_INTERVAL_S).contains(&wait), "{wait}");
    }
    let answer = socket.call(51, "login", login("ben", PASSWORD)).await;
    assert!(answer["result"]["token"].is_string(), "{answer}");
    let answer = socket.call(52, "login", login("nobody", "wrong horse")).await;
    assert_eq!(answer["error"]["code"], "login_failed", "names that don't exist are counted alike");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_renames_itself_without_end_is_stopped_and_may_do_all_else() {
    let (_site, server) = site_with(&[]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let mut socket = RawSocket::open(server.address()).await;
    socket.call(0, "connect", json!({ "token": anna.token })).await;
    let most = u64::from(limits::PROFILE_CHANGES_BURST);
    for number in 1..=most {
        let answer = socket.call(number, "accounts.update", json!({ "display_name": format!("Anna {number}") })).await;
        assert_eq!(answer["result"]["display_name"], format!("Anna {number}"), "{answer}");
        assert!(matches!(ben.next_event().await, Event::AccountUpdated(_)), "everybody is told");
    }
    let answer = socket.call(90, "accounts.update", json!({ "display_name": "Anna once more" })).await;
    assert!(
        answer["error"]["code"] == "rate_limited" && answer["error"]["retry_after_ms"].as_u64() > Some(0),
        "{answer}"
    );
    assert_eq!(socket.call(91, "accounts.me", json!({})).await["result"]["display_name"], format!("Anna {most}"));
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_asks_without_end_is_slowed_and_others_are_not() {
    let (_site, server) = site_with(&["--requests-per-s", "1"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let mut greedy = RawSocket::open(server.address()).await;
    greedy.call(0, "connect", json!({ "token": anna.token })).await;
    let count = u64::from(limits::ACCOUNT_REQUESTS_BURST) + 50;
    let pings = (1..=count).map(|id| frame(FIN | TEXT, json!({ "id": id, "method": "ping" }).to_string().as_bytes()));
    greedy.write(&pings.flatten().collect::<Vec<_>>()).await.expect("the requests are taken");
    let (mut refused, mut answered) = (0, std::collections::BTreeSet::new());
    for _ in 1..=count {
        let answer = greedy.next_text().await.expect("an answer to each");
        assert!(answered.insert(answer["id"].as_u64().expect("an id")), "each is answered once: {answer}");
        if let Some(error) = answer.get("error") {
            assert!(error["code"] == "rate_limited" && error["retry_after_ms"].as_u64() > Some(0), "{error}");
            refused += 1;
        }
    }
    assert!((30..=50).contains(&refused), "{refused} of {count}");
    // The account's other devices share its bucket; other accounts have their own.
    ben.send(ben.direct("ben").await, "hello").await;
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_came_too_soon_is_overtaken_by_none_of_those_sent_behind_it() {
    const SENDS: u64 = 500;
    // So many that while the messages come there would be room for some of them.
    let (_site, server) = site_with(&["--requests-per-s", "1000"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let mut greedy = RawSocket::open(server.address()).await;
    greedy.call(0, "connect", json!({ "token": anna.token })).await;
    let text = |request: serde_json::Value| frame(FIN | TEXT, request.to_string().as_bytes());
    let params = |name: u64| {
        let body = json!({ "type": "text", "text": "one of many" });
        json!({ "conversation_id": notes, "client_msg_id": name.to_string(), "body": body })
    };
    let pings = u64::from(limits::ACCOUNT_REQUESTS_BURST) + 1_000;
    let pings = (0..pings).map(|number| text(json!({ "id": SENDS + number, "method": "ping" })));
    let sends = (0..SENDS).map(|name| text(json!({ "id": name, "method": "send", "params": params(name) })));
    let requests: Vec<_> = pings.chain(sends).collect();
    greedy.write(&requests.concat()).await.expect("the requests are taken");
    let mut accepted = std::collections::BTreeSet::new();
    for _ in &requests {
        let answer = greedy.next_text().await.expect("an answer to each");
        let id = answer["id"].as_u64().expect("an id");
        if id < SENDS && answer.get("result").is_some() {
            accepted.insert(id);
        }
    }
    let first = accepted.len() as u64;
    assert!(first < SENDS && accepted.iter().copied().eq(0..first), "behind one that was refused: {accepted:?}");
    for (place, name) in (1..).zip(first..first + 3) {
        let answer = greedy.call(name, "send", params(name)).await;
        assert_eq!(answer["result"]["seq"], first + place, "once it comes again: {answer}");
    }
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_used_again_before_its_answer_is_answered_each_time() {
    let (_site, server) = site_with(&[]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    for (transport, first) in TRANSPORTS.into_iter().zip([1, 3]) {
        let mut wire = Wire::open(transport, server.address()).await;
        wire.call(1, "connect", json!({ "token": anna.token })).await;
        let send = |name: u64| {
            let body = json!({ "type": "text", "text": "twice" });
            let params = json!({ "conversation_id": notes, "client_msg_id": name.to_string(), "body": body });
            json!({ "id": 7, "method": "send", "params": params }).to_string()
        };
        let answers = wire.ask_at_once(&[send(first), send(first + 1)]).await;
        assert!(answers.iter().all(|answer| answer["id"] == 7), "{transport:?}: {answers:?}");
        let mut seqs: Vec<_> = answers.iter().map(|answer| answer["result"]["seq"].as_u64()).collect();
        if transport == Transport::EventStream {
            // Nobody says which of two POSTs on connections of their own comes first.
            seqs.sort_unstable();
        }
        assert_eq!(seqs, [Some(first), Some(first + 1)], "{transport:?}");
    }
    assert_eq!(anna.history(notes).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn huge_arrays_and_deep_values_are_refused_and_cost_nobody_anything() {
    let (_site, server) = site_with(&[]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let huge = |item: &str| format!("[{}]", vec![item; 100_000 / (item.len() + 1)].join(","));
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let deep_object = format!("{}1{}", r#"{"a":"#.repeat(15_000), "}".repeat(15_000));
    let text = r#"{"type":"text","text":"a"}"#;
    let send = |more: &str| format!(r#"{{"conversation_id":{notes},"client_msg_id":"a",{more}}}"#);
    let bad = [
        // As long as a frame can hold: too many of what may be there, and arrays where there is none to be.
        ("send", send(&format!(r#""body":{text},"mentions":{{"accounts":{}}}"#, huge("1")))),
        ("conversations.create", format!(r#"{{"title":"Crowd","members":{}}}"#, huge(r#""ben""#))),
        ("send", send(&format!(r#""body":{}"#, huge("0")))),
        ("send", huge("0")),
        ("history", format!(r#"{{"conversation_id":{notes},"limit":{}}}"#, huge("0"))),
        ("ping", format!(r#"{{"x":{}}}"#, huge("[]"))),
        // As deep as one can hold, and a little deeper than some reader goes.
        ("send", send(&format!(r#""body":{text},"mentions":{{"accounts":{}}}"#, deep(60_000)))),
        ("send", send(&format!(r#""body":{text},"mentions":{deep_object}"#))),
        ("send", send(&format!(r#""body":{deep_object}"#))),
        ("send", send(&format!(r#""body":{text},"reply_to":{}"#, deep(128)))),
        ("history", format!(r#"{{"conversation_id":{}}}"#, deep(60_000))),
        ("ping", format!(r#"{{"x":{}}}"#, deep(60_000))),
        ("ping", deep(60_000)),
    ];
    for transport in TRANSPORTS {
        let mut wire = Wire::open(transport, server.address()).await;
        wire.call(1, "connect", json!({ "token": anna.token })).await;
        for (method, params) in &bad {
            let answer = wire.ask(&format!(r#"{{"id":2,"method":"{method}","params":{params}}}"#)).await;
            let code = &answer["error"]["code"];
            assert!(answer["id"] == 2 && code == "invalid_params", "{transport:?} {method} {params:.90}: {answer}");
        }
        // What is no request has no id, however deep it is; what stands beside a request is passed over.
        for (text, id, code) in [
            (deep(60_000), json!(null), json!("bad_request")),
            ("[".repeat(120_000), json!(null), json!("bad_request")),
            (format!(r#"{{"id":{},"method":"ping"}}"#, deep(60_000)), json!(null), json!("bad_request")),
            (format!(r#"{{"id":3,"method":"ping","beside":{}}}"#, deep(60_000)), json!(3), json!(null)),
        ] {
            let answer = wire.ask(&text).await;
            assert!(answer["id"] == id && answer["error"]["code"] == code, "{transport:?} {text:.60}: {answer}");
        }
        assert_eq!(wire.call(4, "ping", json!({})).await["result"], json!({}));
    }
    assert!(anna.history(notes).await.is_empty(), "nothing came of it");
    server.assert_undisturbed();
}

/// A site with anna and ben, and a server with these further arguments.
fn site_with(arguments: &[&str]) -> (Site, Server) {
    let site = Site::new();
    let mut command = site.command();
    command.args(arguments);
    started(site, command)
}

/// The same with few descriptors.
fn with_few_descriptors(arguments: &[&str]) -> (Site, Server) {
    let site = Site::new();
    let plain = site.command();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" \"$@\"")]);
    command.arg(plain.get_program()).args(plain.get_args()).args(arguments);
    for (variable, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    started(site, command)
}

fn started(site: Site, command: Command) -> (Site, Server) {
    let server = Server::start(command, site.admin_socket()).expect("the server starts");
    for name in ["anna", "ben"] {
        server.add_account(name);
    }
    (site, server)
}

/// Connections that ask nothing, until there is no place any more.
async fn fill(address: SocketAddr) -> Vec<TcpStream> {
    let mut guests = Vec::new();
    loop {
        let mut guest = TcpStream::connect(address).await.expect("the server accepts");
        let mut first = [0; 12];
        match tokio::time::timeout(Duration::from_millis(150), guest.read_exact(&mut first)).await {
            Ok(_) => {
                assert_eq!(&first, b"HTTP/1.1 503", "who is turned away is told so");
                return guests;
            }
            Err(_) => guests.push(guest),
        }
    }
}

async fn freed(address: SocketAddr) {
    while health(address).await.status != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn health(address: SocketAddr) -> Answer {
    http::ask(address, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await
}
