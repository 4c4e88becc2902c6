//! A server with everybody who calls, and what they call about.

use std::time::Duration;

use posthouse_client::Transport;
use posthouse_e2e::wire::Wire;
use posthouse_e2e::{Device, PASSWORD, Server, Site};
use posthouse_protocol::{Connect, Method, Token};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{OK, Row};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A connection without `connect`.
    Nobody,
    /// A connection with a token that was valid until its device signed out.
    Revoked,
    /// The token of an account that was disabled.
    Disabled,
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
    /// An administrator of the site, who is not in the group.
    Administrator,
    /// The site's owner, who is not in it either.
    Owner,
}

impl Caller {
    pub const ALL: [Self; 10] = [
        Self::Nobody,
        Self::Revoked,
        Self::Disabled,
        Self::Stranger,
        Self::Member,
        Self::OtherDevice,
        Self::GroupAdmin,
        Self::GroupOwner,
        Self::Administrator,
        Self::Owner,
    ];

    /// Whose device it is.
    fn account(self) -> &'static str {
        match self {
            Self::Nobody | Self::Revoked | Self::Stranger => "stan",
            Self::Disabled => "dora",
            Self::Member | Self::OtherDevice => "mia",
            Self::GroupAdmin => "adam",
            Self::GroupOwner => "olga",
            Self::Administrator => "ida",
            Self::Owner => "sita",
        }
    }
}

/// What a call is about: nothing that another cell knows.
pub struct Cell {
    group_id: u64,
    /// Of the group's member.
    message_id: u64,
    /// Of a device of the group's member.
    pub token: Token,
    /// A member of the site.
    pub account_id: u64,
    pub username: String,
    /// Somebody's.
    pub device_id: u64,
    pub invite_id: u64,
    pub code: String,
    /// A name that nothing has yet.
    pub fresh: String,
}

impl Cell {
    /// Parameters about the group.
    pub fn group(&self, more: &Value) -> Value {
        let mut params = more.clone();
        params["conversation_id"] = self.group_id.into();
        params
    }

    /// Parameters about the member's message in it.
    pub fn message(&self, more: &Value) -> Value {
        let mut params = self.group(more);
        params["message_id"] = self.message_id.into();
        params
    }
}

pub struct World {
    pub server: Server,
    /// As [`Caller::ALL`]; nobody's is none.
    tokens: Vec<Token>,
    device_id: u64,
    /// The group's member and owner and the site's owner, by devices of their own.
    member: Mutex<Wire>,
    group_owner: Mutex<Wire>,
    owner: Mutex<Wire>,
    cells: Mutex<u64>,
    _site: Site,
}

impl World {
    pub async fn new() -> Self {
        let names = ["sita", "olga", "adam", "mia", "max", "stan", "eve", "dora", "ida"];
        let (site, server) = Site::with_accounts(&names);
        let mut tokens = Vec::new();
        for caller in Caller::ALL {
            tokens.push(Device::log_in(&server.url(), caller.account()).await.token);
        }
        let member = Mutex::new(connected(&server, &Device::log_in(&server.url(), "mia").await.token).await);
        let group_owner = Mutex::new(connected(&server, &Device::log_in(&server.url(), "olga").await.token).await);
        let owner = Mutex::new(connected(&server, &Device::log_in(&server.url(), "sita").await.token).await);
        let cells = Mutex::new(0);
        let world = Self { server, tokens, device_id: 0, member, group_owner, owner, cells, _site: site };
        let signed_out = connected(&world.server, &world.tokens[1]).await.call(1, "logout", json!({})).await;
        assert_eq!(signed_out["result"], json!({}), "{signed_out}");
        let ida = json!({"account_id": world.account("ida").await, "role": "administrator"});
        call(&world.owner, "accounts.role", &ida).await;
        call(&world.owner, "accounts.disable", &json!({"account_id": world.account("dora").await})).await;
        let _max = Device::log_in(&world.server.url(), "max").await;
        let devices = call(&world.owner, "accounts.devices", &json!({"account_id": world.account("max").await})).await;
        let device_id = devices["devices"][0]["device_id"].as_u64().expect("a device");
        Self { device_id, ..world }
    }

    async fn account(&self, username: &str) -> u64 {
        let account = call(&self.owner, "accounts.get", &json!({"username": username})).await;
        account["account_id"].as_u64().expect("an account")
    }

