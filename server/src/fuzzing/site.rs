//! A whole server in memory, on one thread and a clock that stands still while anything happens: connection, session,
//! router and the real store, anew for each input, so that an input alone decides what follows.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use posthouse_protocol::appliance::Settings;
use posthouse_protocol::{AccountId, AccountRole, Event, HistoryAccess, Message, Push, Pushed, Title, Username};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admission::{Admission, Allowance, Visitor};
use crate::claim::Claim;
use crate::listener::Handler;
use crate::router::{self, Router};
use crate::shutdown::{self, Shutdown, ShutdownSender};
use crate::store::stepped::{self, Files, Stepped};
use crate::store::{AccountAdd, DirectOpen, GroupCreate, GroupSettings, Store};
use crate::web::Web;

/// Of anna's device, which the examples speak for.
pub const ANNA: &str = "9f2c";
/// Of ben's, who looks afterwards what there is.
pub const BEN: &str = "5be1";
/// Their conversation, and the group that anna owns and ben is in, with the numbers that PROTOCOL.md gives them.
const CONVERSATIONS: [(u64, &str); 2] = [(1, "\"conversation_id\":7"), (2, "\"conversation_id\":8")];

const DOCUMENT: &str = include_str!("../../../PROTOCOL.md");

/// A request that PROTOCOL.md shows, for this server's tokens and conversation, with that `id`. What comes with a
/// `client_msg_id` is half of the requests, and mostly another message than before.
pub fn example(number: u8, id: u64) -> String {
    let is_named = |request: &Value| request["params"]["client_msg_id"].is_string();
    let number = usize::from(number);
    let mut chosen = examples().iter().filter(|request| !number.is_multiple_of(2) || is_named(request)).cycle();
    let mut request = chosen.nth(number / 2).expect("PROTOCOL.md sends messages").clone();
    request["id"] = id.into();
    if is_named(&request) && !number.is_multiple_of(8) {
        request["params"]["client_msg_id"] = format!("message {id}").into();
    }
    request.to_string()
}

/// Passwords are hashed by threads of their own, which no clock of ours waits for.
const HASHING: [&str; 6] =
    ["login", "accounts.create", "accounts.reset", "accounts.import", "invites.accept", "password.change"];

/// All that hash no password.
fn examples() -> &'static [Value] {
    static EXAMPLES: OnceLock<Vec<Value>> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        let requests = DOCUMENT.lines().filter_map(|line| line.strip_prefix("→ "));
        let parsed = requests.map(|request| {
            let mut request = request.replace("9f2c…", ANNA).replace("\"38\"", "\"0\"");
            for (id, shown) in CONVERSATIONS {
                request = request.replace(shown, &format!("\"conversation_id\":{id}"));
            }
            serde_json::from_str::<Value>(&request).expect("examples are JSON")
        });
        let is_fit = |name: &str| router::method(name).is_some() && !HASHING.contains(&name);
        parsed.filter(|request| request["method"].as_str().is_some_and(is_fit)).collect()
    })
}

fn founded() -> &'static Files {
    static FOUNDED: OnceLock<Files> = OnceLock::new();
    FOUNDED.get_or_init(|| {
        Stepped::files(async |store: Store| {
            // Of ben, who looks afterwards, nobody can take anything away.
            let roles = [AccountRole::Administrator, AccountRole::Owner, AccountRole::Member];
            for (((name, token), account), role) in
                [("anna", ANNA), ("ben", BEN), ("carl", "")].into_iter().zip(1..).zip(roles)
            {
                let add = AccountAdd::by_machine(Username::new(name).expect("a name"), String::new());
                let add = AccountAdd { role: Some(role), ..add };
                store.write(add).await.expect("stored").expect("not refused");
                stepped::add_device(&store, AccountId(account), name, token).await;
            }
            let open = DirectOpen { account_id: AccountId(1), peer_id: AccountId(2) };
            let opened = store.write(open).await.expect("stored").expect("not refused").into_inner();
            let title = Title::new("Board").expect("a title");
            let settings = GroupSettings { title, announcement_only: false, history: HistoryAccess::All };
            let create =
                GroupCreate { owner: AccountId(1), settings, members: vec![AccountId(2)], client_msg_id: None };
            let created = store.write(create).await.expect("stored").expect("not refused").into_inner();
            assert_eq!([opened.0.0, created.0], CONVERSATIONS.map(|(id, _)| id));
        })
    })
}

/// A server.
pub struct Site {
    /// The handle of its store.
    store: Store,
    /// Its router.
    pub router: Router,
    /// Its places.
    pub admission: Admission,
    /// Never said.
    pub stopping: Shutdown,
    stepped: Stepped,
    _shutdown: ShutdownSender,
    _tasks: JoinSet<()>,
}

impl Site {
    /// With its accounts and their conversation.
    pub fn start() -> Self {
        let (stepped, (published, signed_out)) = Stepped::open(founded().clone()).expect("a new store opens");
        let router = Router::new(stepped.store.clone(), stepped.last_gseq);
        let admission = Admission::new(Allowance { connections_max: 64, requests_per_s: 1_000, on_trial: false });
        let mut tasks = JoinSet::new();
        tasks.spawn(router.clone().fan_out(published));
        tasks.spawn(router.clone().close_signed_out(signed_out));
        let (shutdown, stopping) = shutdown::channel();
        let store = stepped.store.clone();
        Self { store, router, admission, stopping, stepped, _shutdown: shutdown, _tasks: tasks }
    }

    /// A place for a connection.
    pub fn visitor(&self) -> Visitor {
        self.admission.enter([127, 0, 0, 1].into(), now()).expect("a place")
    }

    /// What answers requests that open no session.
    pub fn handler(&self) -> Handler {
        let store = self.store.clone();
        let settings = Arc::new(Settings::default());
        let (_, trust) = watch::channel(None);
        let claim = Claim::new(self.router.clone(), &settings, trust.clone(), Path::new("/nonexistent"));
        Web { store, router: self.router.clone(), claim, settings, trust, secure_port: None, clock_request: None }
            .handler()
    }

    /// Every message that anna may see.
    pub async fn messages(&self) -> Vec<Message> {
        let read = |after| {
            self.store
                .read(move |snapshot| snapshot.sync(AccountId(1), (after, u64::MAX), u32::MAX))
                .map(Result::unwrap)
        };
        let (mut messages, mut page) = (Vec::new(), read(0).await);
        loop {
            for event in &page.events {
                let pushed = Push::parse(event.get()).expect("an event");
                if let Pushed::Known(Push { event: Event::Message(message), .. }) = pushed {
                    messages.push(message);
                }
            }
            if !page.has_more {
                return messages;
            }
            page = read(page.next).await;
        }
    }

    /// Lets everything happen that can, until all wait for the next input.
    pub async fn settle(&mut self) {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let moved = self.stepped.commit(64).expect("the disk is sound");
            self.stepped.apply(false).expect("applied");
            if !moved {
                tokio::time::sleep(Duration::from_millis(1)).await;
                return;
            }
        }
    }
}

/// By the runtime's clock.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What an input runs on.
pub fn runtime() -> tokio::runtime::Runtime {
    // Founding needs a runtime of its own.
    founded();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).max_blocking_threads(1).build().expect("a runtime")
}
