//! Every method of groups: who may, what it refuses, and where its limits are.

use posthouse_client::ServerUrl;
use posthouse_e2e::raw::RawSocket;
use posthouse_e2e::{Device, Site};
use posthouse_protocol::{ConversationId, limits};
use serde_json::{Value, json};

const NAMES: [&str; 6] = ["olga", "adam", "mia", "max", "stan", "eve"];

/// A connection of one account, by hand.
struct Wire {
    socket: RawSocket,
    id: u64,
}

impl Wire {
    async fn open(server: &ServerUrl, address: std::net::SocketAddr, name: &str) -> Self {
        let device = Device::log_in(server, name).await;
        let mut socket = RawSocket::open(address).await;
        socket.call(1, "connect", json!({ "token": device.token })).await;
        Self { socket, id: 1 }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        self.socket.call(self.id, method, params).await
    }

    /// `ok`, or the code of the error.
    async fn outcome(&mut self, method: &str, params: Value) -> String {
        let answer = self.call(method, params).await;
        answer["error"]["code"].as_str().unwrap_or("ok").to_owned()
    }

    async fn group(&mut self, members: &[&str]) -> u64 {
        let made = self.call("conversations.create", json!({ "title": "Board", "members": members })).await;
        made["result"]["conversation_id"].as_u64().unwrap_or_else(|| panic!("{made}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_the_table_says_and_strangers_see_nothing() {
    let (_site, server) = Site::with_accounts(&NAMES);
    let mut wires = Vec::new();
    // Two of them are no members.
    for name in ["olga", "adam", "mia", "stan"] {
        wires.push(Wire::open(&server.url(), server.address(), name).await);
    }
    let nothing = json!({});
    // Method, parameters beside the group's number, and the outcome for owner, admin, member, stranger.
    let table = [
        ("send", json!({ "client_msg_id": "x", "body": { "type": "text", "text": "x" } }), ["ok", "ok", "ok"]),
        ("history", nothing.clone(), ["ok", "ok", "ok"]),
        ("conversations.get", nothing.clone(), ["ok", "ok", "ok"]),
        ("conversations.members", nothing.clone(), ["ok", "ok", "ok"]),
        ("conversations.update", json!({ "title": "Other" }), ["ok", "ok", "forbidden"]),
        ("conversations.update", json!({ "announcement_only": true }), ["ok", "ok", "forbidden"]),
        ("conversations.update", json!({ "history": "all" }), ["ok", "ok", "forbidden"]),
        ("conversations.add", json!({ "members": ["eve"] }), ["ok", "ok", "forbidden"]),
        ("conversations.add", json!({ "members": ["max"] }), ["ok", "ok", "forbidden"]),
        ("conversations.add", json!({ "members": ["nobody"] }), ["not_found", "not_found", "not_found"]),
        ("conversations.remove", json!({ "member": "max" }), ["ok", "ok", "forbidden"]),
        ("conversations.remove", json!({ "member": "adam" }), ["ok", "invalid_params", "forbidden"]),
        ("conversations.remove", json!({ "member": "olga" }), ["invalid_params", "forbidden", "forbidden"]),
        ("conversations.remove", json!({ "member": "eve" }), ["not_found", "not_found", "forbidden"]),
        ("conversations.remove", json!({ "member": "nobody" }), ["not_found", "not_found", "not_found"]),
        ("conversations.role", json!({ "member": "max", "role": "admin" }), ["ok", "forbidden", "forbidden"]),
        ("conversations.role", json!({ "member": "max", "role": "owner" }), ["ok", "forbidden", "forbidden"]),
        ("conversations.role", json!({ "member": "adam", "role": "member" }), ["ok", "forbidden", "forbidden"]),
        (
            "conversations.role",
            json!({ "member": "olga", "role": "member" }),
            ["invalid_params", "forbidden", "forbidden"],
        ),
        ("conversations.role", json!({ "member": "eve", "role": "admin" }), ["not_found", "forbidden", "forbidden"]),
        ("conversations.leave", nothing, ["ok", "ok", "ok"]),
    ];
    for (number, (method, params, outcomes)) in table.into_iter().enumerate() {
        for (who, expected) in outcomes.into_iter().chain(["not_found"]).enumerate() {
            let group = wires[0].group(&["adam", "mia", "max"]).await;
            let made = json!({ "conversation_id": group, "member": "adam", "role": "admin" });
            assert_eq!(wires[0].outcome("conversations.role", made).await, "ok");
            let mut params = params.clone();
            params["conversation_id"] = group.into();
            if method == "send" {
                params["client_msg_id"] = format!("{number}.{who}").into();
            }
            let answer = wires[who].call(method, params.clone()).await;
            let outcome = answer["error"]["code"].as_str().unwrap_or("ok");
            assert_eq!(outcome, expected, "{method} {params} by number {who}: {answer}");
            if who == 3 {
                // What does not exist is refused in the same words.
                params["conversation_id"] = (1_u64 << 50).into();
                let nothing = wires[who].call(method, params).await;
                assert_eq!(nothing["error"], answer["error"], "{method}");
            }
        }
    }
    // Admins are safe from each other.
    let group = wires[0].group(&["adam", "max"]).await;
    for admin in ["adam", "max"] {
        let made = json!({ "conversation_id": group, "member": admin, "role": "admin" });
        assert_eq!(wires[0].outcome("conversations.role", made).await, "ok");
    }
    let other = json!({ "conversation_id": group, "member": "max" });
    assert_eq!(wires[1].outcome("conversations.remove", other).await, "forbidden");
    server.assert_undisturbed();
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_misspelt_or_out_of_bounds_is_refused_and_changes_nothing() {
    let (_site, server) = Site::with_accounts(&NAMES);
    let mut olga = Wire::open(&server.url(), server.address(), "olga").await;
    let group = olga.group(&["adam"]).await;
    let direct = olga.call("conversations.direct", json!({ "username": "adam" })).await;
    let direct = direct["result"]["conversation_id"].as_u64().expect("a conversation");
    let many: Vec<String> = (0..=limits::MEMBERS_CHANGE_MAX).map(|number| format!("n{number}")).collect();
    let long = "字".repeat(limits::TITLE_CHARS_MAX + 1);
    let bad = [
        ("conversations.create", json!({})),
        ("conversations.create", json!({ "title": "" })),
        ("conversations.create", json!({ "title": " \u{3000}" })),
        ("conversations.create", json!({ "title": 7 })),
        ("conversations.create", json!({ "title": long })),
        ("conversations.create", json!({ "title": "a\u{0}b" })),
        ("conversations.create", json!({ "title": "a\u{202e}b" })),
        ("conversations.create", json!({ "title": "x", "members": "adam" })),
        ("conversations.create", json!({ "title": "x", "members": [""] })),
        ("conversations.create", json!({ "title": "x", "members": many })),
        ("conversations.create", json!({ "title": "x", "history": "some" })),
        ("conversations.create", json!({ "title": "x", "announcement_only": "yes" })),
        ("conversations.create", json!({ "title": "x", "everybody": true })),
        ("conversations.update", json!({ "title": "x" })),
        ("conversations.update", json!({ "conversation_id": group, "title": "" })),
        ("conversations.update", json!({ "conversation_id": group, "title": long })),
        ("conversations.update", json!({ "conversation_id": group, "owner": "adam" })),
        ("conversations.update", json!({ "conversation_id": -1 })),
        ("conversations.update", json!({ "conversation_id": direct, "title": "x" })),
        ("conversations.members", json!({})),
        ("conversations.members", json!({ "conversation_id": group, "limit": 0 })),
        ("conversations.members", json!({ "conversation_id": group, "limit": limits::PAGE_LIMIT_MAX + 1 })),
        ("conversations.members", json!({ "conversation_id": group, "after": "x" })),
        ("conversations.members", json!({ "conversation_id": group, "after": "01" })),
        ("conversations.members", json!({ "conversation_id": group, "after": 1 })),
        ("conversations.add", json!({ "conversation_id": group })),
        ("conversations.add", json!({ "conversation_id": group, "members": [] })),
        ("conversations.add", json!({ "conversation_id": group, "members": many })),
        ("conversations.add", json!({ "conversation_id": group, "members": ["a b"] })),
        ("conversations.add", json!({ "conversation_id": direct, "members": ["mia"] })),
        ("conversations.remove", json!({ "conversation_id": group })),
        ("conversations.remove", json!({ "conversation_id": group, "member": 2 })),
        ("conversations.remove", json!({ "conversation_id": direct, "member": "adam" })),
        ("conversations.role", json!({ "conversation_id": group, "member": "adam" })),
        ("conversations.role", json!({ "conversation_id": group, "member": "adam", "role": "king" })),
        ("conversations.role", json!({ "conversation_id": direct, "member": "adam", "role": "owner" })),
        (
            "send",
            json!({ "conversation_id": group, "client_msg_id": "x", "body": { "type": "system", "what": "joined" } }),
        ),
        ("conversations.leave", json!({})),
        ("conversations.leave", json!({ "conversation_id": group, "why": "bored" })),
        ("conversations.leave", json!({ "conversation_id": direct })),
    ];
    let before = olga.call("sync", json!({ "cursor": "0" })).await["result"].clone();
    for (method, params) in bad {
        assert_eq!(olga.outcome(method, params.clone()).await, "invalid_params", "{method} {params}");
    }
    let unknown = json!({ "title": "x", "members": ["adam", "nobody"] });
    let answer = olga.call("conversations.create", unknown).await;
    assert_eq!(answer["error"]["message"], "there is no account nobody", "who it is is said: {answer}");
    assert_eq!(olga.call("sync", json!({ "cursor": "0" })).await["result"], before, "nothing has changed");
    // What changes nothing is no error, and nothing is told.
    for (method, params) in [
        ("conversations.add", json!({ "conversation_id": group, "members": ["adam", "olga"] })),
        ("conversations.update", json!({ "conversation_id": group })),
        ("conversations.update", json!({ "conversation_id": group, "title": "Board", "history": "from_joining" })),
        ("conversations.role", json!({ "conversation_id": group, "member": "adam", "role": "member" })),
    ] {
        assert_eq!(olga.outcome(method, params.clone()).await, "ok", "{method} {params}");
    }
    assert_eq!(olga.call("sync", json!({ "cursor": "0" })).await["result"], before, "nothing has changed");
    let longest = "字".repeat(limits::TITLE_CHARS_MAX);
    let params = json!({ "conversation_id": ConversationId(group), "title": longest });
    assert_eq!(olga.outcome("conversations.update", params).await, "ok");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_it_is_done_before_connect() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let mut socket = RawSocket::open(server.address()).await;
    for (id, method) in ["create", "update", "members", "add", "remove", "role", "leave"].into_iter().enumerate() {
        let answer = socket.call(id as u64, &format!("conversations.{method}"), json!({})).await;
        assert_eq!(answer["error"]["code"], "not_connected", "{method}");
    }
}