    /// A group of olga's with adam as admin, mia and max; an account; an invite.
    pub async fn cell(&self) -> Cell {
        let number = {
            let mut cells = self.cells.lock().await;
            *cells += 1;
            *cells
        };
        let members = json!({"title": "Board", "members": ["adam", "mia", "max"], "history": "all"});
        let made = call(&self.group_owner, "conversations.create", &members).await;
        let group_id = made["conversation_id"].as_u64().expect("a group");
        let admin = json!({"conversation_id": group_id, "member": "adam", "role": "admin"});
        call(&self.group_owner, "conversations.role", &admin).await;
        let username = format!("account{number}");
        let text = json!({"type": "text", "text": "said"});
        let send = json!({"conversation_id": group_id, "client_msg_id": username, "body": text});
        let said = call(&self.member, "send", &send).await;
        let new = json!({"username": username, "password": PASSWORD, "keep_password": true});
        let account = call(&self.owner, "accounts.create", &new).await;
        let invite = call(&self.owner, "invites.create", &json!({})).await;
        Cell {
            group_id,
            message_id: said["message_id"].as_u64().expect("a message"),
            token: self.tokens[4].clone(),
            account_id: account["account"]["account_id"].as_u64().expect("an account"),
            username,
            device_id: self.device_id,
            invite_id: invite["invite"]["invite_id"].as_u64().expect("an invite"),
            code: invite["code"].as_str().expect("a code").to_owned(),
            fresh: format!("fresh{number}"),
        }
    }

    /// All that the cell's group and account are, and who has its fresh name.
    pub async fn state(&self, cell: &Cell) -> [Value; 6] {
        let group = cell.group(&json!({}));
        let account = json!({"account_id": cell.account_id});
        [
            call(&self.group_owner, "conversations.get", &group).await,
            call(&self.group_owner, "conversations.members", &group).await,
            call(&self.group_owner, "history", &group).await,
            call(&self.owner, "accounts.get", &account).await,
            call(&self.owner, "accounts.devices", &account).await,
            call(&self.owner, "accounts.search", &json!({"query": cell.fresh})).await,
        ]
    }

    /// A connection of the caller, or how its `connect` was refused.
    pub async fn open(&self, transport: Transport, caller: Caller) -> Result<Wire, Value> {
        let mut wire = Wire::open(transport, self.server.address()).await;
        if caller == Caller::Nobody {
            return Ok(wire);
        }
        let place = Caller::ALL.iter().position(|other| *other == caller).expect("all are there");
        let answer = wire.call(0, "connect", json!({"token": self.tokens[place]})).await;
        if answer.get("error").is_some() { Err(answer) } else { Ok(wire) }
    }

    /// What the caller gets.
    pub async fn got(&self, transport: Transport, row: &Row, cell: &Cell, caller: Caller) -> String {
        let answer = match self.open(transport, caller).await {
            Ok(mut wire) => wire.call(1, row.method, (row.params)(cell)).await,
            // What needs no session can be had without one, by this caller as by anybody.
            Err(_) if row.gets[0] == OK && row.method != Connect::NAME => {
                let mut wire = self.open(transport, Caller::Nobody).await.expect("anybody may come");
                wire.call(1, row.method, (row.params)(cell)).await
            }
            Err(refused) => refused,
        };
        answer["error"]["code"].as_str().unwrap_or(OK).to_owned()
    }
}

async fn connected(server: &Server, token: &Token) -> Wire {
    let mut wire = Wire::open(Transport::WebSocket, server.address()).await;
    let answer = wire.call(0, "connect", json!({"token": token})).await;
    assert!(answer.get("result").is_some(), "{answer}");
    wire
}

/// What somebody who may gets, once the server has time.
async fn call(socket: &Mutex<Wire>, method: &str, params: &Value) -> Value {
    loop {
        let mut answer = socket.lock().await.call(1, method, params.clone()).await;
        match answer["error"]["retry_after_ms"].as_u64() {
            Some(wait) => tokio::time::sleep(Duration::from_millis(wait)).await,
            None => {
                assert!(answer.get("result").is_some(), "{method} {params}: {answer}");
                return answer["result"].take();
            }
        }
    }
}
