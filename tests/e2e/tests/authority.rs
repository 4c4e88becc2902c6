//! Who may do what: every method and every HTTP route, for everybody who may come. What a row says is all that is
//! allowed; a call that is refused has changed nothing.
//!
//! A method or a route that comes to the protocol fails these tests until it has its row, and accounts with roles or
//! without access until they have their column.

use posthouse_e2e::http::{RawEvents, ask};
use posthouse_e2e::raw::RawSocket;
use posthouse_e2e::{Contract, Device, PASSWORD, Server, Site};
use posthouse_protocol::{Connect, Method, Token};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// What a cell says where the call is carried out.
const OK: &str = "ok";
/// No `connect` before.
const NO: &str = "not_connected";
/// No token that is known.
const BAD: &str = "token_invalid";
/// As if it did not exist.
const HIDDEN: &str = "not_found";
/// A member, but not one who may.
const NEVER: &str = "forbidden";
const ONCE: &str = "already_connected";

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A connection without `connect`.
    Nobody,
    /// A connection whose token the server does not know (any more).
    Revoked,
    /// An account that is not in the group.
    Stranger,
    /// A member of it.
    Member,
    /// Another device of that member.
    OtherDevice,
    /// An admin of it.
    GroupAdmin,
    /// Its owner.
    GroupOwner,
}

/// The columns of [`METHODS`].
const CALLERS: [Caller; 7] = [
    Caller::Nobody,
    Caller::Revoked,
    Caller::Stranger,
    Caller::Member,
    Caller::OtherDevice,
    Caller::GroupAdmin,
    Caller::GroupOwner,
];

/// Columns that are due as soon as the protocol has the method.
const DUE: &[(&str, &str)] = &[
    ("accounts.disable", "Disabled"),
    ("accounts.role", "Admin"),
    ("accounts.role", "Owner"),
    ("conversations.role", "GroupAdmin"),
    ("conversations.role", "GroupOwner"),
];

/// A method: its parameters as its owner would give them for a group, and what each of [`CALLERS`] gets.
pub struct Row {
    pub method: &'static str,
    pub params: fn(&Group) -> Value,
    gets: [&'static str; CALLERS.len()],
}

/// All of them.
#[rustfmt::skip]
pub const METHODS: &[Row] = &[
    //                                                          nobody revoked stranger member other admin  owner
    Row { method: "login", params: login,                 gets: [OK,   OK,     OK,      OK,    OK,   OK,    OK] },
    Row { method: "ping", params: |_| json!({}),          gets: [OK,   OK,     OK,      OK,    OK,   OK,    OK] },
    Row { method: "connect", params: |group| json!({"token": group.token}),
                                                          gets: [OK,   BAD,    ONCE,    ONCE,  ONCE, ONCE,  ONCE] },
    Row { method: "sync", params: |_| json!({"cursor": "0"}),
                                                          gets: [NO,   BAD,    OK,      OK,    OK,   OK,    OK] },
    Row { method: "conversations.list", params: |_| json!({"limit": 10}),
                                                          gets: [NO,   BAD,    OK,      OK,    OK,   OK,    OK] },
    Row { method: "conversations.direct", params: |_| json!({"username": "max"}),
                                                          gets: [NO,   BAD,    OK,      OK,    OK,   OK,    OK] },
    Row { method: "conversations.create", params: |_| json!({"title": "Own", "members": ["max"]}),
                                                          gets: [NO,   BAD,    OK,      OK,    OK,   OK,    OK] },
    Row { method: "conversations.get", params: Group::named,
                                                          gets: [NO,   BAD,    HIDDEN,  OK,    OK,   OK,    OK] },
    Row { method: "conversations.members", params: Group::named,
                                                          gets: [NO,   BAD,    HIDDEN,  OK,    OK,   OK,    OK] },
    Row { method: "history", params: Group::named,        gets: [NO,   BAD,    HIDDEN,  OK,    OK,   OK,    OK] },
    Row { method: "send", params: Group::message,         gets: [NO,   BAD,    HIDDEN,  OK,    OK,   OK,    OK] },
    Row { method: "conversations.leave", params: Group::named,
                                                          gets: [NO,   BAD,    HIDDEN,  OK,    OK,   OK,    OK] },
    Row { method: "conversations.update", params: |group| group.with(&json!({"title": "Other"})),
                                                          gets: [NO,   BAD,    HIDDEN,  NEVER, NEVER, OK,   OK] },
    Row { method: "conversations.add", params: |group| group.with(&json!({"members": ["eve"]})),
                                                          gets: [NO,   BAD,    HIDDEN,  NEVER, NEVER, OK,   OK] },
    Row { method: "conversations.remove", params: |group| group.with(&json!({"member": "max"})),
                                                          gets: [NO,   BAD,    HIDDEN,  NEVER, NEVER, OK,   OK] },
    Row { method: "conversations.role", params: |group| group.with(&json!({"member": "max", "role": "admin"})),
                                                          gets: [NO,   BAD,    HIDDEN,  NEVER, NEVER, NEVER, OK] },
];

fn login(_group: &Group) -> Value {
    json!({"username": "mia", "password": PASSWORD, "device": "test"})
}

/// A group that no other cell knows.
pub struct Group {
    id: u64,
    /// Of the member's device.
    token: Token,
}

impl Group {
    fn named(&self) -> Value {
        json!({"conversation_id": self.id})
    }

