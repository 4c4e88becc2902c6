//! A seeded simulator: real connections, sessions, router, registry, outboxes, and the real store with its log,
//! on one thread and a virtual clock. The seed decides when frames arrive, when links break and who notices,
//! who reads slowly, when a group is committed, when the database follows, when the disk fails and the power
//! goes, and what of the unsynced is left then.
//!
//! Checked all the time: an event comes once and in order, nothing before the answer to `connect`. Checked at
//! the end, when everybody has caught up: each device shows exactly what the store has for its account, also of a group
//! that its members come to and leave, and is in those conversations that it was told of, so that
//! nothing was visible that did not last and no hole was left; each message once, with no gap in its
//! conversation's numbers, in the order in which its device wrote it; nothing acknowledged is lost.
//!
//! `POSTHOUSE_TEST_SEED` repeats one run, `POSTHOUSE_TEST_SEEDS` asks for more of them. tokio's `select!` chooses at
//! random among what is ready at once; everything else follows from the seed.

mod device;
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use posthouse_protocol::{AccountId, ConversationId, Event, HistoryAccess, Push, Pushed, Title, Username};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::*;
use crate::admission::{Admission, Allowance};
use crate::shutdown::{self, ShutdownSender};
use crate::store::stepped::{Files, Random, Stepped, number_from};
use crate::store::{AccountAdd, DeviceAdd, DirectOpen, GroupCreate, GroupSettings, Store};
use device::{Counts, Device, View, shown};
use link::{Link, SimulatedTransport};

/// Runs in `make test`.
const SEEDS: u64 = 2_000;
/// What the seed decides in a run.
const STEPS: u64 = 100;
/// Turns after which everybody has caught up, or never will.
const TURNS_MAX: usize = 5_000;
/// The accounts' devices: anna has two.
const DEVICES: [(&str, u64); 4] = [("anna-1", 1), ("anna-2", 1), ("ben", 2), ("carl", 3)];
/// The conversations, each with its two members.
const PAIRS: [(u64, u64); 3] = [(1, 2), (1, 3), (2, 3)];

/// Three accounts with their devices, their conversations, and behind those a group of all, which is anna's. Who comes to it
/// sees what is said from then on, so that live events and a later sync say the same.
fn founded() -> &'static (Files, Vec<ConversationId>) {
    static FOUNDED: OnceLock<(Files, Vec<ConversationId>)> = OnceLock::new();
    FOUNDED.get_or_init(|| {
        let mut conversations = Vec::new();
        let files = Stepped::files(async |store: Store| {
            for name in ["anna", "ben", "carl"] {
                let add = AccountAdd::by_machine(Username::new(name).expect("a name"), String::new());
                store.write(add).await.expect("stored").expect("not refused");
            }
            for (name, account) in DEVICES {
                let token_hash = Sha256::digest(name.as_bytes()).into();
                let add = DeviceAdd {
                    account_id: AccountId(account),
                    password_hash: String::new(),
                    token_hash,
                    name: name.to_owned(),
                };
                store.write(add).await.expect("stored").expect("not refused");
            }
            for (one, other) in PAIRS {
                let open = DirectOpen { account_id: AccountId(one), peer_id: AccountId(other) };
                conversations.push(store.write(open).await.expect("stored").expect("not refused").into_inner().0);
            }
            let title = Title::new("All").expect("a title");
            let settings = GroupSettings { title, announcement_only: false, history: HistoryAccess::FromJoining };
            let create = GroupCreate {
                owner: AccountId(1),
                settings,
                members: vec![AccountId(2), AccountId(3)],
                client_msg_id: None,
            };
            conversations.push(store.write(create).await.expect("stored").expect("not refused").into_inner());
        });
        (files, conversations)
    })
}

/// A run of the server: from a start to a power cut.
struct Server {
    stepped: Stepped,
    router: Router,
    admission: Admission,
    tasks: JoinSet<()>,
    _shutdown: ShutdownSender,
    stopping: Shutdown,
}

