//! Who may do what: every method by every transport, and every HTTP route, for everybody who may come. What a row says is all
//! that is allowed; a call that is refused has changed nothing.
//!
//! A method or a route that comes to the protocol fails these tests until it has its row.

mod routes;
mod world;

use posthouse_client::Transport;
use posthouse_e2e::{Contract, PASSWORD};
use serde_json::{Value, json};

pub use world::{Caller, Cell, World};

/// What a cell says where the call is carried out.
const OK: &str = "ok";
/// No `connect` before.
const NO: &str = "not_connected";
/// No token that is known.
const BAD: &str = "token_invalid";
/// As if it did not exist.
const HIDE: &str = "not_found";
/// Seen, but not one's to do.
const DENY: &str = "forbidden";
const ONCE: &str = "already_connected";

/// What each of [`Caller::ALL`] gets.
type Gets = [&'static str; Caller::ALL.len()];

// In a group: nobody, revoked, disabled | stranger, member, other device, admin, owner | of the site: administrator, owner.
const ANYBODY: Gets = [OK, OK, OK, OK, OK, OK, OK, OK, OK, OK];
const ACCOUNTS: Gets = [NO, BAD, BAD, OK, OK, OK, OK, OK, OK, OK];
const MEMBERS: Gets = [NO, BAD, BAD, HIDE, OK, OK, OK, OK, HIDE, HIDE];
/// Of a message of the member's.
const AUTHOR: Gets = [NO, BAD, BAD, HIDE, OK, OK, DENY, DENY, HIDE, HIDE];
const GROUP_ADMINS: Gets = [NO, BAD, BAD, HIDE, DENY, DENY, OK, OK, HIDE, HIDE];
const GROUP_OWNER: Gets = [NO, BAD, BAD, HIDE, DENY, DENY, DENY, OK, HIDE, HIDE];
const ADMINISTRATORS: Gets = [NO, BAD, BAD, DENY, DENY, DENY, DENY, DENY, OK, OK];
const OWNERS: Gets = [NO, BAD, BAD, DENY, DENY, DENY, DENY, DENY, DENY, OK];
const NOBODY: Gets = [NO, BAD, BAD, HIDE, HIDE, HIDE, HIDE, HIDE, HIDE, HIDE];
const BEFORE_CONNECT: Gets = [OK, BAD, BAD, ONCE, ONCE, ONCE, ONCE, ONCE, ONCE, ONCE];

/// A method, good parameters of it, and who may call it with these.
pub struct Row {
    pub method: &'static str,
    pub params: fn(&Cell) -> Value,
    gets: Gets,
}

impl Row {
    /// Somebody who may.
    pub fn entitled(&self) -> Caller {
        let may = self.gets.iter().rposition(|gets| *gets == OK);
        Caller::ALL[may.unwrap_or(Caller::ALL.len() - 1)]
    }
}

const fn row(method: &'static str, gets: Gets, params: fn(&Cell) -> Value) -> Row {
    Row { method, params, gets }
}

/// All of them; the last one ends the callers' sessions.
pub const METHODS: &[Row] = &[
    row("login", ANYBODY, |cell| json!({"username": cell.username, "password": PASSWORD, "device": "test"})),
    row("ping", ANYBODY, |_| json!({})),
    row("connect", BEFORE_CONNECT, |cell| json!({"token": cell.token})),
    row("sync", ACCOUNTS, |_| json!({"cursor": "0"})),
    row("conversations.list", ACCOUNTS, |_| json!({"limit": 10})),
    row("conversations.direct", ACCOUNTS, |_| json!({"username": "max"})),
    row("conversations.create", ACCOUNTS, |_| json!({"title": "Own", "members": ["max"]})),
    row("conversations.get", MEMBERS, |cell| cell.group(&json!({}))),
    row("conversations.members", MEMBERS, |cell| cell.group(&json!({}))),
    row("conversations.leave", MEMBERS, |cell| cell.group(&json!({}))),
    row("conversations.update", GROUP_ADMINS, |cell| cell.group(&json!({"title": "Other"}))),
    row("conversations.add", GROUP_ADMINS, |cell| cell.group(&json!({"members": ["eve"]}))),
    row("conversations.remove", GROUP_ADMINS, |cell| cell.group(&json!({"member": "max"}))),
    row("conversations.role", GROUP_OWNER, |cell| cell.group(&json!({"member": "max", "role": "admin"}))),
    row("history", MEMBERS, |cell| cell.group(&json!({}))),
    row("send", MEMBERS, |cell| {
        cell.group(&json!({"client_msg_id": cell.fresh, "body": {"type": "text", "text": "hello"}}))
    }),
    row("messages.versions", MEMBERS, |cell| cell.message(&json!({}))),
    row("messages.react", MEMBERS, |cell| cell.message(&json!({"emoji": "👍", "add": true}))),
    row("messages.edit", AUTHOR, |cell| cell.message(&json!({"body": {"type": "text", "text": "better"}}))),
    // The owner and admins may, as its author may for a while.
    row("messages.recall", MEMBERS, |cell| cell.message(&json!({}))),
    row("receipt", MEMBERS, |cell| cell.group(&json!({"read": 1}))),
    row("receipts.get", MEMBERS, |cell| cell.group(&json!({}))),
    row("typing", MEMBERS, |cell| cell.group(&json!({}))),
    row("presence", ACCOUNTS, |_| json!({"status": "away"})),
    row("conversations.mute", MEMBERS, |cell| cell.group(&json!({"muted": true}))),
    row("conversations.pin", MEMBERS, |cell| cell.group(&json!({"pinned": true}))),
    row("accounts.me", ACCOUNTS, |_| json!({})),
    row("accounts.update", ACCOUNTS, |_| json!({"display_name": "Somebody"})),
    row("accounts.search", ACCOUNTS, |_| json!({"query": "ma"})),
    row("accounts.get", ACCOUNTS, |cell| json!({"account_id": cell.account_id})),
    row("accounts.create", ADMINISTRATORS, |cell| json!({"username": cell.fresh})),
    row("accounts.disable", ADMINISTRATORS, |cell| json!({"account_id": cell.account_id})),
    row("accounts.enable", ADMINISTRATORS, |cell| json!({"account_id": cell.account_id})),
    row("accounts.reset", ADMINISTRATORS, |cell| json!({"account_id": cell.account_id})),
    row("accounts.role", OWNERS, |cell| json!({"account_id": cell.account_id, "role": "administrator"})),
    row("accounts.depart", ADMINISTRATORS, |cell| json!({"account_id": cell.account_id})),
    row("accounts.devices", ADMINISTRATORS, |cell| json!({"account_id": cell.account_id})),
    row("accounts.sign_out", ADMINISTRATORS, |cell| json!({"account_id": cell.account_id})),
    row("accounts.import", ADMINISTRATORS, |cell| json!({"csv": format!("username\n{}\n", cell.fresh)})),
    row("invites.create", ADMINISTRATORS, |_| json!({"uses": 2})),
    row("invites.list", ADMINISTRATORS, |_| json!({"limit": 5})),
    row("invites.revoke", ADMINISTRATORS, |cell| json!({"invite_id": cell.invite_id})),
    row(
        "invites.accept",
        ANYBODY,
        |cell| json!({"code": cell.code, "username": cell.fresh, "password": PASSWORD, "device": "test"}),
    ),
    row(
        "password.change",
        ANYBODY,
        |cell| json!({"username": cell.username, "password": PASSWORD, "new_password": "another password"}),
    ),
    row("devices.list", ACCOUNTS, |_| json!({})),
    // Of somebody else; one's own is signed out by the next row.
    row("devices.revoke", NOBODY, |cell| json!({"device_id": cell.device_id})),
    row("logout", ACCOUNTS, |_| json!({})),
];

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_from_each_method_by_websocket_what_the_table_says() {
    call_all(Transport::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_from_each_method_by_event_stream_what_the_table_says() {
    call_all(Transport::EventStream).await;
}

async fn call_all(transport: Transport) {
    let world = World::new().await;
    let mut refused = 0;
    for row in METHODS {
        // Who is refused changes nothing: one cell is enough for all of them.
        let untouched = world.cell().await;
        let before = world.state(&untouched).await;
        for (caller, expected) in Caller::ALL.into_iter().zip(row.gets) {
            let anew;
            let cell = if expected == OK {
                anew = world.cell().await;
                &anew
            } else {
                refused += 1;
                &untouched
            };
            let got = world.got(transport, row, cell, caller).await;
            assert_eq!(got, expected, "{} by {caller:?}", row.method);
        }
        let after = world.state(&untouched).await;
        assert_eq!(after, before, "{}: somebody who may not has changed something", row.method);
    }
    println!("{} calls, {refused} of them refused", METHODS.len() * Caller::ALL.len());
    world.server.assert_undisturbed();
}

#[test]
fn the_table_has_every_method() {
    let mut listed: Vec<String> = METHODS.iter().map(|row| row.method.to_owned()).collect();
    listed.sort_unstable();
    let methods = Contract::read().methods();
    assert_eq!(listed, methods, "the table of authority.rs (left) against the protocol (right)");
}