    fn with(&self, more: &Value) -> Value {
        let mut params = self.named();
        for (name, value) in more.as_object().expect("fields") {
            params[name] = value.clone();
        }
        params
    }

    fn message(&self) -> Value {
        let client_msg_id = posthouse_client::new_client_msg_id();
        self.with(&json!({"client_msg_id": client_msg_id, "body": {"type": "text", "text": "hello"}}))
    }
}

/// A server with everybody who calls.
pub struct World {
    pub server: Server,
    tokens: [Token; 5],
    /// The owner's connection, which makes the groups and sees what has become of them.
    owner: Mutex<RawSocket>,
    _site: Site,
}

impl World {
    pub async fn new() -> Self {
        let (site, server) = Site::with_accounts(&["olga", "adam", "mia", "max", "stan", "eve"]);
        let mut tokens = Vec::new();
        for name in ["stan", "mia", "mia", "adam", "olga"] {
            tokens.push(Device::log_in(&server.url(), name).await.token);
        }
        let mut owner = RawSocket::open(server.address()).await;
        owner.call(0, "connect", json!({"token": tokens[4]})).await;
        let tokens = tokens.try_into().expect("as many as names");
        Self { server, tokens, owner: Mutex::new(owner), _site: site }
    }

    /// A group of olga's with adam as admin, mia and max.
    pub async fn group(&self) -> Group {
        let members = json!({"title": "Board", "members": ["adam", "mia", "max"], "history": "all"});
        let made = self.by_owner("conversations.create", members).await;
        let id = made["result"]["conversation_id"].as_u64().unwrap_or_else(|| panic!("{made}"));
        let group = Group { id, token: self.tokens[1].clone() };
        let admin = group.with(&json!({"member": "adam", "role": "admin"}));
        let made = self.by_owner("conversations.role", admin).await;
        assert_eq!(made["result"], json!({}), "{made}");
        group
    }

    async fn by_owner(&self, method: &str, params: Value) -> Value {
        self.owner.lock().await.call(1, method, params).await
    }

    /// All that a group is.
    pub async fn state(&self, group: &Group) -> [Value; 3] {
        let mut state = [const { Value::Null }; 3];
        for (place, method) in ["conversations.get", "conversations.members", "history"].into_iter().enumerate() {
            state[place] = self.by_owner(method, group.named()).await["result"].take();
        }
        state
    }

