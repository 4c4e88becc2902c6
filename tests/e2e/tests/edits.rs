//! What happens to messages after they were sent: who may change them, who learns of it, and what is left.

use posthouse_client::new_client_msg_id;
use posthouse_e2e::raw::RawSocket;
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Site, refusal};
use posthouse_protocol::{
    AccountId, Body, ConversationId, ConversationsCreate, ConversationsCreateParams, Cursor, ErrorCode, Event,
    Mentions, MessageId, MessagesEdit, MessagesEditParams, MessagesReact, MessagesReactParams, MessagesRecall,
    MessagesRecallParams, MessagesVersions, MessagesVersionsParams, NewBody, Reaction, Send, SendParams, Sync,
    SyncParams, Title, limits,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_seen_by_all_and_what_was_said_before_stays_readable_also_after_a_crash() {
    let (site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut others = [Device::log_in(&server.url(), "anna").await, Device::log_in(&server.url(), "ben").await];
    let carl = Device::log_in(&server.url(), "carl").await;
    let conversation_id = anna.direct("ben").await;
    let sent = anna.send(conversation_id, "1st").await;
    let params = edit(conversation_id, sent.message_id, "first");
    let edited = anna.client.call::<MessagesEdit>(&params).await.expect("edited");
    assert!(edited.edited_ts >= sent.ts);
    for device in &mut others {
        assert_eq!(device.next_message().await.text(), Some("1st"));
        let Event::MessageEdited(event) = next(device).await else { panic!("an edit was expected") };
        assert_eq!((event.message_id, event.seq, event.edited_ts), (sent.message_id, sent.seq, edited.edited_ts));
        assert_eq!(event.body, Body::Text { text: "first".to_owned() });
    }
    let again = anna.client.call::<MessagesEdit>(&params).await.expect("a retry");
    assert_eq!(again, edited, "a retry changes nothing");

    // Nobody else may, and who is not in the conversation does not learn that there is one.
    let by_ben = refusal(others[1].client.call::<MessagesEdit>(&edit(conversation_id, sent.message_id, "x")).await);
    assert_eq!(by_ben.code, ErrorCode::Forbidden);
    let by_carl = refusal(carl.client.call::<MessagesEdit>(&edit(conversation_id, sent.message_id, "x")).await);
    let nowhere = refusal(carl.client.call::<MessagesEdit>(&edit(ConversationId(99), sent.message_id, "x")).await);
    assert_eq!(by_carl, nowhere);
    assert_eq!(by_carl.code, ErrorCode::NotFound);
    let notes = anna.direct("anna").await;
    for (conversation_id, message_id) in
        [(notes, sent.message_id.0), (conversation_id, 2), (conversation_id, limits::NUMBER_MAX)]
    {
        let params = edit(conversation_id, MessageId(message_id), "x");
        assert_eq!(refusal(anna.client.call::<MessagesEdit>(&params).await).code, ErrorCode::NotFound, "{message_id}");
    }
    anna.client.call::<MessagesEdit>(&edit(conversation_id, sent.message_id, "First!")).await.expect("edited");

    server.kill();
    let server = site.start();
    let ben = Device::connect(&server.url(), others[1].token.clone()).await;
    let history = ben.history(conversation_id).await;
    assert_eq!((history.len(), history[0].text(), history[0].seq), (1, Some("First!"), sent.seq));
    assert!(history[0].edited_ts.is_some_and(|ts| ts >= edited.edited_ts));
    assert_eq!(versions(&ben, conversation_id, sent.message_id).await, ["1st", "first", "First!"]);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_can_be_edited_so_often_and_its_longest_versions_are_read_page_by_page() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    // Six bytes of JSON a character: only one fits into a frame.
    let text = |number: u32| format!("{}{number:04}", "\u{1}".repeat(limits::TEXT_LEN_MAX - 4));
    let sent = anna.send(notes, &text(0)).await;
    for number in 1..=limits::EDITS_MAX {
        anna.client.call::<MessagesEdit>(&edit(notes, sent.message_id, &text(number))).await.expect("edited");
    }
    let once_more = edit(notes, sent.message_id, "once more");
    assert_eq!(refusal(anna.client.call::<MessagesEdit>(&once_more).await).code, ErrorCode::LimitReached);
    let all: Vec<_> = (0..=limits::EDITS_MAX).map(text).collect();
    assert_eq!(versions(&anna, notes, sent.message_id).await, all);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_recalled_message_ever_said_is_given_out_again() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation_id = anna.direct("ben").await;
    let params = SendParams {
        mentions: Some(Mentions { accounts: vec![ben.account.account_id], all: false }),
        ..SendParams::text(conversation_id, new_client_msg_id(), "secret one")
    };
    let sent = anna.client.call::<Send>(&params).await.expect("sent");
    for text in ["secret two", "secret three"] {
        anna.client.call::<MessagesEdit>(&edit(conversation_id, sent.message_id, text)).await.expect("edited");
    }
    react(&ben, conversation_id, sent.message_id, "👍", true).await.expect("reacted");
    let recall = MessagesRecallParams { conversation_id, message_id: sent.message_id };
    let by_ben = refusal(ben.client.call::<MessagesRecall>(&recall).await);
    assert_eq!(by_ben.code, ErrorCode::Forbidden);
    let recalled = anna.client.call::<MessagesRecall>(&recall).await.expect("recalled");
    assert_eq!(anna.client.call::<MessagesRecall>(&recall).await.expect("a retry"), recalled);
    ben.next_message().await;
    for _ in 0..2 {
        assert!(matches!(next(&mut ben).await, Event::MessageEdited(_)));
    }
    let Event::MessageRecalled(event) = next(&mut ben).await else { panic!("a recall was expected") };
    assert_eq!(
        (event.message_id, event.by, event.ts),
        (sent.message_id, anna.account.account_id, recalled.recalled_ts)
    );

    server.kill();
    let server = site.start();
    let ben = Device::connect(&server.url(), ben.token.clone()).await;
    let sync = SyncParams { cursor: Cursor("0".to_owned()), until: None, limit: None };
    let page = ben.client.call::<Sync>(&sync).await.expect("a page");
    assert!(page.events.len() >= 5, "the changes themselves are still told");
    assert!(page.events.iter().all(|event| !event.get().contains("secret")), "{page:?}");
    let history = ben.history(conversation_id).await;
    let erased = Body::Recalled { by: anna.account.account_id, ts: recalled.recalled_ts };
    assert_eq!((history.len(), &history[0].body, &history[0].mentions), (1, &erased, &None));
    assert!(history[0].reactions.is_empty() && history[0].edited_ts.is_none());
    let params = MessagesVersionsParams { conversation_id, message_id: sent.message_id, after: None };
    let left = ben.client.call::<MessagesVersions>(&params).await.expect("versions");
    assert_eq!((left.versions.len(), &left.versions[0].body), (1, &erased));
    let anna = Device::connect(&server.url(), anna.token.clone()).await;
    let later = refusal(anna.client.call::<MessagesEdit>(&edit(conversation_id, sent.message_id, "back")).await);
    assert_eq!(later.code, ErrorCode::Conflict);
    assert_eq!(refusal(react(&ben, conversation_id, sent.message_id, "👍", true).await).code, ErrorCode::Conflict);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn reactions_are_counted_once_an_account_and_bounded() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let conversation_id = anna.direct("ben").await;
    let sent = anna.send(conversation_id, "lunch?").await;
    let of = |emoji: &str, accounts: &[AccountId]| Reaction {
        emoji: emoji.to_owned(),
        count: accounts.len() as u64,
        accounts: accounts.to_vec(),
    };
    let both = [anna.account.account_id, ben.account.account_id];
    let family = "👩‍👩‍👧‍👦";
    for (device, emoji, add, expected) in [
        (&ben, family, true, vec![of(family, &both[1..])]),
        (&ben, family, true, vec![of(family, &both[1..])]),
        (&anna, family, true, vec![of(family, &both)]),
        (&ben, "👍", true, vec![of(family, &both), of("👍", &both[1..])]),
        (&ben, "🎈", false, vec![of(family, &both), of("👍", &both[1..])]),
        (&ben, family, false, vec![of(family, &both[..1]), of("👍", &both[1..])]),
        (&anna, family, false, vec![of("👍", &both[1..])]),
    ] {
        let result = react(device, conversation_id, sent.message_id, emoji, add).await.expect("reacted");
        assert_eq!(result, expected);
    }
    assert_eq!(anna.history(conversation_id).await[0].reactions, [of("👍", &both[1..])]);
    // Anna's connection learns of ben's changes, and of those only that changed something.
    for (emoji, added, count) in [(family, true, 1), ("👍", true, 1), (family, false, 1)] {
        let Event::Reaction(event) = next(&mut anna).await else { panic!("a reaction was expected") };
        assert_eq!((event.emoji.as_str(), event.added, event.count), (emoji, added, count));
        assert_eq!((event.account, event.message_id), (ben.account.clone(), sent.message_id));
    }
    for number in 1..limits::REACTIONS_MAX {
        react(&ben, conversation_id, sent.message_id, &number.to_string(), true).await.expect("reacted");
    }
    let refused = refusal(react(&ben, conversation_id, sent.message_id, "one too many", true).await);
    assert_eq!(refused.code, ErrorCode::InvalidParams, "there is a space in it");
    let refused = refusal(react(&ben, conversation_id, sent.message_id, "one-too-many", true).await);
    assert_eq!(refused.code, ErrorCode::LimitReached);
    react(&anna, conversation_id, sent.message_id, "👍", true).await.expect("one that is there already");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_names_a_message_that_its_sender_can_see_and_mentions_name_members() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation_id = anna.direct("ben").await;
    let notes = anna.direct("anna").await;
    let first = anna.send(conversation_id, "lunch?").await;
    let elsewhere = anna.send(notes, "buy bread").await;
    ben.next_message().await;
    let id = new_client_msg_id();
    let answer = |reply_to: Option<MessageId>, mentions: Option<Mentions>| SendParams {
        reply_to,
        mentions,
        ..SendParams::text(conversation_id, id.clone(), "at noon")
    };
    for unseen in [elsewhere.message_id, MessageId(0), MessageId(limits::NUMBER_MAX)] {
        let refused = refusal(anna.client.call::<Send>(&answer(Some(unseen), None)).await);
        assert_eq!(refused.code, ErrorCode::NotFound, "{unseen}");
    }
    let accounts = |ids: &[u64]| Some(Mentions { accounts: ids.iter().copied().map(AccountId).collect(), all: false });
    for strangers in [&[3][..], &[0], &[1, 2, 99]] {
        let refused = refusal(anna.client.call::<Send>(&answer(None, accounts(strangers))).await);
        assert_eq!(refused.code, ErrorCode::InvalidParams, "{strangers:?}");
    }
    let many: Vec<u64> = (1..=51).collect();
    assert_eq!(refusal(anna.client.call::<Send>(&answer(None, accounts(&many))).await).code, ErrorCode::InvalidParams);
    let sent = anna.client.call::<Send>(&answer(Some(first.message_id), accounts(&[2, 1, 2]))).await.expect("sent");
    assert_eq!(sent.seq.0, 2, "what was refused took no place");
    let message = ben.next_message().await;
    assert_eq!((message.reply_to, message.mentions), (Some(first.message_id), accounts(&[1, 2])));
    // A retry is the same in all of it.
    let again = anna.client.call::<Send>(&answer(Some(first.message_id), accounts(&[1, 2]))).await.expect("a retry");
    assert_eq!(again, sent);
    for other in [answer(None, accounts(&[1, 2])), answer(Some(first.message_id), None)] {
        assert_eq!(refusal(anna.client.call::<Send>(&other).await).code, ErrorCode::Conflict);
    }
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_recall_what_anybody_wrote_in_their_group_and_nobody_what_the_system_tells() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let carl = Device::log_in(&server.url(), "carl").await;
    let (title, members) = (Title::new("Board").expect("a title"), vec![ben.account.username.clone()]);
    let params =
        ConversationsCreateParams { title, members, announcement_only: None, history: None, client_msg_id: None };
    let conversation_id = anna.client.call::<ConversationsCreate>(&params).await.expect("made").conversation_id;
    let created = ben.next_message().await;
    let by = async |device: &Device, message_id| {
        let params = MessagesRecallParams { conversation_id, message_id };
        device.client.call::<MessagesRecall>(&params).await
    };
    let of_anna = anna.send(conversation_id, "hers").await;
    let of_ben = ben.send(conversation_id, "his").await;
    assert_eq!(refusal(by(&ben, of_anna.message_id).await).code, ErrorCode::Forbidden, "a member");
    assert_eq!(refusal(by(&carl, of_ben.message_id).await).code, ErrorCode::NotFound, "a stranger");
    assert_eq!(refusal(by(&anna, created.message_id).await).code, ErrorCode::Forbidden, "what the system tells");
    by(&anna, of_ben.message_id).await.expect("recalled");
    assert_eq!(ben.next_message().await.text(), Some("hers"));
    let Event::MessageRecalled(recalled) = next(&mut ben).await else { panic!("a recall was expected") };
    assert_eq!((recalled.message_id, recalled.by), (of_ben.message_id, anna.account.account_id));
    let texts: Vec<_> = ben.history(conversation_id).await.iter().map(|one| one.text().map(str::to_owned)).collect();
    assert_eq!(texts, [None, Some("hers".to_owned()), None]);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_parameters_are_refused_and_change_nothing() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let sent = anna.send(notes, "as it was").await;
    let mut socket = RawSocket::open(server.address()).await;
    let (id, long) = (sent.message_id, "x".repeat(limits::TEXT_LEN_MAX + 1));
    let text = |text: &str| json!({ "type": "text", "text": text });
    let answer =
        socket.call(1, "messages.edit", json!({ "conversation_id": notes, "message_id": id, "body": text("x") })).await;
    assert_eq!(answer["error"]["code"], "not_connected");
    socket.call(2, "connect", json!({ "token": anna.token })).await;
    for (method, params) in [
        ("messages.edit", json!({ "conversation_id": notes, "message_id": id })),
        ("messages.edit", json!({ "conversation_id": notes, "message_id": id, "body": text("") })),
        ("messages.edit", json!({ "conversation_id": notes, "message_id": id, "body": text(&long) })),
        (
            "messages.edit",
            json!({ "conversation_id": notes, "message_id": id, "body": { "type": "recalled", "by": 1, "ts": 1 } }),
        ),
        ("messages.edit", json!({ "conversation_id": notes, "message_id": -1, "body": text("x") })),
        ("messages.edit", json!({ "conversation_id": notes, "message_id": id, "body": text("x"), "seq": 1 })),
        ("messages.versions", json!({ "conversation_id": notes, "message_id": id, "after": -1 })),
        ("messages.versions", json!({ "conversation_id": notes })),
        ("messages.recall", json!({ "conversation_id": "1", "message_id": id })),
        ("messages.recall", json!([notes, id])),
        ("messages.react", json!({ "conversation_id": notes, "message_id": id, "emoji": "", "add": true })),
        ("messages.react", json!({ "conversation_id": notes, "message_id": id, "emoji": "x".repeat(65), "add": true })),
        ("messages.react", json!({ "conversation_id": notes, "message_id": id, "emoji": "a\u{7}", "add": true })),
        ("messages.react", json!({ "conversation_id": notes, "message_id": id, "emoji": "\u{202e}abc", "add": true })),
        ("messages.react", json!({ "conversation_id": notes, "message_id": id, "emoji": "👍" })),
        ("messages.react", json!({ "conversation_id": notes, "message_id": id, "emoji": "👍", "add": "yes" })),
        ("send", json!({ "conversation_id": notes, "client_msg_id": "a", "body": text("x"), "mentions": [1] })),
        (
            "send",
            json!({ "conversation_id": notes, "client_msg_id": "a", "body": text("x"), "mentions": { "each": true } }),
        ),
        ("send", json!({ "conversation_id": notes, "client_msg_id": "a", "body": text("x"), "reply_to": "1" })),
    ] {
        let answer = socket.call(3, method, params.clone()).await;
        assert_eq!(answer["error"]["code"], "invalid_params", "{method} {params}: {answer}");
    }
    let answer = socket
        .call(4, "messages.versions", json!({ "conversation_id": notes, "message_id": id, "after": u32::MAX }))
        .await;
    assert_eq!(answer["result"]["versions"], json!([]), "{answer}");
    let history = anna.history(notes).await;
    assert_eq!((history.len(), history[0].text(), history[0].reactions.len()), (1, Some("as it was"), 0));
    server.assert_undisturbed();
}

fn edit(conversation_id: ConversationId, message_id: MessageId, text: &str) -> MessagesEditParams {
    MessagesEditParams { conversation_id, message_id, body: NewBody::text(text) }
}

async fn react(
    device: &Device,
    conversation_id: ConversationId,
    message_id: MessageId,
    emoji: &str,
    add: bool,
) -> Result<Vec<Reaction>, posthouse_client::ClientError> {
    let params = MessagesReactParams { conversation_id, message_id, emoji: emoji.to_owned(), add };
    within("answer", device.client.call::<MessagesReact>(&params)).await.map(|result| result.reactions)
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

/// The texts that a message has had, over all pages.
async fn versions(device: &Device, conversation_id: ConversationId, message_id: MessageId) -> Vec<String> {
    let mut texts = Vec::new();
    let mut after = None;
    loop {
        let params = MessagesVersionsParams { conversation_id, message_id, after };
        let page = device.client.call::<MessagesVersions>(&params).await.expect("versions");
        after = page.versions.last().map(|version| version.version);
        texts.extend(page.versions.into_iter().map(|version| match version.body {
            Body::Text { text } => text,
            other => panic!("a text was expected, not {other:?}"),
        }));
        if !page.has_more {
            return texts;
        }
    }
}
