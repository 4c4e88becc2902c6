//! In which order sends go, on a virtual clock and with a server that does as the test says.

use std::convert::Infallible;

use posthouse_protocol::{ClientMsgId, ConversationId, Empty, ErrorBody, Ping};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::*;
use crate::Link;
use crate::client::{Answer, Call};

/// Nothing that a link does by itself takes so long.
const LONG: Duration = Duration::from_secs(3_600);

/// A link, and what it gets its connections from.
struct Program {
    link: Link,
    connections: mpsc::Sender<(Client, Events)>,
    _items: mpsc::Receiver<Item>,
}

/// The server's end of a connection.
struct Server {
    calls: mpsc::Receiver<Call>,
    _events: mpsc::Sender<Pushed>,
}

/// A request that has come.
struct Asked {
    frame: Value,
    answer: oneshot::Sender<Answer>,
}

type Acknowledgement = BoxFuture<'static, Result<SendResult, ClientError>>;

impl Program {
    fn start() -> Self {
        let (sends, sends_receiver) = mpsc::channel(64);
        let (items, items_receiver) = mpsc::channel(64);
        let (current, current_receiver) = watch::channel(None);
        let server = ("http://box".parse().expect("an address"), Transport::default());
        let keeper = Keeper::new(server, Token("t".to_owned()), Start::Now, sends_receiver, items, current);
        let (connections, opened) = mpsc::channel(1);
        tokio::spawn(keep(keeper, opened));
        Self { link: Link { sends, current: current_receiver }, connections, _items: items_receiver }
    }

    async fn connect(&self) -> Server {
        let (client, events, calls, sender) = Client::over();
        self.connections.send((client, events)).await.expect("the keeper is there");
        Server { calls, _events: sender }
    }

    /// Sends what it also calls it.
    async fn queue(&self, text: &str) -> Acknowledgement {
        let name = ClientMsgId::new(text).expect("short");
        self.link.queue(SendParams::text(ConversationId(1), name, text)).await.expect("the link is there").boxed()
    }
}

/// Keeps one connection after the other.
async fn keep(mut keeper: Keeper, mut opened: mpsc::Receiver<(Client, Events)>) {
    while let Some((client, events)) = opened.recv().await {
        let Err(End::Lost(_)) = keep_one(&mut keeper, client, events).await else { return };
    }
}

async fn keep_one(keeper: &mut Keeper, client: Client, events: Events) -> Result<Infallible, End> {
    let connected = json!({
        "session_id": 1, "account": { "account_id": 1, "username": "anna" }, "epoch": 1, "cursor": "1",
        "resumed": true, "ping_interval_s": 45, "limits": {
            "frame_len_max": 131_072, "text_len_max": 16_384, "history_limit_max": 200, "sync_limit_max": 500,
            "group_members_max": 2_000, "members_change_max": 100, "requests_in_flight_max": 64,
        },
    });
    let connected = serde_json::from_value(connected).expect("as PROTOCOL.md shows it");
    let mut session = keeper.begin(client, events, connected).await?;
    loop {
        keeper.step(&mut session).await?;
    }
}

impl Server {
    async fn next(&mut self) -> Asked {
        let call = tokio::time::timeout(LONG, self.calls.recv()).await.expect("a request").expect("a connection");
        Asked { frame: serde_json::from_str(&call.frame).expect("JSON"), answer: call.answer }
    }

    /// The messages that come next.
    async fn messages<const N: usize>(&mut self, texts: [&str; N]) -> [Asked; N] {
        let mut came = Vec::new();
        for text in texts {
            let asked = self.next().await;
            assert_eq!(asked.frame["params"]["client_msg_id"], text, "{}", asked.frame);
            came.push(asked);
        }
        came.try_into().ok().expect("as many as were asked for")
    }

    async fn hears_nothing(&mut self) {
        let heard = tokio::time::timeout(LONG, self.calls.recv()).await;
        assert!(heard.is_err(), "{}", heard.ok().flatten().expect("a connection").frame);
    }
}

impl Asked {
    fn accept(self, result: &Value) {
        self.answer.send(Ok(to_raw_value(result).expect("JSON"))).expect("somebody waits for it");
    }

