//! The client library's link: where it goes on, and where it can't, and in which order it sends. That nothing is missing and
//! nothing comes twice is in `crowd.rs`.

use posthouse_client::{ClientError, Inbox, Item, Link, Start, new_client_msg_id};
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Server, Site};
use posthouse_protocol::{ConversationId, Empty, ErrorCode, Event, Ping, Push, SendParams};

#[tokio::test(flavor = "multi_thread")]
async fn a_link_goes_on_where_an_earlier_one_was() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    anna.send(conversation, "before").await;
    // It is acknowledged before it is handed out, and a link that begins in between is told of it.
    while ben.next_message().await.text() != Some("before") {}
    let (link, mut inbox) = Link::start(server.url(), ben.token.clone(), Start::Now);
    online(&mut inbox).await;
    anna.send(conversation, "while it was there").await;
    assert_eq!(next_text(&mut inbox).await, "while it was there");
    let position = inbox.position().cloned().expect("it was online");
    drop((link, inbox));
    anna.send(conversation, "while it was away").await;
    // From here on it was handed out, so that it lies before the link's place in the stream.
    while ben.next_message().await.text() != Some("while it was away") {}
    let (_link, mut inbox) = Link::start(server.url(), ben.token, Start::Position(position));
    assert_eq!(next_text(&mut inbox).await, "while it was away");
    online(&mut inbox).await;
    anna.send(conversation, "and again").await;
    assert_eq!(next_text(&mut inbox).await, "and again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_in_another_database_is_void_and_everything_comes_again() {
    let (_other, other) = Site::with_accounts(&["ben"]);
    let stranger = Device::log_in(&other.url(), "ben").await;
    let (_link, mut inbox) = Link::start(other.url(), stranger.token, Start::Now);
    online(&mut inbox).await;
    let position = inbox.position().cloned().expect("it is online");

    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let ben = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    anna.send(conversation, "one").await;
    let (_link, mut inbox) = Link::start(server.url(), ben.token, Start::Position(position));
    assert!(matches!(within("item", inbox.next()).await, Some(Item::Reset)));
    assert_eq!(next_text(&mut inbox).await, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_whose_device_is_logged_out_says_so_and_ends() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let token = posthouse_protocol::Token("0".repeat(64));
    let (link, mut inbox) = Link::start(server.url(), token, Start::Now);
    assert!(matches!(within("item", inbox.next()).await, Some(Item::LoggedOut)));
    assert!(within("end", inbox.next()).await.is_none());
    let params = SendParams::text(ConversationId(1), new_client_msg_id(), "nobody");
    within("answer", link.send(params)).await.expect_err("the link has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_slowed_down_sends_in_the_order_in_which_it_was_asked_to() {
    const MESSAGES: u64 = 100;
    let site = Site::new();
    let mut command = site.command();
    // So few that it is soon slowed down, also on a machine that is slow itself.
    command.args(["--requests-per-s", "50"]);
    let server = Server::start(command, site.admin_socket()).expect("the server starts");
    server.add_account("anna");
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let (link, _inbox) = Link::start(server.url(), anna.token, Start::Now);
    // What may be asked at once has been.
    let refused = loop {
        if let Err(error) = within("answer", link.call::<Ping>(&Empty {})).await {
            break error;
        }
    };
    assert!(matches!(&refused, ClientError::Refused(error) if error.code == ErrorCode::RateLimited), "{refused:?}");
    let mut acknowledgements = Vec::new();
    for number in 1..=MESSAGES {
        let params = SendParams::text(notes, new_client_msg_id(), number.to_string());
        acknowledgements.push(within("room", link.queue(params)).await.expect("the link is there"));
    }
    let mut seqs = Vec::new();
    for acknowledgement in acknowledgements {
        seqs.push(within("acknowledgement", acknowledgement).await.expect("it is sent").seq.0);
    }
    assert!(seqs.iter().copied().eq(1..=MESSAGES), "{seqs:?}");
    server.assert_undisturbed();
}

async fn online(inbox: &mut Inbox) {
    loop {
        match within("item", inbox.next()).await {
            Some(Item::Online) => return,
            Some(Item::Event(Push { event, .. })) => panic!("nothing was to come: {event:?}"),
            Some(_) => {}
            None => panic!("the link ended"),
        }
    }
}

/// What the next message says, passing over news of conversations.
async fn next_text(inbox: &mut Inbox) -> String {
    loop {
        match within("event", inbox.next_event()).await {
            Some(Event::Message(message)) => return message.text().expect("a text").to_owned(),
            Some(Event::ConversationAdded(_)) => {}
            other => panic!("a message was expected, not {other:?}"),
        }
    }
}