impl Server {
    fn start(files: Files) -> Self {
        let (stepped, (published, signed_out)) = Stepped::open(files).expect("what a power cut leaves can be opened");
        let router = Router::new(stepped.store.clone(), stepped.last_gseq);
        let admission = Admission::new(Allowance { connections_max: 10_000, requests_per_s: 1_000, on_trial: false });
        let mut tasks = JoinSet::new();
        tasks.spawn(router.clone().fan_out(published));
        tasks.spawn(router.clone().close_signed_out(signed_out));
        let (shutdown, stopping) = shutdown::channel();
        Self { stepped, router, admission, tasks, _shutdown: shutdown, stopping }
    }

    fn accept(&mut self, link: Link) {
        let visitor = Arc::new(self.admission.enter([127, 0, 0, 1].into(), now()).expect("a place"));
        let (router, stopping) = (self.router.clone(), self.stopping.clone());
        self.tasks.spawn(serve(SimulatedTransport(link), Opening::default(), visitor, router, stopping));
    }
}

struct World {
    random: Random,
    server: Option<Server>,
    devices: Vec<Device>,
    conversations: Vec<ConversationId>,
    /// Links whose client has gone while the server still takes them for alive.
    forgotten: Vec<Link>,
    /// A device that reads nothing for the time being.
    asleep: Option<usize>,
    crashes: u64,
}

