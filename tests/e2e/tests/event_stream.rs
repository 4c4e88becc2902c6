//! The second transport: the same sessions by server-sent events and POST.

use std::time::{Duration, Instant};

use posthouse_client::{Transport, new_client_msg_id};
use posthouse_e2e::http::{self, RawEvents};
use posthouse_e2e::raw::RawSocket;
use posthouse_e2e::terminal::Terminal;
use posthouse_e2e::wait::within;
use posthouse_e2e::{Appliance, Device, PASSWORD, Server, Site};
use posthouse_protocol::appliance::Settings;
use posthouse_protocol::{Event, Push, Send, SendParams, close, limits};
use serde_json::json;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_session_by_events_and_posts_does_what_one_by_websocket_does() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let mut anna = RawEvents::open(server.address()).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert!(anna.head.contains(&format!("{name}: {value}\r\n")), "{}", anna.head);
    }
    let refused = anna.call(1, "conversations.list", json!({})).await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(1), &json!("not_connected")));
    let params = json!({ "username": "anna", "password": PASSWORD, "device": "test" });
    let token = anna.call(2, "login", params).await["result"]["token"].clone();
    let connected = anna.call(3, "connect", json!({ "token": token })).await;
    assert_eq!(connected["result"]["account"]["username"], "anna", "{connected}");
    let again = anna.call(4, "connect", json!({ "token": token })).await;
    assert_eq!(again["error"]["code"], "already_connected");

    let conversation = ben.direct("anna").await;
    let added = anna.next().await.expect("news of the conversation");
    assert_eq!(added.data["event"], "conversation_added");
    let sent = ben.send(conversation, "hello\nanna").await;
    let event = anna.next().await.expect("ben's message");
    assert_eq!((event.name.as_str(), &event.data["event"]), ("", &json!("message")));
    assert_eq!(event.data["data"]["seq"], sent.seq.0);
    let params = json!({ "conversation_id": conversation, "client_msg_id": "a", "body": { "type": "text", "text": "hello ben" } });
    let answer = anna.call(5, "send", params.clone()).await;
    assert_eq!(answer["result"]["seq"], sent.seq.0 + 1);
    assert_eq!(ben.next_message().await.text(), Some("hello ben"));
    assert_eq!(anna.call(6, "send", params).await["result"], answer["result"], "a retry is harmless here, too");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_names_its_last_event_goes_on_behind_it() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let mut events = RawEvents::open(server.address()).await;
    let connected = events.call(1, "connect", json!({ "token": anna.token })).await;
    assert_eq!(connected["result"]["resumed"], false, "it named none");
    has_caught_up(&events, &connected).await;
    anna.send(notes, "one").await;
    let last = events.next().await.expect("a message");
    let id = last.id.expect("what is durable has an id");
    assert_eq!(id, format!("{}-{}", connected["result"]["epoch"], last.data["cursor"].as_str().expect("a cursor")));
    drop(events);
    anna.send(notes, "missed").await;
    for (last_event_id, resumed) in [(id.as_str(), true), ("1-1", false), ("nonsense", false)] {
        let header = format!("Last-Event-ID: {last_event_id}\r\n");
        let events = RawEvents::open_with(server.address(), &header).await;
        let connected = events.call(1, "connect", json!({ "token": anna.token })).await;
        assert_eq!(connected["result"]["resumed"], resumed, "{last_event_id}");
        if resumed {
            let page = events.call(2, "sync", json!({ "cursor": last.data["cursor"] })).await;
            let missed = &page["result"]["events"][0]["data"];
            assert_eq!(missed["body"]["text"], "missed", "{page}");
        }
    }
    drop(site);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_is_cut_off_while_it_catches_up_skips_nothing() {
    const MISSED: usize = 10;
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let mut events = RawEvents::open(server.address()).await;
    let connected = events.call(1, "connect", json!({ "token": anna.token })).await;
    has_caught_up(&events, &connected).await;
    anna.send(notes, "one").await;
    let last = events.next().await.expect("a message");
    drop(events);
    for number in 0..MISSED {
        anna.send(notes, &number.to_string()).await;
    }

    // A browser keeps the last id that it got, and comes back with it by itself.
    let mut id = last.id.expect("it has caught up");
    let mut events = RawEvents::open_with(server.address(), &format!("Last-Event-ID: {id}\r\n")).await;
    let connected = events.call(1, "connect", json!({ "token": anna.token })).await;
    assert_eq!(connected["result"]["resumed"], true);
    let until = connected["result"]["cursor"].clone();
    let page = events.call(2, "sync", json!({ "cursor": last.data["cursor"], "until": until, "limit": 3 })).await;
    assert_eq!(page["result"]["has_more"], true, "{page}");
    anna.send(notes, "live").await;
    id = events.next().await.expect("what is new").id.unwrap_or(id);
    drop(events);

    let mut events = RawEvents::open_with(server.address(), &format!("Last-Event-ID: {id}\r\n")).await;
    let connected = events.call(1, "connect", json!({ "token": anna.token })).await;
    assert_eq!(connected["result"]["resumed"], true);
    let until = connected["result"]["cursor"].clone();
    let (_, cursor) = id.split_once('-').expect("epoch and cursor");
    let page = events.call(2, "sync", json!({ "cursor": cursor, "until": until })).await;
    let missed = page["result"]["events"].as_array().expect("events");
    assert_eq!(missed.len(), MISSED + 1, "{page}");

    // The answer may not have come yet: that it has, only the next request says.
    anna.send(notes, "live").await;
    assert_eq!(events.next().await.expect("what is new").id, None);
    has_caught_up(&events, &connected).await;
    anna.send(notes, "live").await;
    let id = events.next().await.expect("what is new").id.expect("it has caught up");
    let mut events = RawEvents::open_with(server.address(), &format!("Last-Event-ID: {id}\r\n")).await;
    let connected = events.call(1, "connect", json!({ "token": anna.token })).await;
    assert_eq!(connected["result"]["resumed"], true);
    anna.send(notes, "live").await;
    assert!(events.next().await.expect("what is new").id.is_some(), "nothing was missing");
}

