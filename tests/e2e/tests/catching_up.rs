//! Coming back: events by cursor, a page at a time, with neither a hole nor a double.

use posthouse_client::{Client, Events};
use posthouse_e2e::raw::RawSocket;
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Site, refusal};
use posthouse_protocol::{
    Connect, ConnectParams, ConnectResult, ConversationsGet, ConversationsGetParams, ConversationsList,
    ConversationsListParams, Cursor, Epoch, ErrorCode, Event, History, HistoryParams, Message, PageToken, Push, Pushed,
    Resume, Seq, Sync, SyncParams, Token, limits,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn sync_up_to_the_cursor_of_connect_and_events_from_there_on_are_everything_once() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sender = {
        let stop = std::sync::Arc::clone(&stop);
        tokio::spawn(async move {
            let mut sent = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sent += 1;
                anna.send(conversation, &sent.to_string()).await;
            }
            sent
        })
    };
    // Again and again in the middle of the traffic.
    let mut known = Vec::new();
    let mut resume = None;
    for _ in 0..20 {
        let before = resume.as_ref().map_or_else(|| Cursor("0".to_owned()), |resume: &Resume| resume.cursor.clone());
        let (client, mut events, connected) = connect(&server.url(), &ben.token, resume).await;
        assert_eq!(connected.resumed, !known.is_empty(), "a cursor that the server gave leads on");
        let mut last = connected.cursor.clone();
        known.extend(catch_up(&client, before, 7, Some(&connected.cursor)).await);
        for _ in 0..10 {
            let (cursor, message) = next(&mut events).await;
            known.push(message);
            last = cursor;
        }
        resume = Some(Resume { epoch: connected.epoch, cursor: last });
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = sender.await.expect("the sender's end");
    let (client, _events, connected) = connect(&server.url(), &ben.token, resume.clone()).await;
    known.extend(catch_up(&client, resume.expect("it was there").cursor, 500, Some(&connected.cursor)).await);
    let texts: Vec<_> = known.iter().map(|message| message.text().expect("a text").to_owned()).collect();
    assert_eq!(texts, (1..=sent).map(|number: u32| number.to_string()).collect::<Vec<_>>());
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_cursor_of_this_database_is_resumed_from() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut other = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    anna.send(notes, "one").await;
    // From here on it was handed out, so that who connects stands behind it.
    other.next_message().await;
    let (_, _, first) = connect(&server.url(), &anna.token, None).await;
    assert!(!first.resumed, "nothing was to be resumed");
    let resumed = |epoch: Epoch, cursor: &str| {
        let resume = Some(Resume { epoch, cursor: Cursor(cursor.to_owned()) });
        let (url, token) = (server.url(), anna.token.clone());
        async move { connect(&url, &token, resume).await.2.resumed }
    };
    assert!(resumed(first.epoch, &first.cursor.0).await);
    assert!(resumed(first.epoch, "0").await, "everything is kept");
    for cursor in ["3", "", "-1", "01", "x", "18446744073709551616"] {
        assert!(!resumed(first.epoch, cursor).await, "{cursor} was never given");
    }
    assert!(!resumed(Epoch(first.epoch.0 + 1), &first.cursor.0).await, "another database");
    server.kill();
    let server = site.start();
    let resume = Some(Resume { epoch: first.epoch, cursor: first.cursor.clone() });
    let (_, _, again) = connect(&server.url(), &anna.token, resume).await;
    assert!(again.resumed && again.cursor == first.cursor, "a restart changes nothing: {again:?}");
    assert_ne!(again.session_id, first.session_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sync_cannot_go_on_from_is_refused_and_its_pages_have_their_limit() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let notes = anna.direct("anna").await;
    for text in ["one", "two", "three"] {
        anna.send(notes, text).await;
    }
    let sync = |device: &Device, cursor: &str, limit: Option<u32>| {
        let (client, params) =
            (device.client.clone(), SyncParams { cursor: Cursor(cursor.to_owned()), until: None, limit });
        async move { client.call::<Sync>(&params).await }
    };
    for cursor in ["5", "", "-1", "01", "x", "18446744073709551616"] {
        assert_eq!(refusal(sync(&anna, cursor, None).await).code, ErrorCode::InvalidParams, "{cursor}");
    }
    for limit in [0, limits::SYNC_LIMIT_MAX + 1, u32::MAX] {
        assert_eq!(refusal(sync(&anna, "0", Some(limit)).await).code, ErrorCode::InvalidParams, "{limit}");
    }
    let page = sync(&anna, "0", Some(2)).await.expect("a page");
    assert_eq!((page.events.len(), page.next_cursor.0.as_str(), page.has_more), (2, "2", true));
    // Ben sees nothing of it, and does not look at it again.
    let page = sync(&ben, "0", None).await.expect("a page");
    assert_eq!((page.events.len(), page.next_cursor.0.as_str(), page.has_more), (0, "4", false));
    let mut socket = RawSocket::open(server.address()).await;
    let answer = socket.call(1, "sync", json!({ "cursor": "0" })).await;
    assert_eq!(answer["error"]["code"], "not_connected");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_messages_are_caught_up_with_a_frame_at_a_time() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    // Every character takes six bytes of JSON.
    let text = "\u{1}".repeat(limits::TEXT_LEN_MAX);
    for _ in 0..5 {
        anna.send(notes, &text).await;
    }
    let found = catch_up(&anna.client, Cursor("0".to_owned()), 500, None).await;
    assert_eq!(found.iter().map(|message| message.seq.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(found.iter().all(|message| message.text() == Some(&text)));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_reads_forwards_too_and_one_way_at_a_time() {
    let (_site, _server, anna) = {
        let (site, server) = Site::with_accounts(&["anna"]);
        let anna = Device::log_in(&server.url(), "anna").await;
        (site, server, anna)
    };
    let notes = anna.direct("anna").await;
    for number in 1..=12 {
        anna.send(notes, &number.to_string()).await;
    }
    let page = |before: Option<u64>, after: Option<u64>| {
        let (before, after) = (before.map(Seq), after.map(Seq));
        let params = HistoryParams { conversation_id: notes, before, after, limit: Some(5) };
        let client = anna.client.clone();
        async move { client.call::<History>(&params).await }
    };
    for (after, first, last, has_more) in [(0, 1, 5, true), (5, 6, 10, true), (7, 8, 12, false), (10, 11, 12, false)] {
        let result = page(None, Some(after)).await.expect("a page");
        let seqs: Vec<_> = result.messages.iter().map(|message| message.seq.0).collect();
        assert_eq!((seqs, result.has_more), ((first..=last).collect(), has_more), "after {after}");
    }
    for after in [12, 13, limits::NUMBER_MAX] {
        let result = page(None, Some(after)).await.expect("an empty page");
        assert!(result.messages.is_empty() && !result.has_more, "after {after}");
    }
    assert_eq!(refusal(page(Some(1), Some(1)).await).code, ErrorCode::InvalidParams);
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_are_listed_by_pages_and_had_one_by_one() {
    let names = ["anna", "ben", "carl", "dora", "emil"];
    let (_site, server) = Site::with_accounts(&names);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut made = Vec::new();
    for name in names {
        made.push(anna.direct(name).await);
    }
    // The two in the middle are used, the last one last.
    anna.send(made[1], "hello").await;
    anna.send(made[2], "hello").await;
    let list = |after: Option<PageToken>, limit: Option<u32>| {
        let (client, params) = (anna.client.clone(), ConversationsListParams { after, limit });
        async move { client.call::<ConversationsList>(&params).await }
    };
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = list(after, Some(2)).await.expect("a page");
        listed.extend(page.conversations);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let peers: Vec<_> = listed.iter().map(|one| one.peer.as_ref().expect("direct").username.to_string()).collect();
    assert_eq!(peers, ["carl", "ben", "emil", "dora", "anna"]);
    for limit in [0, limits::PAGE_LIMIT_MAX + 1] {
        assert_eq!(refusal(list(None, Some(limit)).await).code, ErrorCode::InvalidParams);
    }
    for token in ["", "x", "1", "1.", "-1.2"] {
        let refused = refusal(list(Some(PageToken(token.to_owned())), None).await);
        assert_eq!(refused.code, ErrorCode::InvalidParams, "{token}");
    }
    let get = |device: &Device, conversation_id| {
        let (client, params) = (device.client.clone(), ConversationsGetParams { conversation_id });
        async move { client.call::<ConversationsGet>(&params).await }
    };
    assert_eq!(get(&anna, made[2]).await.expect("it is anna's"), listed[0]);
    let ben = Device::log_in(&server.url(), "ben").await;
    assert_eq!(refusal(get(&ben, made[2]).await).code, ErrorCode::NotFound);
}

async fn connect(
    url: &posthouse_client::ServerUrl,
    token: &Token,
    resume: Option<Resume>,
) -> (Client, Events, ConnectResult) {
    let (client, events) = Client::open(url).await.expect("the server answers");
    let params = ConnectParams { token: Some(token.clone()), resume };
    let connected = within("answer to connect", client.call::<Connect>(&params)).await.expect("the token is valid");
    (client, events, connected)
}

/// Everything behind a cursor, up to another one where events go on from there.
async fn catch_up(client: &Client, mut cursor: Cursor, limit: u32, until: Option<&Cursor>) -> Vec<Message> {
    let mut found = Vec::new();
    loop {
        let params = SyncParams { cursor, until: until.cloned(), limit: Some(limit) };
        let page = within("page", client.call::<Sync>(&params)).await.expect("a page");
        for event in &page.events {
            match Push::parse(event.get()) {
                Ok(Pushed::Known(Push { cursor: Some(_), event: Event::Message(message) })) => found.push(message),
                Ok(Pushed::Known(Push { cursor: Some(_), event: Event::ConversationAdded(_) })) => {}
                _ => panic!("a durable message was expected: {event}"),
            }
        }
        cursor = page.next_cursor;
        if !page.has_more {
            return found;
        }
    }
}

async fn next(events: &mut Events) -> (Cursor, Message) {
    match within("message", events.next()).await {
        Some(Push { cursor: Some(cursor), event: Event::Message(message) }) => (cursor, message),
        other => panic!("a message was expected, not {other:?}"),
    }
}
