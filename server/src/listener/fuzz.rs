//! HTTP requests, sound and damaged, against the listener with everything behind it: paths, headers, bodies, both
//! transports.
//!
//! What comes back is HTTP with a status of the list, and a sound request gets the one that PROTOCOL.md says: a page of
//! another site never gets in. Whatever came before, the next request still works, the connection ends with its
//! client, and what was acknowledged is there.

mod wire;

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use posthouse_protocol::{EVENTS_PATH, Incoming, RPC_PATH, WEBSOCKET_PATH, limits};
use serde_json::{Value, json};

use crate::fuzzing::{ANNA, Acknowledged, BEN, Change, Site, bytes, changes, damaged, example, fuzz, runtime, several};
use wire::{Line, Stream};

/// Every status that there is a reason for; 100 comes before another.
const STATUSES: [u16; 18] = [100, 101, 200, 303, 400, 401, 403, 404, 405, 408, 413, 414, 415, 417, 421, 426, 431, 503];

const METHODS: [&str; 5] = ["GET", "POST", "HEAD", "PUT", "OPTIONS"];
const PATHS: [&str; 8] =
    ["/ws", "/api/v1/events", "/api/v1/rpc", "/healthz", "/", "/nowhere", "/api/v1/rpc/", "/api/v1/rpc?session=1"];
const ORIGINS: [&str; 6] = [
    "http://posthouse.local",
    "https://posthouse.local",
    "http://evil.example",
    "null",
    "",
    "http://posthouse.local:81",
];
const TYPES: [&str; 4] = ["application/json", "Application/JSON; charset=utf-8", "text/plain", ""];
const IDS: [&str; 6] = ["", "1-0", "1-", "-", "18446744073709551615-18446744073709551616", "1-é"];

#[derive(Debug, Arbitrary)]
struct Input {
    #[arbitrary(with = |random: &mut Unstructured<'_>| several(random, 1..=8))]
    requests: Vec<Asked>,
}

/// A request as it should be, unless something else stands in its place.
#[derive(Debug, Arbitrary)]
struct Asked {
    route: u8,
    example: u8,
    #[arbitrary(with = seldom)]
    method: Option<u8>,
    #[arbitrary(with = seldom)]
    path: Option<u8>,
    #[arbitrary(with = seldom)]
    origin: Option<u8>,
    #[arbitrary(with = seldom)]
    content_type: Option<u8>,
    #[arbitrary(with = seldom)]
    secret: Option<Secret>,
    #[arbitrary(with = seldom)]
    last_event_id: Option<u8>,
    #[arbitrary(with = seldom)]
    upgrade: Option<()>,
    #[arbitrary(with = seldom)]
    body: Option<Body>,
    #[arbitrary(with = seldom)]
    damage: Option<Damage>,
}

fn seldom<'a, T: Arbitrary<'a>>(random: &mut Unstructured<'a>) -> arbitrary::Result<Option<T>> {
    random.ratio(1, 5)?.then(|| T::arbitrary(random)).transpose()
}

#[derive(Debug, Arbitrary)]
enum Secret {
    Wrong,
    Missing,
    OtherScheme,
}