/// Lets every task run until all of them wait for something that the simulator decides.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl World {
    fn new(seed: u64) -> Self {
        let (files, conversations) = founded().clone();
        let devices = DEVICES.map(|(name, account)| Device::new(AccountId(account), name, name));
        Self {
            random: Random(seed),
            server: Some(Server::start(files)),
            devices: devices.into(),
            conversations,
            forgotten: Vec::new(),
            asleep: None,
            crashes: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.next() % bound as u64).expect("small")
    }

    fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("it runs between two steps")
    }

    async fn step(&mut self) {
        let device = self.below(self.devices.len());
        match self.below(100) {
            0..30 => self.write(device),
            30 if self.random.next().is_multiple_of(16) => self.flood(device).await,
            30..55 => {
                self.exchange(device);
            }
            55..67 => self.commit().await,
            67..72 => self.change_group(),
            72..82 => self.server().stepped.apply(false).expect("applied"),
            82..84 => self.server().stepped.apply(true).expect("applied"),
            84..89 => self.lose(device),
            89..92 => self.forgotten.drain(..).for_each(|link| link.cut()),
            92..93 => self.asleep = Some(device),
            93..94 => self.asleep = None,
            94..95 => self.begin_anew(device),
            95..97 => tokio::time::sleep(Duration::from_secs(20)).await,
            97..99 => self.fail_the_disk(),
            _ => self.crash().await,
        }
        settle().await;
    }

    fn write(&mut self, device: usize) {
        let account = self.devices[device].account_id.0;
        let number = self.below(self.conversations.len());
        // In the group also who is no member tries.
        if PAIRS.get(number).is_none_or(|(one, other)| account == *one || account == *other) {
            let text = "x".repeat(1 + self.below(40));
            self.devices[device].write(self.conversations[number], text);
        }
    }

    /// The group's owner adds and removes the others and renames it; they leave.
    fn change_group(&mut self) {
        let group = self.conversations[PAIRS.len()];
        let member = ["ben", "carl"][self.below(2)];
        let (device, method, params) = match self.below(6) {
            0 | 1 => (self.below(2), "conversations.remove", json!({"conversation_id": group, "member": member})),
            2 | 3 => (self.below(2), "conversations.add", json!({"conversation_id": group, "members": [member]})),
            4 => {
                let title = format!("All {}", self.below(1_000));
                (self.below(2), "conversations.update", json!({"conversation_id": group, "title": title}))
            }
            _ => (2 + self.below(2), "conversations.leave", json!({"conversation_id": group})),
        };
        self.devices[device].change(method, &params);
    }

    /// Somebody writes more than an outbox holds, while another device of the conversation reads nothing.
    async fn flood(&mut self, device: usize) {
        let sleeper = (device + 1) % self.devices.len();
        let members = [device, sleeper].map(|device| self.devices[device].account_id.0);
        let together =
            PAIRS.iter().position(|(one, other)| members.iter().all(|member| member == one || member == other));
        for _ in 0..8 {
            self.exchange(sleeper);
            self.server().stepped.apply(false).expect("applied");
            settle().await;
        }
        self.asleep = Some(sleeper);
        for _ in 0..limits::OUTBOX_LEN_MAX + 64 {
            let conversation_id = self.conversations[together.expect("each two accounts have one")];
            self.devices[device].write(conversation_id, "flood".to_owned());
        }
        // A link takes eight answers at a time.
        for _ in 0..limits::OUTBOX_LEN_MAX / 4 {
            self.exchange(device);
            settle().await;
            self.commit().await;
            self.server().stepped.apply(false).expect("applied");
        }
    }

    fn connect(&mut self, device: usize) {
        let link = Link::default();
        self.server().accept(link.clone());
        self.devices[device].open(link);
    }

    /// The network does some of its work, in both directions.
    fn exchange(&mut self, device: usize) -> bool {
        let Some(session) = &self.devices[device].session else {
            self.connect(device);
            return true;
        };
        let link = session.link.clone();
        let (up, down) = (1 + self.below(32), 1 + self.below(16));
        let moved = link.deliver_up(up);
        if self.asleep == Some(device) {
            return moved;
        }
        let arrived = link.deliver_down(down);
        arrived.iter().for_each(|down| self.devices[device].on_down(down));
        moved || !arrived.is_empty()
    }

    fn lose(&mut self, device: usize) {
        let Some(link) = self.devices[device].lose() else { return };
        if self.random.coin() {
            link.cut();
        } else {
            self.forgotten.push(link);
        }
    }

    fn begin_anew(&mut self, device: usize) {
        self.lose(device);
        self.devices[device].forget_everything();
    }

    async fn commit(&mut self) {
        let most = 1 + self.below(64);
        if self.server().stepped.commit(most).is_err() {
            self.crash().await;
        }
    }

    fn fail_the_disk(&mut self) {
        let operations = u32::try_from(self.below(4)).expect("small");
        self.server().stepped.fail_after(operations);
    }

    /// The power goes: what the server had said by then may reach its clients, nothing else does.
    async fn crash(&mut self) {
        settle().await;
        for device in 0..self.devices.len() {
            if self.random.coin() {
                self.exchange(device);
            }
        }
        self.crashes += 1;
        let Server { stepped, mut tasks, router, .. } = self.server.take().expect("it ran");
        let files = stepped.cut(&mut self.random);
        tasks.shutdown().await;
        drop(router);
        self.devices.iter_mut().for_each(|device| drop(device.lose()));
        self.forgotten.clear();
        self.server = Some(Server::start(files));
    }

    /// No more accidents: everybody comes back and catches up.
    async fn come_to_rest(&mut self) {
        self.asleep = None;
        self.server().stepped.fail_after(u32::MAX);
        for _ in 0..TURNS_MAX {
            self.forgotten.drain(..).for_each(|link| link.cut());
            let mut moved = false;
            for device in 0..self.devices.len() {
                moved |= self.exchange(device);
            }
            settle().await;
            let stepped = &mut self.server().stepped;
            moved |= stepped.commit(64).expect("the disk is sound");
            stepped.apply(false).expect("applied");
            settle().await;
            if !moved && self.devices.iter().all(Device::is_at_rest) {
                return;
            }
        }
        panic!("a device never came to rest");
    }

    async fn check(&mut self) {
        let store = self.server().stepped.store.clone();
        for device in &self.devices {
            let stored = stored(&store, device.account_id).await;
            assert_eq!(device.view, stored, "{} shows something else than the store has", device.name);
            let account_id = device.account_id;
            let list = store.read(move |snapshot| snapshot.conversations(account_id, None, 100)).await.expect("read");
            let list = list.expect("a first page").conversations;
            let list: BTreeSet<_> = list.into_iter().map(|conversation| conversation.conversation_id).collect();
            assert_eq!(device.conversations(), list, "{} was told otherwise", device.name);
            let mut last = BTreeMap::new();
            // Who was not in the group for a while has not seen all of it.
            let group = self.conversations[PAIRS.len()];
            for (conversation, seq) in stored.keys().filter(|(id, _)| *id != group || account_id.0 == 1) {
                let last = last.entry(conversation).or_insert(0);
                assert_eq!(*seq, *last + 1, "a gap in conversation {conversation}");
                *last = *seq;
            }
            check_own(device, &stored, (account_id.0 != 1).then_some(group));
        }
    }
}

