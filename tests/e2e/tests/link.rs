//! The client library's link: nothing is missing and nothing comes twice, whatever happens to server and network.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use posthouse_client::{Inbox, Item, Link, Start, Transport, new_client_msg_id};
use posthouse_e2e::wait::{until, within};
use posthouse_e2e::{Device, Server, Site};
use posthouse_protocol::{ConversationId, Event, Message, MessageId, Push, SendParams, SendResult};

/// Who sends; each to the next one and to the one after.
const CLIENTS: usize = 20;

/// How often the server is killed while they do.
const KILLS: usize = 4;

/// Acknowledgements between two kills.
const KILL_AFTER: usize = 300;

/// Sends under way at once for each client.
const PIPELINE: usize = 4;

struct Participant {
    name: String,
    link: Link,
    inbox: Inbox,
    conversations: Vec<ConversationId>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_message_reaches_each_receiver_once_and_in_order_though_the_server_is_killed() {
    let names: Vec<String> = (0..CLIENTS).map(|number| format!("client{number}")).collect();
    let (site, mut server) = Site::with_accounts(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let address = server.address();
    let mut participants = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let device = Device::log_in(&server.url(), name).await;
        let mut conversations = Vec::new();
        for distance in [1, 2] {
            conversations.push(device.direct(&names[(number + distance) % CLIENTS]).await);
        }
        // Half of them by the second transport.
        let transport = if number % 2 == 0 { Transport::WebSocket } else { Transport::EventStream };
        let (link, inbox) = Link::start_by(transport, server.url(), device.token, Start::Beginning);
        participants.push(Participant { name: name.clone(), link, inbox, conversations });
    }
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let goal = KILLS * KILL_AFTER + KILL_AFTER / 2;
    let (mut senders, mut inboxes) = (Vec::new(), Vec::new());
    for Participant { name, link, inbox, conversations } in participants {
        for lane in 0..PIPELINE {
            let conversation = conversations[lane % conversations.len()];
            let text = format!("{name} {lane}");
            senders.push(tokio::spawn(send_until(link.clone(), conversation, text, Arc::clone(&acknowledged), goal)));
        }
        inboxes.push((name, inbox, link));
    }
    for kill in 1..=KILLS {
        let counted = Arc::clone(&acknowledged);
        let enough = move || (counted.load(Ordering::Relaxed) >= kill * KILL_AFTER).then_some(());
        tokio::task::spawn_blocking(move || until("acknowledgement", enough)).await.expect("counted");
        server = restart(&site, server, address).await;
    }
    let mut sent: HashMap<MessageId, (ConversationId, String, String)> = HashMap::new();
    for sender in senders {
        for (name, conversation, text, result) in within("end of the sends", sender).await.expect("a sender's end") {
            assert!(sent.insert(result.message_id, (conversation, name, text)).is_none(), "one number, one message");
        }
    }
    println!("{} messages were acknowledged, the server was killed {KILLS} times", sent.len());
    let mut received_of_all = 0;
    for (name, mut inbox, link) in inboxes {
        let received = receive(&mut inbox, &link, &name, &sent).await;
        received_of_all += received.len();
    }
    assert_eq!(received_of_all, sent.len(), "each has one receiver beside its sender");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_goes_on_where_an_earlier_one_was() {
    let (_site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation = anna.direct("ben").await;
    anna.send(conversation, "before").await;
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

/// Sends one message after the other until all together have enough acknowledgements.
async fn send_until(
    link: Link,
    conversation_id: ConversationId,
    name: String,
    acknowledged: Arc<AtomicUsize>,
    goal: usize,
) -> Vec<(String, ConversationId, String, SendResult)> {
    let mut sent = Vec::new();
    while acknowledged.load(Ordering::Relaxed) < goal {
        let text = format!("{name} {}", sent.len());
        let client_msg_id = new_client_msg_id();
        let params = SendParams::text(conversation_id, client_msg_id, &text);
        let result = within("acknowledgement", link.send(params)).await.expect("the link lasts");
        acknowledged.fetch_add(1, Ordering::Relaxed);
        let sender = name.split(' ').next().unwrap_or_default().to_owned();
        sent.push((sender, conversation_id, text, result));
    }
    sent
}

async fn restart(site: &Site, server: Server, address: std::net::SocketAddr) -> Server {
    tokio::task::spawn_blocking(move || server.kill()).await.expect("killed");
    Server::start(site.command_at(address), site.admin_socket()).expect("the server starts again")
}

/// Takes what came, up to a mark that another device sends last.
async fn receive(
    inbox: &mut Inbox,
    link: &Link,
    name: &str,
    sent: &HashMap<MessageId, (ConversationId, String, String)>,
) -> Vec<Message> {
    let mut received: Vec<Message> = Vec::new();
    let mine: std::collections::HashSet<ConversationId> = {
        let params = posthouse_protocol::ConversationsListParams::default();
        let list = link.call::<posthouse_protocol::ConversationsList>(&params).await.expect("the list");
        list.conversations.into_iter().map(|conversation| conversation.conversation_id).collect()
    };
    let expected = sent.values().filter(|(conversation, sender, _)| mine.contains(conversation) && sender != name);
    let expected = expected.count();
    while received.len() < expected {
        let Some(Event::Message(message)) = within("message", inbox.next_event()).await else { continue };
        assert_ne!(message.sender.username.as_str(), name, "what was sent here comes as its acknowledgement");
        let (conversation, sender, text) =
            sent.get(&message.message_id).expect("somebody sent and got it acknowledged");
        assert_eq!((message.conversation_id, message.text()), (*conversation, Some(text.as_str())));
        assert_eq!(message.sender.username.as_str(), sender);
        if let Some(before) = received.iter().rev().find(|other| other.conversation_id == message.conversation_id) {
            assert!(before.seq < message.seq, "in order and once");
        }
        received.push(message);
    }
    received
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