#[derive(Debug, Arbitrary)]
enum Body {
    Damaged(#[arbitrary(with = changes)] Vec<Change>),
    TooLong,
}

#[derive(Debug, Arbitrary)]
enum Damage {
    /// Another length than the body has.
    Length(u32),
    /// A header of any kind.
    Header(#[arbitrary(with = bytes::<24>)] Vec<u8>, #[arbitrary(with = bytes::<60>)] Vec<u8>),
    Changes(#[arbitrary(with = changes)] Vec<Change>),
    /// Nothing of HTTP in it.
    Noise(#[arbitrary(with = bytes::<200>)] Vec<u8>),
}

#[test]
fn whatever_is_asked_the_answer_is_http_and_the_next_one_is_right() {
    fuzz(|input: &Input| runtime().block_on(run(input)));
}

async fn run(input: &Input) {
    let (mut site, mut acknowledged, mut is_sound) = (Site::start(), Acknowledged::default(), true);
    let gate = wire::gate(&site);
    let mut session = Session::open(&mut site, &gate, ANNA).await.expect("a valid token");
    for (asked, id) in input.requests.iter().zip(1..) {
        if session.stream.is_closed() {
            // Who has signed out stays out.
            let Some(next) = Session::open(&mut site, &gate, ANNA).await else { break };
            session = next;
        }
        let body = asked.body(id);
        let mut line = Line::open(&site, &gate);
        let answers = line.ask(&mut site, &asked.request(&session.secret, &body)).await;
        session.stream.read();
        // Damage on the way may have changed what the body says.
        let heard = if asked.damage.is_none() { body.as_slice() } else { &[] };
        for answer in &answers {
            assert!(STATUSES.contains(&answer.status), "{answer:?}");
            if let Ok(value) = serde_json::from_slice::<Value>(&answer.body) {
                acknowledged.remember(heard, &value);
            }
        }
        if asked.damage.is_none() {
            let [answer] = answers.as_slice() else { panic!("{answers:?}") };
            assert_eq!(answer.status, asked.status(&body), "{answer:?}");
            asked.check(&answer.body);
        } else {
            is_sound = false;
        }
        line.end().await;
    }
    let health = wire::ask_once(&mut site, &gate, b"GET /healthz HTTP/1.1\r\nHost: posthouse.local\r\n\r\n").await;
    assert!(health.status == 200 && health.body.starts_with(b"{\"status\":\"ok\""), "{health:?}");
    Session::open(&mut site, &gate, BEN).await.expect("a valid token");
    acknowledged.check(&site.messages().await, is_sound);
}

/// An event stream of somebody who is connected.
struct Session {
    stream: Stream,
    secret: String,
}

impl Session {
    async fn open(site: &mut Site, gate: &super::Gate, token: &str) -> Option<Self> {
        let (stream, secret) = Stream::open(site, gate).await;
        let session = Self { stream, secret };
        let connected = session.call(site, gate, "connect", &json!({ "token": token })).await;
        assert!(
            connected["error"]["code"] == "token_invalid" || connected["result"]["cursor"].is_string(),
            "{connected}"
        );
        connected.get("result").map(|_| session)
    }

    async fn call(&self, site: &mut Site, gate: &super::Gate, method: &str, params: &Value) -> Value {
        let body = json!({"id": 1, "method": method, "params": params}).to_string();
        let request = format!(
            "POST /api/v1/rpc HTTP/1.1\r\nHost: posthouse.local\r\nContent-Type: application/json\r\n\
             Authorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.secret,
            body.len()
        );
        let answer = wire::ask_once(site, gate, request.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_slice(&answer.body).expect("JSON")
    }
}

impl Asked {
    fn route(&self) -> (&'static str, &'static str) {
        match self.route % 8 {
            0 => ("GET", EVENTS_PATH),
            1 => ("GET", WEBSOCKET_PATH),
            _ => ("POST", RPC_PATH),
        }
    }

    /// A request for the WebSocket is one for an upgrade; with another it makes no difference.
    fn is_upgrade(&self) -> bool {
        self.upgrade.is_some() != (self.path() == WEBSOCKET_PATH)
    }

    fn method(&self) -> &'static str {
        self.method.map_or(self.route().0, |number| METHODS[usize::from(number) % METHODS.len()])
    }

    fn path(&self) -> &'static str {
        self.path.map_or(self.route().1, |number| PATHS[usize::from(number) % PATHS.len()])
    }

    fn origin(&self) -> Option<&'static str> {
        self.origin.map(|origin| ORIGINS[usize::from(origin) % ORIGINS.len()])
    }

    fn content_type(&self) -> &'static str {
        self.content_type.map_or(TYPES[0], |number| TYPES[usize::from(number) % TYPES.len()])
    }