/// Each message of the device is there once, in the order in which it was written. Where it comes and goes, a message may have been
/// refused unheard, while one behind it was taken: tried again, it stands behind that one.
fn check_own(device: &Device, stored: &View, comes_and_goes: Option<ConversationId>) {
    for conversation in device.written.iter().map(|written| written.conversation_id) {
        let of_device = |name: &str| {
            name.rsplit_once('-').is_some_and(|(device_name, _)| device_name == device.name)
                && !device.uncertain.contains(name)
        };
        let here = stored.iter().filter(|((id, _), (_, name, _))| *id == conversation && of_device(name));
        let here: Vec<(&str, &str)> = here.map(|(_, (_, name, text))| (name.as_str(), text.as_str())).collect();
        let written = device.written.iter().filter(|written| written.conversation_id == conversation);
        let written: Vec<_> = written.map(|written| (written.client_msg_id.as_str(), written.text.as_str())).collect();
        if comes_and_goes == Some(conversation) {
            let (mut all_here, mut all_written) = (here.clone(), written.clone());
            all_here.sort_unstable();
            all_written.sort_unstable();
            assert_eq!(all_here, all_written, "what {} wrote", device.name);
            let heard = |message: &&(&str, &str)| !device.retried.contains(message.0);
            assert!(here.iter().filter(heard).eq(written.iter().filter(heard)), "what {} wrote: {here:?}", device.name);
        } else {
            assert_eq!(here, written, "what {} wrote", device.name);
        }
    }
}

/// Everything that the store has for an account.
async fn stored(store: &Store, account: AccountId) -> View {
    let page = store.read(move |snapshot| snapshot.sync(account, (0, u64::MAX), u32::MAX)).await.expect("read");
    let mut view = View::new();
    let (mut from, mut page) = (0, page);
    loop {
        for event in &page.events {
            let Pushed::Known(Push { event: Event::Message(message), .. }) =
                Push::parse(event.get()).expect("an event")
            else {
                continue;
            };
            let (place, content) = shown(&message);
            assert!(view.insert(place, content).is_none(), "{place:?} is stored twice");
        }
        if !page.has_more {
            return view;
        }
        assert!(page.next > from, "a page moves on");
        from = page.next;
        page = store.read(move |snapshot| snapshot.sync(account, (from, u64::MAX), u32::MAX)).await.expect("read");
    }
}

fn run(seed: u64) -> Counts {
    // It needs a runtime of its own.
    founded();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).max_blocking_threads(1).build().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step().await;
        }
        world.come_to_rest().await;
        world.check().await;
        let mut total = Counts { crashes: world.crashes, ..Counts::default() };
        for Device { counts, .. } in &world.devices {
            total.add(counts);
        }
        total
    })
}

#[test]
fn whatever_breaks_everybody_ends_up_with_what_is_stored_and_nothing_acknowledged_is_lost() {
    if let Some(seed) = number_from("POSTHOUSE_TEST_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let seeds = number_from("POSTHOUSE_TEST_SEEDS").unwrap_or(SEEDS);
    let (first, next) = (getrandom::u64().expect("random numbers") >> 16, AtomicU64::new(0));
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut total = Counts::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                return total;
            }
            let seed = first + number;
            match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                Ok(counts) => total.add(&counts),
                Err(_) => panic!("repeat it with POSTHOUSE_TEST_SEED={seed}"),
            }
        }
    };
    let mut total = Counts::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            total.add(&worker.join().expect("a seed failed: see above"));
        }
    });
    println!("{seeds} seeds from {first}: {total:?}");
    // Seeds that meet none of it would prove nothing.
    let Counts { acknowledged, resent, resumed, begun_anew, closed_as_slow, .. } = total;
    let Counts { pushed, caught_up, crashes, changed, refused, .. } = total;
    if seeds >= SEEDS {
        let met =
            [acknowledged, resent, resumed, begun_anew, closed_as_slow, pushed, caught_up, crashes, changed, refused];
        for met in met {
            assert!(met > 0, "{total:?}");
        }
    }
}
