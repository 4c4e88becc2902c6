//! Nobody sees or learns what is not theirs.

use posthouse_client::{Client, new_client_msg_id};
use posthouse_e2e::raw::{End, RawSocket};
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, PASSWORD, Server, Site, refusal};
use posthouse_protocol::{
    ConversationsDirect, ConversationsDirectParams, ConversationsList, ConversationsListParams, ErrorCode, History,
    HistoryParams, Login, LoginParams, Username, close,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_third_account_can_neither_read_nor_write_nor_see_a_conversation_of_two_others() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let mut anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let mut carl = Device::log_in(&server.url(), "carl").await;
    let conversation = anna.direct("ben").await;
    anna.send(conversation, "between us").await;

    let read = HistoryParams::newest(conversation);
    let seen = refusal(carl.client.call::<History>(&read).await);
    let written = refusal(carl.try_send(conversation, new_client_msg_id(), "hello").await);
    assert_eq!((seen.code, written.code), (ErrorCode::NotFound, ErrorCode::NotFound));
    // The answer for a conversation that does not exist is the same, word for word.
    let nowhere = HistoryParams::newest(posthouse_protocol::ConversationId(999));
    assert_eq!(refusal(carl.client.call::<History>(&nowhere).await), seen);
    let listed = carl
        .client
        .call::<ConversationsList>(&ConversationsListParams::default())
        .await
        .expect("the list")
        .conversations;
    assert!(listed.is_empty(), "{listed:?}");

    // Carl's only event is the message that is for him, though one that is not came before.
    ben.send(conversation, "still between us").await;
    assert_eq!(anna.next_message().await.text(), Some("still between us"));
    let with_carl = ben.direct("carl").await;
    ben.send(with_carl, "for carl").await;
    assert_eq!(carl.next_message().await.text(), Some("for carl"));
    assert_eq!(anna.history(conversation).await.len(), 2, "what carl wrote is nowhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_an_unknown_name_get_the_same_answer() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let (client, _events) = Client::open(&server.url()).await.expect("the server answers");
    let mut answers = Vec::new();
    for (name, password) in [("anna", "wrong horse"), ("nobody", PASSWORD), ("nobody", "wrong horse"), ("anna", "")] {
        let username = Username::new(name).expect("a user name");
        let params = LoginParams { username, password: password.to_owned(), device: "test".to_owned() };
        answers.push(refusal(within("answer", client.call::<Login>(&params)).await));
    }
    assert!(answers.iter().all(|answer| answer.code == ErrorCode::LoginFailed), "{answers:?}");
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_valid_is_answered_and_closed_with_4001() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut damaged = anna.token.0.clone();
    damaged.replace_range(0..1, if damaged.starts_with('0') { "1" } else { "0" });
    for token in [damaged, String::new(), "x".repeat(100_000)] {
        let mut socket = RawSocket::open(server.address()).await;
        let answer = socket.call(1, "connect", json!({ "token": token })).await;
        assert_eq!(answer["error"]["code"], "token_invalid");
        assert_eq!(socket.end().await, End::Close(close::REAUTHENTICATE));
        // Who does not connect in time gets the same code, much later.
        assert_eq!(socket.close_reason(), "the token is not valid");
    }
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_served_before_connect() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let (client, _events) = Client::open(&server.url()).await.expect("the server answers");
    let params = ConversationsDirectParams { username: Username::new("ben").expect("a user name") };
    let refused = refusal(client.call::<ConversationsDirect>(&params).await);
    assert_eq!(refused.code, ErrorCode::NotConnected);
    let read = HistoryParams::newest(posthouse_protocol::ConversationId(1));
    assert_eq!(refusal(client.call::<History>(&read).await).code, ErrorCode::NotConnected);
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_texts_nor_passwords_nor_tokens_are_logged_or_readable_by_others() {
    use std::os::unix::fs::PermissionsExt;

    let site = Site::new();
    let mut command = site.command();
    command.env("RUST_LOG", "trace");
    let server = Server::start(command, site.admin_socket()).expect("the server starts");
    server.add_account("anna");
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    anna.send(notes, "a-secret-text").await;
    let (client, _events) = Client::open(&server.url()).await.expect("the server answers");
    let username = Username::new("anna").expect("a user name");
    let params = LoginParams { username, password: "a-wrong-guess".to_owned(), device: "test".to_owned() };
    refusal(client.call::<Login>(&params).await);

    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&site.data_dir()), 0o700, "the data folder is the server's alone");
    let log = server.stop().log;
    assert!(log.contains("serving"), "{log}");
    for secret in ["a-secret-text", PASSWORD, "a-wrong-guess", anna.token.0.as_str()] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    for path in site.store() {
        let stored = String::from_utf8_lossy(&std::fs::read(&path).expect("a file of the store")).into_owned();
        for secret in [PASSWORD, anna.token.0.as_str()] {
            assert!(!stored.contains(secret), "{} is in {}, and not only as its hash", secret, path.display());
        }
    }
}
