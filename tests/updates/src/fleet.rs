//! Clients that exchange messages all the time, through the real client library, and what they were told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use posthouse_client::admin::Admin;
use posthouse_client::{Client, ClientError, Inbox, Item, Link, ServerUrl, Start, Updates, new_client_msg_id};
use posthouse_e2e::PASSWORD;
use posthouse_protocol::admin::AccountAddParams;
use posthouse_protocol::{
    AccountId, ConversationId, ConversationsDirect, ConversationsDirectParams, ErrorBody, Event, History,
    HistoryParams, Login, LoginParams, Message, SendParams, Token, Username,
};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The server hashes two passwords at once.
const HASHES_AT_ONCE: usize = 2;

/// Messages that were acknowledged have arrived everywhere by then.
const ARRIVED_WITHIN: Duration = Duration::from_secs(30);

/// Clients in pairs: each sends to its partner.
pub struct Fleet {
    clients: Vec<Member>,
    over: watch::Sender<bool>,
    acknowledged: Arc<AtomicU64>,
}

struct Member {
    link: Link,
    conversation: ConversationId,
    account: AccountId,
    heard: Arc<Mutex<Heard>>,
    sender: JoinHandle<Sent>,
}

/// What a client has received.
#[derive(Default)]
struct Heard {
    /// The numbers of its partner's messages, as they came.
    numbers: Vec<u64>,
    /// Since when it is without a connection.
    offline: Option<Instant>,
    /// From losing a connection to having caught up on another.
    gaps: Vec<(Instant, Duration)>,
    trouble: Option<String>,
}

/// What a client has sent: each was acknowledged.
struct Sent {
    count: u64,
    /// When each was handed over, and how long its acknowledgement took.
    waits: Vec<(Instant, Duration)>,
    trouble: Option<String>,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Clients that took part.
    pub clients: usize,
    /// Acknowledged messages.
    pub acknowledged: u64,
    /// Of those, what is not stored, or did not arrive.
    pub lost: u64,
    /// What is stored, or arrived, more than once.
    pub duplicated: u64,
    /// What is stored, or arrived, out of its order.
    pub disordered: u64,
    /// Each client's longest wait: for an acknowledgement, or for being connected again.
    pub waits: Vec<Duration>,
    /// What must not happen to a client.
    pub troubles: Vec<String>,
}

impl Fleet {
    /// Makes so many accounts, logs each in once, and has them talk: each sends a message every `every`.
    pub async fn gather(server: &ServerUrl, admin_socket: &Path, count: usize, every: Duration) -> Self {
        let tokens = people(server, admin_socket, count).await;
        let (over, is_over) = watch::channel(false);
        let mut listening = Vec::new();
        for (number, token) in tokens.into_iter().enumerate() {
            let (link, inbox) = Link::start(server.clone(), token, Start::Now);
            let account = link.account().await.expect("the token is valid").account_id;
            let params = ConversationsDirectParams { username: name(number ^ 1) };
            let opened = link.call::<ConversationsDirect>(&params).await.expect("a conversation");
            let heard = Arc::new(Mutex::new(Heard::default()));
            tokio::spawn(listen(inbox, account, opened.conversation_id, Arc::clone(&heard)));
            listening.push((link, opened.conversation_id, account, heard));
        }
        // Nobody speaks before everybody listens.
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut clients = Vec::new();
        for (number, (link, conversation, account, heard)) in listening.into_iter().enumerate() {
            // Not all at once, as people don't.
            let delay = every.mul_f64(f64::from(u32::try_from(number).expect("few")) / count as f64);
            let sender = tokio::spawn(talk(
                (link.clone(), conversation),
                (delay, every),
                is_over.clone(),
                Arc::clone(&acknowledged),
            ));
            clients.push(Member { link, conversation, account, heard, sender });
        }
        Self { clients, over, acknowledged }
    }

    /// What the first of them, who owns the box, does with updates.
    pub async fn owner(server: &ServerUrl) -> Updates {
        let token = log_in(server, 0).await;
        Updates::new(posthouse_client::Login { server: server.clone(), username: name(0), token })
    }

