//! A company at work while its server is killed again and again: every acknowledged message reaches every device of
//! every member, once and in order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use posthouse_client::{Inbox, Link, Start, Transport, new_client_msg_id};
use posthouse_e2e::wait::{until, within};
use posthouse_e2e::{Device, Server, Site};
use posthouse_protocol::{
    ConversationId, ConversationsCreate, ConversationsCreateParams, Event, Message, MessageId, SendParams, SendResult,
    Title, Username,
};
use tokio::sync::oneshot;

/// People, each in one group with the others of it, and in a direct conversation with the next one and the one before.
const PEOPLE: usize = 20;
const GROUPS: usize = 4;

/// Devices of each.
const DEVICES: usize = 5;

/// Clients of each device, 200 in all. Every one sends: every second one to the group.
const CLIENTS: usize = 2;

/// Log-ins at once: the server hashes no more passwords than it has cores for, and few may wait.
const LOG_INS: usize = 8;

/// How often the server is killed while they do, and after how many acknowledgements each time.
const KILLS: usize = 3;
const KILL_AFTER: usize = 300;

/// A client of somebody's, with the conversations that it is to get.
struct Member {
    link: Link,
    inbox: Inbox,
    to: ConversationId,
    conversations: [ConversationId; 3],
}

/// An acknowledged message.
struct Sent {
    client: usize,
    conversation: ConversationId,
    text: String,
    result: SendResult,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_message_reaches_each_device_once_and_in_order_though_the_server_is_killed() {
    let names: Vec<String> = (0..PEOPLE).map(|number| format!("person{number}")).collect();
    let (site, mut server) = Site::with_accounts(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let address = server.address();
    let members = crowd(&server, &names).await;
    let clients = members.len();
    assert_eq!(clients, 200);
    let (mut senders, mut receivers, mut expects) = (Vec::new(), Vec::new(), Vec::new());
    let acknowledged = Arc::new(AtomicUsize::new(0));
    for (client, Member { link, inbox, to, conversations }) in members.into_iter().enumerate() {
        let (goal, goal_receiver) = oneshot::channel();
        receivers.push(tokio::spawn(receive(inbox, goal_receiver)));
        expects.push((conversations, goal, link.clone()));
        senders.push(tokio::spawn(send_until(link, client, to, Arc::clone(&acknowledged))));
    }
    for kill in 1..=KILLS {
        let counted = Arc::clone(&acknowledged);
        let enough = move || (counted.load(Ordering::Relaxed) >= kill * KILL_AFTER).then_some(());
        tokio::task::spawn_blocking(move || until("acknowledgement", enough)).await.expect("counted");
        server = restart(&site, server, address).await;
    }
    let mut sent: HashMap<MessageId, Sent> = HashMap::new();
    for sender in senders {
        for one in within("end of the sends", sender).await.expect("a sender's end") {
            assert!(sent.insert(one.result.message_id, one).is_none(), "one number, one message");
        }
    }
    let (mut due, mut got) = (0, 0);
    let mut kept = Vec::new();
    for (client, (conversations, goal, link)) in expects.into_iter().enumerate() {
        // What was sent here comes as its acknowledgement.
        let is_due = |one: &&Sent| conversations.contains(&one.conversation) && one.client != client;
        let count = sent.values().filter(is_due).count();
        goal.send(count).expect("the receiver waits for it");
        due += count;
        kept.push((conversations, link));
    }
    for (client, (receiver, (conversations, _link))) in receivers.into_iter().zip(kept).enumerate() {
        let received = within("last message", receiver).await.expect("a receiver's end");
        assert_received(&received, &sent, client, &conversations);
        got += received.len();
    }
    println!("{} messages of {clients} clients acknowledged, {KILLS} kills: {got} of {due} deliveries", sent.len());
    assert_eq!(got, due);
    server.assert_undisturbed();
}

/// The people's devices, connected; every fourth one by the second transport.
async fn crowd(server: &Server, names: &[String]) -> Vec<Member> {
    let mut groups = Vec::new();
    let mut directs = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let device = Device::log_in(&server.url(), name).await;
        if number < GROUPS {
            let title = Title::new(&format!("Group {number}")).expect("a title");
            let others = names.iter().skip(number + GROUPS).step_by(GROUPS);
            let members = others.map(|name| Username::new(name).expect("a user name")).collect();
            let params = ConversationsCreateParams {
                title,
                members,
                announcement_only: None,
                history: None,
                client_msg_id: None,
            };
            let made = within("group", device.client.call::<ConversationsCreate>(&params)).await.expect("made");
            groups.push(made.conversation_id);
        }
        directs.push(device.direct(&names[(number + 1) % PEOPLE]).await);
    }
    let log_in = |device: usize| {
        let (url, name) = (server.url(), names[device / DEVICES].clone());
        tokio::spawn(async move { Device::log_in(&url, &name).await.token })
    };
    let mut tokens = Vec::new();
    for some in (0..PEOPLE * DEVICES).collect::<Vec<_>>().chunks(LOG_INS) {
        for logged_in in some.iter().map(|device| log_in(*device)).collect::<Vec<_>>() {
            tokens.push(logged_in.await.expect("a log-in"));
        }
    }
    let mut members = Vec::new();
    for client in 0..PEOPLE * DEVICES * CLIENTS {
        let (account, token) = (client / (DEVICES * CLIENTS), tokens[client / CLIENTS].clone());
        let group = groups[account % GROUPS];
        let conversations = [group, directs[account], directs[(account + PEOPLE - 1) % PEOPLE]];
        let to = conversations[if client % 2 == 0 { 0 } else { 1 + client / 2 % 2 }];
        let transport = if client % 4 == 3 { Transport::EventStream } else { Transport::WebSocket };
        let (link, inbox) = Link::start_by(transport, server.url(), token, Start::Beginning);
        members.push(Member { link, inbox, to, conversations });
    }
    members
}

/// Sends one message after the other until all together have enough acknowledgements, and one at least.
async fn send_until(
    link: Link,
    client: usize,
    conversation: ConversationId,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<Sent> {
    let mut sent = Vec::new();
    while sent.is_empty() || acknowledged.load(Ordering::Relaxed) < KILLS * KILL_AFTER + KILL_AFTER / 2 {
        let text = format!("{client} 信 {}", sent.len());
        let params = SendParams::text(conversation, new_client_msg_id(), &text);
        let result = within("acknowledgement", link.send(params)).await.expect("the link lasts");
        acknowledged.fetch_add(1, Ordering::Relaxed);
        sent.push(Sent { client, conversation, text, result });
    }
    sent
}

/// Takes messages; once it is known how many there are to be, until all are there.
async fn receive(mut inbox: Inbox, mut goal: oneshot::Receiver<usize>) -> Vec<Message> {
    let (mut received, mut known) = (Vec::new(), None);
    while known.is_none_or(|goal| received.len() < goal) {
        tokio::select! {
            event = inbox.next_event() => match event.expect("the link lasts") {
                Event::Message(message) if message.client_msg_id.is_some() => received.push(message),
                _ => {}
            },
            goal = &mut goal, if known.is_none() => known = Some(goal.expect("it is told")),
        }
    }
    received
}

/// What a client got is what others acknowledged in its conversations, each in its order.
fn assert_received(
    received: &[Message],
    sent: &HashMap<MessageId, Sent>,
    client: usize,
    conversations: &[ConversationId],
) {
    let mut last: HashMap<ConversationId, &Message> = HashMap::new();
    for message in received {
        let one = sent.get(&message.message_id).expect("somebody sent and got it acknowledged");
        assert_eq!((message.conversation_id, message.text()), (one.conversation, Some(one.text.as_str())));
        assert_eq!((message.seq, message.ts), (one.result.seq, one.result.ts), "as it was acknowledged");
        assert!(conversations.contains(&message.conversation_id), "only to members");
        assert_ne!(one.client, client, "what was sent here comes as its acknowledgement");
        if let Some(before) = last.insert(message.conversation_id, message) {
            assert!(before.seq < message.seq && before.ts <= message.ts, "in order and once");
        }
    }
}

async fn restart(site: &Site, server: Server, address: std::net::SocketAddr) -> Server {
    tokio::task::spawn_blocking(move || server.kill()).await.expect("killed");
    Server::start(site.command_at(address), site.admin_socket()).expect("the server starts again")
}
