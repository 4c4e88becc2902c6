//! Presence: told to contacts who take part, and to nobody else.

use posthouse_e2e::raw::RawSocket;
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Site};
use posthouse_protocol::{
    AccountId, Event, Presence, PresenceNow, PresenceParams,
    PresenceStatus::{self, Away, Offline, Online},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn contacts_learn_who_comes_turns_away_and_goes_and_others_do_not() {
    let (_site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let phone = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let mut carl = Device::log_in(&server.url(), "carl").await;
    let (of_anna, of_ben) = (anna.account.account_id, ben.account.account_id);
    anna.direct("ben").await;
    carl.direct("ben").await;

    assert_eq!(say(&ben, Online).await, []);
    assert_eq!(say(&carl, Online).await, [(of_ben, Online)]);
    assert_eq!(next(&mut ben).await, (carl.account.account_id, Online));
    assert_eq!(say(&anna, Away).await, [(of_ben, Online)], "carl is no contact of hers");
    assert_eq!(next(&mut ben).await, (of_anna, Away));
    // One connection of hers is enough, and while it is there the other's doings change nothing.
    say(&phone, Online).await;
    assert_eq!(next(&mut ben).await, (of_anna, Online));
    say(&anna, Online).await;
    drop(anna);
    say(&phone, Away).await;
    assert_eq!(next(&mut ben).await, (of_anna, Away));
    drop(phone);
    assert_eq!(next(&mut ben).await, (of_anna, Offline));
    // All that carl ever hears is of ben; that he came may be told once more than by the answer.
    say(&ben, Away).await;
    while let (account_id, Online) = next(&mut carl).await {
        assert_eq!(account_id, of_ben);
    }
    say(&ben, Offline).await;
    assert_eq!(next(&mut carl).await, (of_ben, Offline));
    assert_eq!(say(&carl, Online).await, []);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_presence_is_refused() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut socket = RawSocket::open(server.address()).await;
    let answer = socket.call(1, "presence", json!({ "status": "online" })).await;
    assert_eq!(answer["error"]["code"], "not_connected");
    socket.call(2, "connect", json!({ "token": anna.token })).await;
    for params in [json!({}), json!({ "status": "busy" }), json!({ "status": 1 }), json!({ "status": "away", "of": 2 })]
    {
        let answer = socket.call(3, "presence", params.clone()).await;
        assert_eq!(answer["error"]["code"], "invalid_params", "{params}: {answer}");
    }
    server.assert_undisturbed();
}

async fn say(device: &Device, status: PresenceStatus) -> Vec<(AccountId, PresenceStatus)> {
    let said = within("answer", device.client.call::<Presence>(&PresenceParams { status })).await.expect("taken");
    said.accounts.into_iter().map(|now| (now.account_id, now.status)).collect()
}

async fn next(device: &mut Device) -> (AccountId, PresenceStatus) {
    loop {
        match device.next_event().await {
            Event::ConversationAdded(_) => {}
            Event::Presence(PresenceNow { account_id, status }) => return (account_id, status),
            other => panic!("presence was expected, not {other:?}"),
        }
    }
}