    /// How many messages were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Has everybody fall silent, waits until all has arrived, and compares what was acknowledged with what is stored.
    /// Waits count where they were over after `since`.
    pub async fn tally(self, since: Instant) -> Tally {
        let _ = self.over.send(true);
        let mut tally = Tally { clients: self.clients.len(), ..Tally::default() };
        let mut sent = Vec::new();
        let mut members = Vec::new();
        for Member { link, conversation, account, heard, sender } in self.clients {
            sent.push(sender.await.expect("it does not panic"));
            members.push((link, conversation, account, heard));
        }
        for (number, (link, conversation, account, heard)) in members.iter().enumerate() {
            let (own, partner) = (&sent[number], &sent[number ^ 1]);
            arrived(heard, partner.count).await;
            tally.add(own, &heard.lock().expect("no listener panics"), partner.count, since);
            let stored = history(link, *conversation).await;
            let own_numbers: Vec<u64> =
                stored.iter().filter(|message| message.sender.account_id == *account).map(number_of).collect();
            tally.compare(&own_numbers, own.count);
        }
        tally.waits.sort();
        tally
    }
}

impl Tally {
    /// What a client has sent and heard, of `expected` messages.
    fn add(&mut self, sent: &Sent, heard: &Heard, expected: u64, since: Instant) {
        self.acknowledged += sent.count;
        self.compare(&heard.numbers, expected);
        self.troubles.extend(sent.trouble.iter().chain(&heard.trouble).cloned());
        let waits = sent.waits.iter().chain(&heard.gaps).filter(|(begun, wait)| *begun + *wait >= since);
        self.waits.push(waits.map(|(_, wait)| *wait).max().unwrap_or_default());
    }

    /// Compares the numbers that are there with those of 1 to `count`.
    fn compare(&mut self, numbers: &[u64], count: u64) {
        let mut times: BTreeMap<u64, u64> = (1..=count).map(|number| (number, 0)).collect();
        for number in numbers {
            *times.entry(*number).or_default() += 1;
        }
        self.lost += times.values().filter(|times| **times == 0).count() as u64;
        self.duplicated += times.values().map(|times| times.saturating_sub(1)).sum::<u64>();
        self.disordered += numbers.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
    }

    /// Whether every acknowledged message is there once and in order, and nobody met what must not happen.
    pub fn is_whole(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.disordered == 0 && self.troubles.is_empty()
    }

