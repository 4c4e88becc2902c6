//! What the seed decides: who writes what, what arrives, what breaks and when; and the rest that follows it.

use posthouse_protocol::{AccountId, ConversationId, PresenceStatus};
use serde_json::json;

use super::super::*;
use super::changes::Change;
use super::counts::Counts;
use super::device::Device;
use super::link::Link;
use super::server::{Server, founded};
use super::{DEVICES, PAIRS};
use crate::store::stepped::Random;

/// Turns after which everybody has caught up, or never will.
const TURNS_MAX: usize = 5_000;

/// Turns in which all connect, as a rule.
const BEGINNING: usize = 7;
/// In a flood, so many messages before something lossy: it waits among what is durable.
const BEFORE_LOSSY: usize = 128;

pub struct World {
    random: Random,
    server: Option<Server>,
    pub devices: Vec<Device>,
    pub conversations: Vec<ConversationId>,
    /// Links whose client has gone while the server still takes them for alive.
    forgotten: Vec<Link>,
    /// A device that reads nothing for the time being.
    asleep: Option<usize>,
    /// Everybody may come back next.
    has_crashed: bool,
    pub counts: Counts,
}

/// Lets every task run until all of them wait for something that the simulator decides.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl World {
    pub fn new(seed: u64) -> Self {
        let (files, conversations) = founded().clone();
        let devices = DEVICES.map(|(name, account)| Device::new(AccountId(account), name, name));
        Self {
            random: Random(seed),
            server: Some(Server::start(files)),
            devices: devices.into(),
            conversations,
            forgotten: Vec::new(),
            asleep: None,
            has_crashed: false,
            counts: Counts::default(),
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.next() % bound as u64).expect("small")
    }

    pub fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("it runs between two steps")
    }

    /// Everybody comes and catches up, as a rule: without it most seeds would be over before much is said.
    pub async fn begin(&mut self) {
        for _ in 0..BEGINNING {
            self.exchange_all();
            self.server().stepped.apply(false).expect("applied");
            settle().await;
        }
    }

    pub async fn step(&mut self) {
        if std::mem::take(&mut self.has_crashed) && self.random.coin() {
            self.begin().await;
        }
        let device = self.below(self.devices.len());
        match self.below(112) {
            0..18 => self.write(device),
            18..30 => self.change_message(device),
            30 if self.random.next().is_multiple_of(24) => self.flood(device).await,
            31..35 => self.exchange_all(),
            30..55 => {
                self.exchange(device);
            }
            55..67 => self.commit().await,
            67..72 => self.change_group(),
            72..82 => self.server().stepped.apply(false).expect("applied"),
            82..84 => self.server().stepped.apply(true).expect("applied"),
            84..89 => self.lose(device),
            89..92 => self.forgotten.drain(..).for_each(|link| link.cut()),
            92..93 => self.fall_asleep(device),
            93..94 => self.asleep = None,
            94..95 => self.begin_anew(device),
            95..97 => tokio::time::sleep(Duration::from_secs(20)).await,
            97..99 => self.fail_the_disk(),
            99 => self.crash().await,
            100..105 => self.report(device),
            105..107 => self.type_on(device),
            107..109 => self.be(device),
            // So long receipts are gathered, or presence.
            109..111 => tokio::time::sleep(Duration::from_millis(600)).await,
            _ => tokio::time::sleep(Duration::from_millis(2_100)).await,
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

    /// Somebody edits, recalls or reacts to a message that the device shows, one of the last ones as a rule.
    fn change_message(&mut self, device: usize) {
        let (pick, emoji, add) = (self.below(64), self.below(2), self.random.coin());
        let back = if pick < 48 { pick % 4 } else { pick };
        let (kind, number) = (self.below(8), self.random.next() % 1_000_000);
        let device = &mut self.devices[device];
        let Some((place, known)) = device.view.messages().iter().nth_back(back) else { return };
        let (place, sender) = (*place, known.sender);
        // The owner of the group recalls what others wrote, and the others try.
        let may_recall = sender == device.account_id || place.0 == *self.conversations.last().expect("the group");
        let change = match kind {
            0..4 if sender == device.account_id => {
                if !device.edits(place) {
                    return;
                }
                Change::Edit(format!("{} edits {number}", device.name))
            }
            4 if may_recall => Change::Recall,
            5 if sender != device.account_id => Change::Edit("what another one wrote".to_owned()),
            _ => Change::React(device.emoji()[emoji], add),
        };
        device.change(place, change);
    }

    /// Somebody has read something, or a device has got it; now and then it says that of what is not there yet.
    fn report(&mut self, device: usize) {
        let Some(conversation) = self.conversation_of(device) else { return };
        let (back, kind, beyond) = (self.below(4) as u64, self.below(4), self.below(4));
        let device = &mut self.devices[device];
        let to = device.last_of(conversation).saturating_sub(back);
        match kind {
            0 => device.report(conversation, (0, to), 0),
            1 => device.ask_marks(conversation),
            _ => device.report(conversation, (to, 0), if beyond == 0 { 3 } else { 0 }),
        }
    }

    fn type_on(&mut self, device: usize) {
        if let Some(conversation) = self.conversation_of(device) {
            self.devices[device].type_on(conversation);
        }
    }

    fn be(&mut self, device: usize) {
        let statuses = [PresenceStatus::Online, PresenceStatus::Online, PresenceStatus::Away, PresenceStatus::Offline];
        let status = statuses[self.below(4)];
        self.devices[device].be(status);
    }

    /// One of those that a device is in.
    fn conversation_of(&mut self, device: usize) -> Option<ConversationId> {
        let conversations: Vec<_> = self.devices[device].conversations().into_iter().collect();
        let number = self.below(conversations.len().max(1));
        conversations.get(number).copied()
    }

    /// The group's owner adds and removes the others and renames it; they leave.
    fn change_group(&mut self) {
        let group = self.conversations[PAIRS.len()];
        let member = ["ben", "carl", "dora"][self.below(3)];
        let (device, method, params) = match self.below(6) {
            0 | 1 => (self.below(2), "conversations.remove", json!({"conversation_id": group, "member": member})),
            2 | 3 => (self.below(2), "conversations.add", json!({"conversation_id": group, "members": [member]})),
            4 => {
                let title = format!("All {}", self.below(1_000));
                (self.below(2), "conversations.update", json!({"conversation_id": group, "title": title}))
            }
            _ => (2 + self.below(3), "conversations.leave", json!({"conversation_id": group})),
        };
        self.devices[device].change_group(method, &params);
    }

    /// Somebody writes more than an outbox holds, while another device of the conversation reads nothing.
    async fn flood(&mut self, device: usize) {
        let sleeper = (device + 1) % self.devices.len();
        let members = [device, sleeper].map(|device| self.devices[device].account_id.0);
        let together =
            PAIRS.iter().position(|(one, other)| members.iter().all(|member| member == one || member == other));
        let Some(together) = together else { return };
        for _ in 0..8 {
            self.exchange(sleeper);
            self.server().stepped.apply(false).expect("applied");
            settle().await;
        }
        self.fall_asleep(sleeper);
        // All others of the conversation read little meanwhile.
        self.devices.iter_mut().for_each(Device::be_slow);
        let conversation_id = self.conversations[together];
        for number in 0..limits::OUTBOX_LEN_MAX + 64 {
            if number == BEFORE_LOSSY {
                self.devices[device].type_on(conversation_id);
            }
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

    fn fall_asleep(&mut self, device: usize) {
        self.asleep = Some(device);
        self.devices[device].be_slow();
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

    fn exchange_all(&mut self) {
        for device in 0..self.devices.len() {
            self.exchange(device);
        }
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
        self.counts.note("crashes");
        let server = self.server.take().expect("it ran");
        let files = server.cut(&mut self.random).await;
        self.devices.iter_mut().for_each(|device| drop(device.lose()));
        self.forgotten.clear();
        self.server = Some(Server::start(files));
        self.has_crashed = true;
    }

    /// No more accidents: everybody comes back and catches up.
    pub async fn come_to_rest(&mut self) {
        self.asleep = None;
        let mut is_quiet = false;
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
            if moved || !self.devices.iter().all(Device::is_at_rest) {
                is_quiet = false;
                continue;
            }
            let asked: Vec<bool> = self.devices.iter_mut().map(Device::catch_up_on_receipts).collect();
            if asked.contains(&true) {
                continue;
            }
            if is_quiet {
                return;
            }
            // What is gathered is told by then.
            tokio::time::sleep(Duration::from_secs(3)).await;
            is_quiet = true;
        }
        panic!("a device never came to rest");
    }
}