    fn body(&self, id: u64) -> Vec<u8> {
        let sound = example(self.example, id).into_bytes();
        match &self.body {
            None => sound,
            Some(Body::Damaged(changes)) => damaged(&sound, changes),
            Some(Body::TooLong) => vec![b' '; limits::FRAME_LEN_MAX + 1],
        }
    }

    fn request(&self, secret: &str, body: &[u8]) -> Vec<u8> {
        if let Some(Damage::Noise(bytes)) = &self.damage {
            return bytes.clone();
        }
        let mut head = format!("{} {} HTTP/1.1\r\nHost: posthouse.local\r\n", self.method(), self.path());
        let mut header = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        header("Content-Type", self.content_type());
        match &self.secret {
            None => header("Authorization", &format!("Bearer {secret}")),
            Some(Secret::Wrong) => header("Authorization", "Bearer 0000"),
            Some(Secret::OtherScheme) => header("Authorization", &format!("Basic {secret}")),
            Some(Secret::Missing) => {}
        }
        if let Some(origin) = self.origin() {
            header("Origin", origin);
        }
        if let Some(id) = self.last_event_id {
            header("Last-Event-ID", IDS[usize::from(id) % IDS.len()]);
        }
        if self.is_upgrade() {
            header("Connection", "Upgrade");
            header("Upgrade", "websocket");
            header("Sec-WebSocket-Version", "13");
            header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        }
        let len = if let Some(Damage::Length(len)) = self.damage { len as usize % 300_000 } else { body.len() };
        header("Content-Length", &len.to_string());
        let mut request = head.into_bytes();
        if let Some(Damage::Header(name, value)) = &self.damage {
            request.extend([name, b": ".as_slice(), value, b"\r\n"].concat());
        }
        request.extend(b"\r\n");
        request.extend(body);
        if let Some(Damage::Changes(changes)) = &self.damage { damaged(&request, changes) } else { request }
    }

    /// What PROTOCOL.md says of a sound request.
    fn status(&self, body: &[u8]) -> u16 {
        let is_foreign = self.origin().is_some_and(|origin| origin != "http://posthouse.local");
        match (self.path(), self.method()) {
            (_, "POST" | "PUT" | "OPTIONS") if is_foreign => 403,
            ("/ws" | "/api/v1/events" | "/api/v1/rpc" | "/api/v1/rpc?session=1", _) if is_foreign => 403,
            ("/ws", "GET") if self.is_upgrade() => 101,
            ("/ws", "GET") => 426,
            ("/api/v1/events", "GET") | ("/healthz" | "/", "GET" | "HEAD") => 200,
            ("/api/v1/rpc" | "/api/v1/rpc?session=1", "POST") => self.status_of_post(body),
            ("/nowhere" | "/api/v1/rpc/", _) => 404,
            _ => 405,
        }
    }

    fn status_of_post(&self, body: &[u8]) -> u16 {
        if !self.content_type().to_ascii_lowercase().starts_with("application/json") {
            return 415;
        }
        match &self.secret {
            Some(Secret::Missing | Secret::OtherScheme) => 401,
            _ if body.len() > limits::FRAME_LEN_MAX => 413,
            _ if std::str::from_utf8(body).is_err() => 400,
            Some(Secret::Wrong) => 401,
            None => 200,
        }
    }

    /// What a sound POST gets is a frame.
    fn check(&self, answer: &[u8]) {
        if self.path() == "/api/v1/rpc" && self.method() == "POST" {
            let text = std::str::from_utf8(answer).expect("UTF-8");
            let frame = Incoming::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(matches!(frame, Incoming::Answer { .. }), "{text}");
        }
    }
}

/// After this time of the virtual clock a connection whose client has gone is gone, too.
const END: Duration = Duration::from_secs(60);