    /// A connection of the caller, and how its `connect` was refused, where it was.
    pub async fn open(&self, caller: Caller) -> Result<RawSocket, Value> {
        let mut socket = RawSocket::open(self.server.address()).await;
        let token = match caller {
            Caller::Nobody => return Ok(socket),
            Caller::Revoked => Token("0".repeat(64)),
            Caller::Stranger => self.tokens[0].clone(),
            Caller::Member => self.tokens[1].clone(),
            Caller::OtherDevice => self.tokens[2].clone(),
            Caller::GroupAdmin => self.tokens[3].clone(),
            Caller::GroupOwner => self.tokens[4].clone(),
        };
        let answer = socket.call(0, "connect", json!({"token": token})).await;
        if answer.get("error").is_some() { Err(answer) } else { Ok(socket) }
    }

    async fn got(&self, row: &Row, group: &Group, caller: Caller) -> String {
        let answer = match self.open(caller).await {
            Ok(mut socket) => socket.call(1, row.method, (row.params)(group)).await,
            // What needs no session can be had without one, by this caller as by anybody.
            Err(_) if row.gets[0] == OK && row.method != Connect::NAME => {
                let mut socket = self.open(Caller::Nobody).await.expect("anybody may come");
                socket.call(1, row.method, (row.params)(group)).await
            }
            Err(refused) => refused,
        };
        answer["error"]["code"].as_str().unwrap_or(OK).to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_from_each_method_what_the_table_says() {
    let world = World::new().await;
    let mut refused = 0;
    for row in METHODS {
        for (caller, expected) in CALLERS.into_iter().zip(row.gets) {
            let group = world.group().await;
            let before = world.state(&group).await;
            assert_eq!(world.got(row, &group, caller).await, expected, "{} by {caller:?}", row.method);
            if expected != OK {
                refused += 1;
                assert_eq!(world.state(&group).await, before, "{} by {caller:?} changed something", row.method);
            }
        }
    }
    println!("{} calls, {refused} of them refused", METHODS.len() * CALLERS.len());
    world.server.assert_undisturbed();
}

#[test]
fn the_table_has_every_method_and_every_column() {
    let methods = Contract::read().methods();
    let mut listed: Vec<String> = METHODS.iter().map(|row| row.method.to_owned()).collect();
    listed.sort_unstable();
    assert_eq!(listed, methods, "the table of authority.rs (left) against the protocol (right)");
    let columns = CALLERS.map(|caller| format!("{caller:?}"));
    for (method, column) in DUE {
        let is_due = methods.iter().any(|name| name == method);
        assert!(!is_due || columns.iter().any(|name| name == column), "{method} is there: add the column {column}");
    }
}

/// A route: what nobody, a page of another site, an ended session and a session get.
const ROUTES: &[(&str, &str, [u16; 4])] = &[
    ("GET", "/healthz", [200, 200, 200, 200]),
    ("GET", "/api/v1/events", [200, 403, 200, 200]),
    ("POST", "/api/v1/rpc", [401, 403, 401, 200]),
    // Without the headers of an upgrade.
    ("GET", "/ws", [426, 403, 426, 426]),
];

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_from_each_route_what_the_table_says() {
    let mut routes = Contract::routes();
    routes.sort();
    let mut listed: Vec<_> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    listed.sort();
    assert_eq!(listed, routes, "the table (left) against the OpenAPI document (right)");

    let (_site, server) = Site::with_accounts(&[]);
    let address = server.address();
    let session = RawEvents::open(address).await;
    let ended = RawEvents::open(address).await.session;
    let callers = [
        String::new(),
        format!("Origin: http://evil.example\r\nAuthorization: Bearer {}\r\n", session.session),
        format!("Authorization: Bearer {ended}\r\n"),
        format!("Authorization: Bearer {}\r\n", session.session),
    ];
    let body = r#"{"id":1,"method":"ping"}"#;
    for (method, path, statuses) in ROUTES {
        for (caller, expected) in callers.iter().zip(statuses) {
            let sent = if *method == "POST" { body } else { "" };
            let len = sent.len();
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n{caller}\r\n"
            );
            let answer = ask(address, format!("{head}{sent}").as_bytes()).await;
            assert_eq!(answer.status, *expected, "{method} {path} with {caller:?}");
        }
    }
    server.assert_undisturbed();
}
