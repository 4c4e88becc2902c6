//! Unread counts, receipts and read state: right on every device, told without noise, never going back.

use nix::sys::signal::Signal;
use posthouse_client::new_client_msg_id;
use posthouse_e2e::raw::RawSocket;
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Site, refusal};
use posthouse_protocol::{
    AccountId, ConversationId, ConversationsAdd, ConversationsAddParams, ConversationsCreate,
    ConversationsCreateParams, ConversationsGet, ConversationsGetParams, ConversationsLeave, ConversationsLeaveParams,
    ConversationsList, ConversationsListParams, ConversationsMute, ConversationsMuteParams, ConversationsPin,
    ConversationsPinParams, ErrorCode, Event, HistoryAccess, Mark, Mentions, Preferences, ReadState, Receipt,
    ReceiptCounts, ReceiptParams, Receipts, ReceiptsGet, ReceiptsGetParams, Send, SendParams, Seq, TimestampMs, Title,
    Typing, TypingParams, Username, limits,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn unread_and_mentions_are_counted_alike_on_every_device_and_survive_a_crash() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let mut phone = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    let call = Mentions { accounts: vec![ben.account.account_id], all: false };
    for mentions in [None, Some(call), Some(Mentions { all: true, ..Mentions::default() }), None] {
        let text = SendParams::text(conversation, new_client_msg_id(), "hello");
        anna.client.call::<Send>(&SendParams { mentions, ..text }).await.expect("sent");
    }
    assert_eq!(counts(&ben, conversation).await, (4, 2));
    assert_eq!(counts(&anna, conversation).await, (0, 0), "who sends has read");

    read(&ben, conversation, 2).await;
    let state = ReadState { conversation_id: conversation, read: Seq(2), last_seq: Seq(4), unread: 2, mentions: 1 };
    assert_eq!(next_read_state(&mut phone).await, state);
    assert_eq!(counts(&ben, conversation).await, (2, 1));
    // What was flushed lasts, and an older receipt takes nothing back.
    server.kill();
    let server = site.start();
    let anna = Device::connect(&server.url(), anna.token.clone()).await;
    let ben = Device::connect(&server.url(), ben.token.clone()).await;
    let mut phone = Device::connect(&server.url(), phone.token.clone()).await;
    assert_eq!((counts(&ben, conversation).await, counts(&anna, conversation).await), ((2, 1), (0, 0)));
    read(&ben, conversation, 1).await;
    assert_eq!(counts(&ben, conversation).await, (2, 1));
    // Beyond the newest message there is nothing to read.
    read(&ben, conversation, limits::NUMBER_MAX).await;
    assert_eq!(next_read_state(&mut phone).await, ReadState { read: Seq(4), unread: 0, mentions: 0, ..state });
    anna.send(conversation, "one more").await;
    assert_eq!(counts(&ben, conversation).await, (1, 0));
    ben.send(conversation, "an answer").await;
    assert_eq!(counts(&ben, conversation).await, (0, 0), "sending counts as reading");
    assert_eq!(counts(&anna, conversation).await, (1, 0));
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_was_answered_counts_at_once_and_lasts_through_a_stop() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    for _ in 0..5 {
        anna.send(conversation, "hello").await;
    }
    read(&ben, conversation, 3).await;
    assert_eq!(counts(&ben, conversation).await, (2, 0));
    read(&ben, conversation, 4).await;
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().status.code(), Some(0));
    let server = site.start();
    let ben = Device::connect(&server.url(), ben.token.clone()).await;
    assert_eq!(counts(&ben, conversation).await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_receipts_are_told_as_one_and_say_how_far_each_member_is() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let carl = Device::log_in(&server.url(), "carl").await;
    let conversation = anna.direct("ben").await;
    for _ in 0..50 {
        anna.send(conversation, "hello").await;
    }
    for seq in 1..=30 {
        read(&ben, conversation, seq).await;
        deliver(&ben, conversation, seq + 10).await;
    }
    let mark = |account_id: AccountId, read: u64, delivered: u64| Mark {
        account_id,
        read: Seq(read),
        delivered: Seq(delivered),
    };
    let mut told = 0;
    let last = mark(ben.account.account_id, 30, 40);
    loop {
        let receipts = next_receipts(&mut anna).await;
        told += 1;
        assert_eq!(receipts.conversation_id, conversation);
        if receipts.marks == [last] {
            break;
        }
    }
    println!("60 receipts were told as {told}");
    assert!(told <= 10, "60 receipts were told as {told}");
    let get = ReceiptsGetParams { conversation_id: conversation };
    let all = anna.client.call::<ReceiptsGet>(&get).await.expect("the receipts");
    assert_eq!(all.marks, [mark(anna.account.account_id, 50, 50), last]);
    // A stranger neither sees nor moves anything.
    assert_eq!(refusal(carl.client.call::<ReceiptsGet>(&get).await).code, ErrorCode::NotFound);
    let params = ReceiptParams { conversation_id: conversation, read: Some(Seq(50)), delivered: None };
    let stranger = refusal(carl.client.call::<Receipt>(&params).await);
    let nowhere = ReceiptParams { conversation_id: ConversationId(99), ..params };
    assert_eq!(stranger, refusal(carl.client.call::<Receipt>(&nowhere).await));
    assert_eq!(stranger.code, ErrorCode::NotFound);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_move_nothing_are_told_to_nobody() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let mut phone = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    // Behind the other one, so that it is told behind it.
    let board = group(&anna, &["ben"]).await;
    assert!(board > conversation);
    for conversation in [conversation, board] {
        anna.send(conversation, "hello").await;
    }
    read(&ben, conversation, 1).await;
    assert_eq!(next_receipts(&mut anna).await.conversation_id, conversation);
    assert_eq!(next_read_state(&mut phone).await.conversation_id, conversation);
    // What was told is written: from here on these say nothing new.
    read(&ben, conversation, 1).await;
    read(&ben, conversation, limits::NUMBER_MAX).await;
    deliver(&ben, conversation, 1).await;
    read(&ben, board, 2).await;
    assert_eq!(next_receipts(&mut anna).await.conversation_id, board);
    assert_eq!(next_read_state(&mut phone).await.conversation_id, board);
    // That it has got it is known, that it has read it is news.
    anna.send(conversation, "once more").await;
    deliver(&ben, conversation, 2).await;
    assert_eq!(next_receipts(&mut anna).await.conversation_id, conversation);
    read(&ben, conversation, 2).await;
    let mark = Mark { account_id: ben.account.account_id, read: Seq(2), delivered: Seq(2) };
    assert_eq!(next_receipts(&mut anna).await.marks, [mark]);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_into_a_group_has_nothing_unread_of_what_was_said_before() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let board = group(&anna, &["carl"]).await;
    let add = async |name: &str| {
        let params = ConversationsAddParams { conversation_id: board, members: vec![username(name)] };
        anna.client.call::<ConversationsAdd>(&params).await.expect("added");
    };
    let call = async || {
        let mentions = Some(Mentions { all: true, ..Mentions::default() });
        let text = SendParams::text(board, new_client_msg_id(), "hello");
        anna.client.call::<Send>(&SendParams { mentions, ..text }).await.expect("sent");
    };
    call().await;
    add("ben").await;
    assert_eq!(ben.history(board).await.len(), 3, "the history is open");
    assert_eq!(counts(&ben, board).await, (0, 0), "nor does it count who came");
    call().await;
    assert_eq!(counts(&ben, board).await, (1, 1));
    ben.client.call::<ConversationsLeave>(&ConversationsLeaveParams { conversation_id: board }).await.expect("left");
    call().await;
    add("ben").await;
    assert_eq!(counts(&ben, board).await, (0, 0));
    call().await;
    assert_eq!(counts(&ben, board).await, (1, 1));
    let carl = Device::log_in(&server.url(), "carl").await;
    assert_eq!(counts(&carl, board).await, (4, 4));
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_large_group_receipts_are_only_counted() {
    let names: Vec<String> = (0..=limits::RECEIPT_MEMBERS_MAX).map(|number| format!("member{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_site, server) = Site::with_accounts(&names);
    let mut owner = Device::log_in(&server.url(), names[0]).await;
    let member = Device::log_in(&server.url(), names[1]).await;
    let conversation_id = group(&owner, &names[1..]).await;
    let sent = owner.send(conversation_id, "hello").await;
    deliver(&member, conversation_id, sent.seq.0).await;
    let counted = |delivered| {
        let counts = Some(ReceiptCounts { seq: sent.seq, read: 1, delivered });
        Receipts { conversation_id, marks: Vec::new(), counts }
    };
    assert_eq!(next_receipts(&mut owner).await, counted(2));
    let found = member.client.call::<ReceiptsGet>(&ReceiptsGetParams { conversation_id }).await.expect("the receipts");
    assert_eq!(found, counted(2));
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_receipts_are_refused() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let mut socket = RawSocket::open(server.address()).await;
    socket.call(1, "connect", json!({ "token": anna.token })).await;
    for (method, params) in [
        ("receipt", json!({ "conversation_id": notes })),
        ("receipt", json!({ "conversation_id": notes, "read": -1 })),
        ("receipt", json!({ "conversation_id": notes, "read": "1" })),
        ("receipt", json!({ "conversation_id": notes, "read": 1, "account_id": 2 })),
        ("receipt", json!({ "read": 1 })),
        ("receipts.get", json!({})),
        ("receipts.get", json!({ "conversation_id": [notes] })),
    ] {
        let answer = socket.call(2, method, params.clone()).await;
        assert_eq!(answer["error"]["code"], "invalid_params", "{method} {params}: {answer}");
    }
    server.assert_undisturbed();
}

/// Unread messages and mentions, as the list and the conversation itself say.
async fn counts(device: &Device, conversation_id: ConversationId) -> (u64, u64) {
    let params = ConversationsGetParams { conversation_id };
    let found = within("conversation", device.client.call::<ConversationsGet>(&params)).await.expect("a conversation");
    let params = ConversationsListParams::default();
    let page = within("list", device.client.call::<ConversationsList>(&params)).await.expect("a page");
    assert!(page.conversations.contains(&found), "{page:?}");
    (found.unread, found.mentions)
}

/// A group with open history, owned by the device's account.
async fn group(owner: &Device, members: &[&str]) -> ConversationId {
    let (title, history) = (Title::new("Board").expect("a title"), Some(HistoryAccess::All));
    let members = members.iter().map(|name| username(name)).collect();
    let params = ConversationsCreateParams { title, members, announcement_only: None, history, client_msg_id: None };
    within("group", owner.client.call::<ConversationsCreate>(&params)).await.expect("made").conversation_id
}

fn username(name: &str) -> Username {
    Username::new(name).expect("a name")
}

async fn read(device: &Device, conversation_id: ConversationId, seq: u64) {
    let params = ReceiptParams { conversation_id, read: Some(Seq(seq)), delivered: None };
    within("answer", device.client.call::<Receipt>(&params)).await.expect("taken");
}

async fn deliver(device: &Device, conversation_id: ConversationId, seq: u64) {
    let params = ReceiptParams { conversation_id, read: None, delivered: Some(Seq(seq)) };
    within("answer", device.client.call::<Receipt>(&params)).await.expect("taken");
}

/// The next event, passing over news of conversations.
async fn next(device: &mut Device) -> Event {
    loop {
        match device.next_event().await {
            Event::ConversationAdded(_) => {}
            event => return event,
        }
    }
}

async fn next_read_state(device: &mut Device) -> ReadState {
    loop {
        if let Event::ReadState(state) = within("event", device.events.next()).await.expect("it lasts").event {
            return state;
        }
    }
}

async fn next_receipts(device: &mut Device) -> Receipts {
    loop {
        if let Event::Receipts(receipts) = within("event", device.events.next()).await.expect("it lasts").event {
            return receipts;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn muting_and_pinning_are_ones_own_and_reach_ones_other_devices_also_later() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut phone = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let conversation_id = anna.direct("ben").await;
    let mute = ConversationsMuteParams { conversation_id, muted: true, until: Some(TimestampMs(1_795_370_000_000)) };
    anna.client.call::<ConversationsMute>(&mute).await.expect("muted");
    let pin = ConversationsPinParams { conversation_id, pinned: true };
    let now = anna.client.call::<ConversationsPin>(&pin).await.expect("pinned");
    assert_eq!(anna.client.call::<ConversationsPin>(&pin).await.expect("pinned already"), now);
    assert_eq!((now.muted, now.muted_until, now.pinned), (true, mute.until, true));
    let first = Event::Preferences(Preferences { pinned: false, ..now });
    for expected in [first, Event::Preferences(now)] {
        assert_eq!(next(&mut phone).await, expected);
    }
    let nowhere = ConversationsPinParams { conversation_id: ConversationId(99), pinned: true };
    assert_eq!(refusal(anna.client.call::<ConversationsPin>(&nowhere).await).code, ErrorCode::NotFound);
    server.kill();
    let server = site.start();
    let get = ConversationsGetParams { conversation_id };
    for (token, expected) in [(anna.token, (true, mute.until, true)), (ben.token, (false, None, false))] {
        let device = Device::connect(&server.url(), token).await;
        let found = device.client.call::<ConversationsGet>(&get).await.expect("a conversation");
        assert_eq!((found.muted, found.muted_until, found.pinned), expected);
    }
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_is_told_to_the_others_and_not_too_often() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let carl = Device::log_in(&server.url(), "carl").await;
    let params = TypingParams { conversation_id: anna.direct("ben").await };
    for _ in 0..20 {
        anna.client.call::<Typing>(&params).await.expect("taken");
    }
    anna.send(params.conversation_id, "there it is").await;
    let mut told = 0;
    while let Event::Typing(typing) = next(&mut ben).await {
        assert_eq!(typing.account_id, anna.account.account_id);
        told += 1;
    }
    // Twenty calls take far less than the pauses between twenty events.
    assert!((1..20).contains(&told), "told {told} times");
    assert_eq!(refusal(carl.client.call::<Typing>(&params).await).code, ErrorCode::NotFound);
    server.assert_undisturbed();
}
