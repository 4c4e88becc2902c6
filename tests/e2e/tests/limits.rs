//! Every limit holds from outside: up to it things work, past it they are refused and nothing else happens.

use posthouse_client::new_client_msg_id;
use posthouse_e2e::raw::{FIN, RawSocket, TEXT, frame};
use posthouse_e2e::{Device, Server, Site, refusal};
use posthouse_protocol::{ConversationId, ErrorCode, History, HistoryParams, Seq, limits};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pipeline_is_answered_and_its_sends_keep_their_order() {
    let (_site, server, mut anna) = anna_alone().await;
    let notes = anna.direct("anna").await;
    let mut socket = RawSocket::open(server.address()).await;
    socket.call(0, "connect", json!({ "token": anna.token })).await;

    // Twice what may be under way, written at once.
    let count = 2 * u64::try_from(limits::REQUESTS_IN_FLIGHT_MAX).expect("a usize fits");
    let mut requests = Vec::new();
    for id in 1..=count {
        let params = json!({ "conversation_id": notes, "client_msg_id": format!("m{id}"), "body": { "type": "text", "text": format!("{id}") } });
        let request = json!({ "id": id, "method": "send", "params": params }).to_string();
        requests.extend(frame(FIN | TEXT, request.as_bytes()));
    }
    socket.write(&requests).await.expect("the requests are taken");
    let mut answered = Vec::new();
    while answered.len() < requests_len(count) {
        let answer = socket.next_text().await.expect("an answer to each request");
        if answer.get("event").is_some() {
            // That the conversation was made: the fan-out may come to it behind the answer.
            continue;
        }
        let (id, seq) = (answer["id"].as_u64().expect("an id"), answer["result"]["seq"].as_u64().expect("a seq"));
        assert_eq!(id, seq, "the order of sending is the order of the conversation");
        answered.push(id);
    }
    answered.sort_unstable();
    assert_eq!(answered, (1..=count).collect::<Vec<_>>(), "each is answered once");
    for expected in 1..=count {
        assert_eq!(anna.next_message().await.text(), Some(expected.to_string().as_str()), "events keep the order");
    }
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_text_is_kept_and_one_byte_more_is_refused() {
    let (_site, server, anna) = anna_alone().await;
    let notes = anna.direct("anna").await;
    let longest = ["x".repeat(limits::TEXT_LEN_MAX), "字".repeat(limits::TEXT_LEN_MAX / 3), "\u{1}".repeat(16 * 1024)];
    for text in &longest {
        anna.send(notes, text).await;
    }
    for bad in ["x".repeat(limits::TEXT_LEN_MAX + 1), "字".repeat(limits::TEXT_LEN_MAX / 3 + 1), String::new()] {
        let error = refusal(anna.try_send(notes, new_client_msg_id(), &bad).await);
        assert_eq!(error.code, ErrorCode::InvalidParams);
        assert!(error.message.contains("text: 1 to 16384 bytes"), "{error}");
    }
    let kept: Vec<_> =
        anna.history(notes).await.iter().map(|message| message.text().expect("a text").to_owned()).collect();
    assert_eq!(kept, longest);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_of_the_longest_texts_can_be_read_to_its_end() {
    let (_site, server, anna) = anna_alone().await;
    let notes = anna.direct("anna").await;
    // Every character takes six bytes of JSON.
    let text = "\u{1}".repeat(limits::TEXT_LEN_MAX);
    for _ in 0..12 {
        anna.send(notes, &text).await;
    }
    let kept = anna.history(notes).await;
    assert_eq!(kept.iter().map(|message| message.seq.0).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
    assert!(kept.iter().all(|message| message.text() == Some(text.as_str())));
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_pages_hold_what_was_asked_for_and_no_more_than_their_limit() {
    let (_site, _server, anna) = anna_alone().await;
    let notes = anna.direct("anna").await;
    for number in 1..=205 {
        anna.send(notes, &number.to_string()).await;
    }
    let page = |before: Option<u64>, limit: Option<u32>| {
        let params = HistoryParams { conversation_id: notes, before: before.map(Seq), after: None, limit };
        let client = anna.client.clone();
        async move { client.call::<History>(&params).await }
    };
    for (before, limit, first, last, has_more) in [
        (None, None, 156, 205, true),
        (None, Some(1), 205, 205, true),
        (None, Some(limits::HISTORY_LIMIT_MAX), 6, 205, true),
        (Some(6), Some(5), 1, 5, false),
        (Some(6), Some(4), 2, 5, true),
        (Some(2), Some(200), 1, 1, false),
        (Some(u64::from(u32::MAX)), Some(3), 203, 205, true),
    ] {
        let result = page(before, limit).await.expect("a page");
        let seqs: Vec<_> = result.messages.iter().map(|message| message.seq.0).collect();
        assert_eq!(seqs, (first..=last).collect::<Vec<_>>(), "before {before:?}, limit {limit:?}");
        assert_eq!(result.has_more, has_more, "before {before:?}, limit {limit:?}");
    }
    for before in [0, 1] {
        let empty = page(Some(before), None).await.expect("an empty page");
        assert!(empty.messages.is_empty() && !empty.has_more, "{empty:?}");
    }
    for limit in [0, limits::HISTORY_LIMIT_MAX + 1, u32::MAX] {
        assert_eq!(refusal(page(None, Some(limit)).await).code, ErrorCode::InvalidParams, "limit {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_that_clients_choose_have_their_limits() {
    let (_site, server, anna) = anna_alone().await;
    let notes = anna.direct("anna").await;
    let mut socket = RawSocket::open(server.address()).await;
    let login = |device: &str| json!({ "username": "anna", "password": posthouse_e2e::PASSWORD, "device": device });
    for (device, accepted) in [("字".repeat(64), true), ("字".repeat(65), false), (String::new(), false)] {
        let answer = socket.call(1, "login", login(&device)).await;
        assert_eq!(answer.get("result").is_some(), accepted, "a device of {} characters", device.chars().count());
    }
    socket.call(2, "connect", json!({ "token": anna.token })).await;
    for (id, accepted) in
        [("a".repeat(64), true), ("a".repeat(65), false), (String::new(), false), ("a\0".to_owned(), false)]
    {
        let params =
            json!({ "conversation_id": notes, "client_msg_id": id, "body": { "type": "text", "text": "hello" } });
        let answer = socket.call(3, "send", params).await;
        assert_eq!(answer.get("result").is_some(), accepted, "a client_msg_id of {} bytes: {answer}", id.len());
    }
    assert_eq!(anna.history(notes).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_log_ins_past_the_limit_is_told_to_wait_while_chat_goes_on() {
    let (_site, server, mut anna) = anna_alone().await;
    let notes = anna.direct("anna").await;
    let other = Device::connect(&server.url(), anna.token.clone()).await;
    let mut crowd = Vec::new();
    for _ in 0..2 {
        let mut socket = RawSocket::open(server.address()).await;
        let params = json!({ "username": "anna", "password": "wrong horse", "device": "test" });
        let requests = (0..60).map(|id| json!({ "id": id, "method": "login", "params": params }).to_string());
        let frames: Vec<u8> = requests.flat_map(|request| frame(FIN | TEXT, request.as_bytes())).collect();
        socket.write(&frames).await.expect("the requests are taken");
        crowd.push(socket);
    }
    let sent = other.send(notes, "in the middle of it").await;
    assert_eq!(anna.next_message().await.seq, sent.seq);
    let (mut checked, mut told_to_wait) = (0, 0);
    for socket in &mut crowd {
        for _ in 0..60 {
            let error = socket.next_text().await.expect("an answer to each")["error"].clone();
            match error["code"].as_str() {
                Some("login_failed") => checked += 1,
                // Those that were read when the first ones had been found wrong already.
                Some("overloaded" | "rate_limited") => {
                    assert!(error["retryable"] == true && error["retry_after_ms"].as_u64() > Some(0), "{error}");
                    told_to_wait += 1;
                }
                _ => panic!("{error}"),
            }
        }
    }
    println!("{checked} were checked, {told_to_wait} told to wait");
    assert!(checked >= 64 && told_to_wait > 0, "{checked} were checked, {told_to_wait} told to wait");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_beyond_what_exists_are_answered_like_unknown_ones() {
    let (_site, server, anna) = anna_alone().await;
    let mut socket = RawSocket::open(server.address()).await;
    socket.call(1, "connect", json!({ "token": anna.token })).await;
    for conversation in [json!(0), json!(limits::NUMBER_MAX), json!(999)] {
        let answer = socket.call(2, "history", json!({ "conversation_id": conversation })).await;
        assert_eq!(answer["error"]["code"], "not_found", "{conversation}");
    }
    let [past, furthest] = [limits::NUMBER_MAX + 1, u64::MAX].map(|number| json!(number));
    for conversation in [past, furthest, json!(-1), json!(1.5), json!("1"), json!(null), json!([1]), json!(1e30)] {
        let answer = socket.call(2, "history", json!({ "conversation_id": conversation })).await;
        assert_eq!(answer["error"]["code"], "invalid_params", "{conversation}");
    }
    let missing = refusal(anna.try_send(ConversationId(limits::NUMBER_MAX), new_client_msg_id(), "hello").await);
    assert_eq!(missing.code, ErrorCode::NotFound);
    server.assert_undisturbed();
}

async fn anna_alone() -> (Site, Server, Device) {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    (site, server, anna)
}

fn requests_len(count: u64) -> usize {
    usize::try_from(count).expect("it came from a usize")
}