    fn accept_as(self, seq: u64) {
        self.accept(&json!({ "message_id": seq, "seq": seq, "ts": 0 }));
    }

    fn refuse(self, error: ErrorBody) {
        self.answer.send(Err(ClientError::Refused(error))).expect("somebody waits for it");
    }

    fn refuse_for(self, wait_ms: u64) {
        self.refuse(ErrorBody::new(ErrorCode::RateLimited, "wait").retry_after_ms(wait_ms));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_for_now_goes_again_in_its_order_and_at_first_alone() {
    let program = Program::start();
    let mut server = program.connect().await;
    let mut acknowledgements = Vec::new();
    for text in ["1", "2", "3", "4", "5"] {
        acknowledgements.push(program.queue(text).await);
    }
    let [first, second, third, fourth, fifth] = server.messages(["1", "2", "3", "4", "5"]).await;
    first.accept_as(1);
    second.refuse_for(300);
    fifth.refuse_for(100);
    acknowledgements.push(program.queue("6").await);
    // Two of them still have to be answered.
    server.hears_nothing().await;
    // The server had room for it.
    fourth.accept_as(2);
    let refused = Instant::now();
    third.refuse_for(200);
    let [second] = server.messages(["2"]).await;
    assert!((200..=202).contains(&refused.elapsed().as_millis()), "{:?}", refused.elapsed());
    server.hears_nothing().await;
    let refused = Instant::now();
    second.refuse_for(50);
    let [second] = server.messages(["2"]).await;
    assert!((50..=52).contains(&refused.elapsed().as_millis()), "{:?}", refused.elapsed());
    second.accept_as(3);
    let [third, fifth, sixth] = server.messages(["3", "5", "6"]).await;
    acknowledgements.push(program.queue("7").await);
    let [seventh] = server.messages(["7"]).await;
    for (asked, seq) in [third, fifth, sixth, seventh].into_iter().zip(4..) {
        asked.accept_as(seq);
    }
    let mut seqs = Vec::new();
    for acknowledgement in acknowledgements {
        seqs.push(acknowledgement.await.expect("it is sent").seq.0);
    }
    assert_eq!(seqs, [1, 3, 4, 2, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn while_sends_are_held_other_calls_go_on_and_a_refusal_for_good_ends_the_hold() {
    let program = Program::start();
    let mut server = program.connect().await;
    let [refused, accepted] = [program.queue("1").await, program.queue("2").await];
    let [first, second] = server.messages(["1", "2"]).await;
    first.refuse_for(300);
    second.refuse_for(300);
    let call = tokio::spawn({
        let link = program.link.clone();
        async move { link.call::<Ping>(&Empty {}).await }
    });
    let ping = server.next().await;
    assert_eq!(ping.frame["method"], "ping", "before them: {}", ping.frame);
    ping.accept(&json!({}));
    call.await.expect("no panic").expect("an answer");
    let [first] = server.messages(["1"]).await;
    first.refuse(ErrorBody::new(ErrorCode::Forbidden, "no"));
    let [second] = server.messages(["2"]).await;
    second.accept_as(1);
    assert!(matches!(refused.await, Err(ClientError::Refused(error)) if error.code == ErrorCode::Forbidden));
    assert_eq!(accepted.await.expect("it is sent").seq.0, 1);
}

#[tokio::test(start_paused = true)]
async fn on_the_next_connection_all_that_was_not_accepted_goes_again_in_its_order() {
    let program = Program::start();
    let mut server = program.connect().await;
    let mut acknowledgements = vec![program.queue("1").await, program.queue("2").await];
    let [first, _second] = server.messages(["1", "2"]).await;
    first.refuse_for(10 * u64::try_from(LONG.as_millis()).expect("it is short"));
    acknowledgements.push(program.queue("3").await);
    server.hears_nothing().await;
    drop(server);
    let mut server = program.connect().await;
    for (asked, seq) in server.messages(["1", "2", "3"]).await.into_iter().zip(1..) {
        asked.accept_as(seq);
    }
    for (acknowledgement, seq) in acknowledgements.into_iter().zip(1..) {
        assert_eq!(acknowledgement.await.expect("it is sent").seq.0, seq);
    }
}