    /// The wait that `part` of the clients did not exceed.
    pub fn wait(&self, part: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short list")]
        let place = (part * self.waits.len() as f64).ceil() as usize;
        self.waits.get(place.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// Sends one message after the other until it is over; the last one is acknowledged, too.
async fn talk(
    (link, conversation): (Link, ConversationId),
    (delay, every): (Duration, Duration),
    mut is_over: watch::Receiver<bool>,
    acknowledged: Arc<AtomicU64>,
) -> Sent {
    let mut sent = Sent { count: 0, waits: Vec::new(), trouble: None };
    let mut pause = delay;
    loop {
        if let Ok(Ok(_)) = tokio::time::timeout(pause, is_over.wait_for(|over| *over)).await {
            return sent;
        }
        pause = every;
        let begun = Instant::now();
        let text = (sent.count + 1).to_string();
        match link.send(SendParams::text(conversation, new_client_msg_id(), text)).await {
            Ok(_) => {
                sent.count += 1;
                acknowledged.fetch_add(1, Ordering::Relaxed);
                sent.waits.push((begun, begun.elapsed()));
            }
            Err(error) => {
                sent.trouble = Some(format!("a message was refused: {error}"));
                return sent;
            }
        }
    }
}

async fn listen(mut inbox: Inbox, me: AccountId, conversation: ConversationId, heard: Arc<Mutex<Heard>>) {
    while let Some(item) = inbox.next().await {
        let mut heard = heard.lock().expect("nobody panics with it");
        match item {
            Item::Event(push) => {
                if let Event::Message(message) = &push.event
                    && (message.conversation_id, message.sender.account_id != me) == (conversation, true)
                {
                    heard.numbers.push(number_of(message));
                }
            }
            Item::Offline { .. } => {
                heard.offline.get_or_insert_with(Instant::now);
            }
            Item::Online => {
                let gap = heard.offline.take().map(|begun| (begun, begun.elapsed()));
                heard.gaps.extend(gap);
            }
            Item::Reset => heard.trouble = Some("the database is another one".to_owned()),
            Item::LoggedOut => heard.trouble = Some("it was logged out".to_owned()),
            Item::At(_) => {}
        }
    }
}

async fn arrived(heard: &Mutex<Heard>, count: u64) {
    let deadline = Instant::now() + ARRIVED_WITHIN;
    // What is missing by then counts as lost.
    while (heard.lock().expect("no listener panics").numbers.len() as u64) < count && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn history(link: &Link, conversation_id: ConversationId) -> Vec<Message> {
    let (mut messages, mut before) = (Vec::new(), None);
    loop {
        let params = HistoryParams { conversation_id, before, after: None, limit: Some(200) };
        let page = link.call::<History>(&params).await.expect("the history");
        before = page.messages.first().map(|message| message.seq);
        messages.splice(0..0, page.messages);
        if !page.has_more {
            return messages;
        }
    }
}

fn number_of(message: &Message) -> u64 {
    let text = serde_json::to_value(&message.body).expect("JSON");
    text["text"].as_str().and_then(|text| text.parse().ok()).expect("a number was sent")
}

fn name(number: usize) -> Username {
    Username::new(&format!("user{number}")).expect("a user name")
}

/// Makes accounts, and gives a token of each.
async fn people(server: &ServerUrl, admin_socket: &Path, count: usize) -> Vec<Token> {
    let socket = admin_socket.to_owned();
    let add = move || {
        let mut admin = Admin::open(&socket).expect("the administration socket answers");
        for number in 0..count {
            let params = AccountAddParams { username: name(number), password: PASSWORD.to_owned(), role: None };
            admin.add_account(&params).expect("an account");
        }
    };
    tokio::task::spawn_blocking(add).await.expect("it does not panic");
    let mut lanes = JoinSet::new();
    for lane in 0..HASHES_AT_ONCE {
        let server = server.clone();
        lanes.spawn(async move {
            let mut tokens = Vec::new();
            for number in (lane..count).step_by(HASHES_AT_ONCE) {
                tokens.push((number, log_in(&server, number).await));
            }
            tokens
        });
    }
    let mut tokens = lanes.join_all().await.concat();
    tokens.sort_by_key(|(number, _)| *number);
    tokens.into_iter().map(|(_, token)| token).collect()
}

/// Waits as long as the server says where there are too many log-ins from one address, or the machine is too busy.
async fn log_in(server: &ServerUrl, number: usize) -> Token {
    loop {
        let (client, _events) = match Client::open(server).await {
            Ok(opened) => opened,
            Err(ClientError::Unreachable { retry_after_ms: Some(wait_ms), .. }) => {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                continue;
            }
            Err(error) => panic!("the server does not answer: {error}"),
        };
        let params =
            LoginParams { username: name(number), password: PASSWORD.to_owned(), device: "update test".to_owned() };
        match client.call::<Login>(&params).await {
            Ok(login) => return login.token,
            Err(ClientError::Refused(ErrorBody { retry_after_ms: Some(wait_ms), .. })) => {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
            Err(error) => panic!("a log-in failed: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(numbers: &[u64], count: u64) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        tally.compare(numbers, count);
        (tally.lost, tally.duplicated, tally.disordered)
    }

    #[test]
    fn what_is_missing_twice_or_out_of_order_is_counted() {
        assert_eq!(compared(&[1, 2, 3], 3), (0, 0, 0));
        assert_eq!(compared(&[1, 3], 3), (1, 0, 0));
        assert_eq!(compared(&[1, 2, 2, 3], 3), (0, 1, 0));
        assert_eq!(compared(&[2, 1, 3], 3), (0, 0, 1));
    }

    #[test]
    fn waits_are_those_of_the_slowest_part() {
        let tally = Tally { waits: (1..=100).map(Duration::from_millis).collect(), ..Tally::default() };
        assert_eq!((tally.wait(0.5).as_millis(), tally.wait(0.99).as_millis()), (50, 99));
    }
}