/// The client says that it has everything up to where its events begin.
async fn has_caught_up(events: &RawEvents, connected: &serde_json::Value) {
    let begin = &connected["result"]["cursor"];
    let page = events.call(9, "sync", json!({ "cursor": begin, "until": begin })).await;
    assert_eq!((&page["result"]["events"], &page["result"]["has_more"]), (&json!([]), &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_over_when_its_stream_is() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let events = RawEvents::open(server.address()).await;
    let (session, address) = (events.session.clone(), server.address());
    assert_eq!(events.call(1, "ping", json!({})).await, json!({ "id": 1, "result": {} }));
    drop(events);
    let headers = format!("{JSON}Authorization: Bearer {session}\r\n");
    let ended = async {
        while http::post(address, "/api/v1/rpc", &headers, br#"{"id":1,"method":"ping"}"#).await.status != 401 {
            tokio::task::yield_now().await;
        }
    };
    within("end of the session", ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_valid_is_answered_and_the_stream_closes_with_4001() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let mut events = RawEvents::open(server.address()).await;
    let answer = events.call(1, "connect", json!({ "token": "guessed" })).await;
    assert_eq!(answer["error"]["code"], "token_invalid");
    let end = events.next().await.expect("the close");
    assert_eq!((end.name.as_str(), &end.data["code"]), ("close", &json!(close::REAUTHENTICATE)));
    assert_eq!(events.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_streams_when_to_come_back_and_closes_them_with_1012() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let connected = RawEvents::open(server.address()).await;
    connected.call(1, "connect", json!({ "token": anna.token })).await;
    let stranger = RawEvents::open(server.address()).await;
    let stopped = tokio::task::spawn_blocking(move || server.stop());
    for mut events in [connected, stranger] {
        let event = events.next().await.expect("the restart");
        assert_eq!(event.data["event"], "restarting");
        let end = events.next().await.expect("the close");
        assert_eq!((end.name.as_str(), &end.data["code"]), ("close", &json!(close::RESTARTING)));
        assert_eq!(events.next().await, None);
    }
    let stopped = stopped.await.expect("the end");
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    assert!(!stopped.log.contains("did not end in time"), "{}", stopped.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_is_let_go() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let mut lazy = RawEvents::open(server.address()).await;
    lazy.call(1, "connect", json!({ "token": anna.token })).await;
    let text = "x".repeat(limits::TEXT_LEN_MAX);
    let mut sent = 0;
    // Enough to fill what the kernel holds for a connection and the outbox.
    while sent < 900 {
        anna.send(notes, &text).await;
        sent += 1;
    }
    let mut received = 0;
    let end = loop {
        match lazy.next().await {
            Some(event) if event.name == "close" => break Some(event.data["code"].clone()),
            Some(event) => {
                received += 1;
                assert_eq!(event.data["data"]["seq"], received, "no hole in what was delivered");
            }
            None => break None,
        }
    };
    // On a machine so slow that the server gave the writing up before, there is no code to be read.
    assert!(end.is_none_or(|code| code == close::SLOW_CONSUMER), "an unbroken beginning, then the close");
    assert!((1..sent).contains(&received), "the queue was bounded: {received}");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn http_that_is_none_of_ours_is_refused_and_the_session_goes_on() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let address = server.address();
    let events = RawEvents::open(address).await;
    let bearer = format!("Authorization: Bearer {}\r\n", events.session);
    let (ours, ping) = (format!("{JSON}{bearer}"), br#"{"id":1,"method":"ping"}"#.as_slice());
    let too_long = vec![b' '; limits::FRAME_LEN_MAX + 1];
    for (headers, body, status, code) in [
        (JSON.to_owned(), ping, 401, "not_connected"),
        (format!("{JSON}Authorization: Bearer {}\r\n", "0".repeat(64)), ping, 401, "not_connected"),
        (format!("{JSON}Authorization: Basic YTpi\r\n"), ping, 401, "not_connected"),
        (bearer.clone(), ping, 415, "bad_request"),
        (format!("Content-Type: text/plain\r\n{bearer}"), ping, 415, "bad_request"),
        (format!("{ours}Origin: http://evil.example\r\n"), ping, 403, "bad_request"),
        (format!("{ours}Origin: null\r\n"), ping, 403, "bad_request"),
        (ours.clone(), &b"{\"id\":1,\"method\":\"p\xc3\x28\"}"[..], 400, "bad_request"),
        (ours.clone(), &too_long, 413, "bad_request"),
    ] {
        let answer = http::post(address, "/api/v1/rpc", &headers, body).await;
        assert_eq!(answer.status, status, "{headers}: {answer:?}");
        let frame = answer.json();
        assert!(frame["id"].is_null() && frame["error"]["code"] == code, "{headers}: {frame}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    }
    for (request, status) in [
        ("GET /api/v1/rpc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
        ("POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405),
        ("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nOrigin: http://y\r\n\r\n", 403),
        ("GET /api/v1/elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
    ] {
        assert_eq!(http::ask(address, request.as_bytes()).await.status, status, "{request}");
    }
    // What the session itself refuses is answered like on a WebSocket.
    let nested = format!("{{\"id\":1,\"method\":\"ping\",\"params\":{}", "[".repeat(60_000));
    for body in ["", "[]", "[1,\"ping\"]", "[1,\"ping\",{}]", nested.as_str()] {
        let answer = events.post(body.as_bytes()).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (200, &json!("bad_request")), "{body:.20}");
    }
    let origin = format!("{ours}Origin: http://{address}\r\n");
    assert_eq!(http::post(address, "/api/v1/rpc", &origin, ping).await.json(), json!({ "id": 1, "result": {} }));
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_gets_no_websocket() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let address = server.address();
    let upgrade = |origin: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: {origin}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    assert_eq!(http::ask(address, upgrade("http://evil.example").as_bytes()).await.status, 403);
    assert_eq!(http::ask(address, upgrade(&format!("http://{address}")).as_bytes()).await.status, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_or_a_head_that_trickles_is_cut_off() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let address = server.address();
    let events = RawEvents::open(address).await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    let head = format!(
        "POST /api/v1/rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n{JSON}Authorization: Bearer {}\r\n\r\n",
        events.session
    );
    stream.write_all(head.as_bytes()).await.expect("the head is taken");
    let (reading, mut writing) = stream.into_split();
    let trickle = tokio::spawn(async move {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        writing
    });
    let mut slow_head = TcpStream::connect(address).await.expect("the server accepts");
    let head = tokio::spawn(async move {
        for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if slow_head.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let mut reading = BufReader::new(reading);
    let mut status = String::new();
    within("answer", tokio::io::AsyncBufReadExt::read_line(&mut reading, &mut status)).await.expect("an answer");
    assert!(status.starts_with("HTTP/1.1 408 "), "{status}");
    assert!(begun.elapsed() >= Duration::from_secs(limits::HTTP_READ_TIMEOUT_S), "not before its time");
    drop(reading);
    within("end of the slow head", head).await.expect("the task's end");
    trickle.abort();
    assert_eq!(events.call(1, "ping", json!({})).await["result"], json!({}));
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_transports_at_once_see_the_same_conversation() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let mut by_events = RawEvents::open(server.address()).await;
    by_events.call(1, "connect", json!({ "token": anna.token })).await;
    let mut by_socket = RawSocket::open(server.address()).await;
    by_socket.call(1, "connect", json!({ "token": anna.token })).await;
    for number in 1..=20 {
        let params = json!({ "conversation_id": notes, "client_msg_id": number.to_string(), "body": { "type": "text", "text": "x" } });
        let sent = if number % 2 == 0 {
            by_events.call(number, "send", params).await
        } else {
            by_socket.call(number, "send", params).await
        };
        assert_eq!(sent["result"]["seq"], number);
    }
    let mut seqs = Vec::new();
    for _ in 0..20 {
        seqs.push(anna.next_message().await.seq.0);
    }
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
    let mut number = 0;
    while number < 10 {
        let event = by_events.next().await.expect("an event");
        // That there is a conversation may have come to it too, if it was quick to connect.
        if event.data["event"] == "message" {
            assert_eq!(event.data["data"]["seq"], 2 * number + 1, "what it sent itself it has by the answer");
            number += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_library_sends_receives_and_comes_back_after_a_restart_by_event_stream() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let token = Device::log_in(&server.url(), "anna").await.token;
    let mut anna = Device::connect_by(Transport::EventStream, &server.url(), token).await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    // Calls that are made at once are answered in their order.
    let sends: Vec<_> = (0..100)
        .map(|number| {
            let (client, client_msg_id) = (anna.client.clone(), new_client_msg_id());
            let params = SendParams::text(conversation, client_msg_id, format!("{number} 你好"));
            async move { client.call::<Send>(&params).await.expect("the acknowledgement").seq.0 }
        })
        .collect();
    let mut numbers = Vec::new();
    for send in sends.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
        numbers.push(within("acknowledgement", send).await.expect("a sender's end"));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    for expected in 1..=100 {
        assert_eq!(ben.next_message().await.seq.0, expected);
    }
    ben.send(conversation, &"x".repeat(limits::TEXT_LEN_MAX)).await;
    assert_eq!(anna.next_message().await.text().map(str::len), Some(limits::TEXT_LEN_MAX));

    let stopped = tokio::task::spawn_blocking(move || server.stop());
    assert!(matches!(within("event", anna.events.next()).await, Some(Push { event: Event::Restarting(_), .. })));
    assert!(within("end of the events", anna.events.next()).await.is_none());
    stopped.await.expect("the end");
    let server = site.start();
    let mut again = Device::connect_by(Transport::EventStream, &server.url(), anna.token).await;
    let ben = Device::connect(&server.url(), ben.token).await;
    assert_eq!(again.history(conversation).await.len(), 101);
    let sent = ben.send(conversation, "welcome back").await;
    assert_eq!(again.next_message().await.seq, sent.seq);
}

#[test]
fn the_command_works_by_event_stream() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let [anna, ben] = ["anna", "ben"].map(|name| Terminal::new(site.path(name)));
    let url = server.url().to_string();
    for (terminal, name) in [(&anna, "anna"), (&ben, "ben")] {
        let said = terminal
            .run_with_input(&["--transport", "sse", "login", "--server", &url, "--password-stdin", name], PASSWORD);
        assert_eq!(said.ok(), format!("Logged in as {name} at {url}."));
    }
    let listening = ben.start(&["--transport", "sse", "--json", "listen"], "");
    posthouse_e2e::wait::until("message", || {
        anna.run(&["send", "--transport", "sse", "ben", "are you there?"]).ok();
        listening.out.text().contains("are you there?").then_some(())
    });
    assert!(ben.run(&["read", "anna", "--transport", "sse"]).ok().contains("  anna: are you there?"));
    let address = server.address();
    server.stop();
    listening.err.find(|line| line.contains("offline").then_some(())).expect("it says so");
    let _server = Server::start(site.command_at(address), site.admin_socket()).expect("the server starts again");
    anna.run(&["send", "--transport", "sse", "ben", "welcome back"]).ok();
    listening.out.find(|line| line.contains("welcome back").then_some(())).expect("the message");
    listening.interrupt();
    let said = listening.ended();
    assert_eq!((said.code, said.out.matches("welcome back").count()), (Some(0), 1), "{said:?}");
    let said = anna.run(&["--transport", "pigeon", "conversations"]);
    assert!(said.code == Some(2) && said.err.contains("websocket or sse"), "{said:?}");
}

/// PROTOCOL.md's exchanges, each sent as it stands there and compared with what comes.
#[tokio::test(flavor = "multi_thread")]
async fn the_exchanges_in_the_document_are_what_the_server_does() {
    const DOCUMENT: &str = include_str!("../../../PROTOCOL.md");
    /// What stands in the document for a session's secret.
    const SECRET: &str = "5be1…";
    let appliance = Appliance::new();
    let server = appliance.start(&Settings { host_name: Some("posthouse".to_owned()), ..Settings::default() });
    server.add_account("anna");
    let address = server.address();
    let mut events = RawEvents::open(address).await;
    let (mut request, mut shown) = (Vec::new(), 0);
    let mut lines = DOCUMENT.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(sent) = line.strip_prefix('⇒') {
            request.push(sent.trim_start().replace(SECRET, &events.session));
            continue;
        }
        let Some(first) = line.strip_prefix("⇐ ") else { continue };
        let mut expected = vec![first];
        while let Some(more) = lines.peek().and_then(|line| line.strip_prefix('⇐')) {
            expected.push(more.trim_start());
            lines.next();
        }
        shown += 1;
        let asked = std::mem::take(&mut request);
        if asked.first().is_some_and(|line| line.starts_with("GET /api/v1/events ")) {
            assert_eq!(asked[1..], ["Host: posthouse.local", "Accept: text/event-stream"]);
            assert_head(&events.head, &expected[..expected.len() - 3]);
            let opened = json!({ "session": SECRET });
            assert_eq!(expected[expected.len() - 2..], ["event: open", &format!("data: {opened}")]);
        } else if asked.is_empty() {
            let event = events.next().await.expect("an event");
            assert_eq!(expected, [format!("event: {}", event.name), format!("data: {}", event.data)]);
        } else {
            let (head, body) = asked.split_at(asked.iter().position(String::is_empty).expect("a body"));
            let (len, body) = (body[1].len(), &body[1]);
            let head = head.join("\r\n");
            let answer = http::ask(address, format!("{head}\r\nContent-Length: {len}\r\n\r\n{body}").as_bytes()).await;
            let (body, head) = expected.split_last().expect("an answer");
            // What stands in the document for a token.
            let token = answer.header("set-cookie").and_then(|set| set.split(['=', ';']).nth(1)).unwrap_or("no token");
            assert_head(&answer.head.replace(token, "9f2c…"), &head[..head.len() - 1]);
            assert_eq!(String::from_utf8(answer.body).expect("a text").trim_end(), *body);
        }
    }
    assert_eq!(shown, 6, "the document has its exchanges");
}

fn assert_head(head: &str, expected: &[&str]) {
    for line in expected {
        assert!(head.lines().any(|got| got == *line), "{line} is missing in {head}");
    }
}
