//! What the seed decides: who writes what, what arrives, what breaks and when; and the rest that follows it.

use posthouse_protocol::{AccountId, ConversationId};
use serde_json::json;

use super::super::*;
use super::device::Device;
use super::link::Link;
use super::server::{Server, founded};
use super::{DEVICES, PAIRS};
use crate::store::stepped::Random;

/// Turns after which everybody has caught up, or never will.
const TURNS_MAX: usize = 5_000;

pub struct World {
    random: Random,
    server: Option<Server>,
    pub devices: Vec<Device>,
    pub conversations: Vec<ConversationId>,
    /// Links whose client has gone while the server still takes them for alive.
    forgotten: Vec<Link>,
    /// A device that reads nothing for the time being.
    asleep: Option<usize>,
    pub crashes: u64,
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
            crashes: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random.next() % bound as u64).expect("small")
    }

    pub fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("it runs between two steps")
    }

    pub async fn step(&mut self) {
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
        let server = self.server.take().expect("it ran");
        let files = server.cut(&mut self.random).await;
        self.devices.iter_mut().for_each(|device| drop(device.lose()));
        self.forgotten.clear();
        self.server = Some(Server::start(files));
    }

    /// No more accidents: everybody comes back and catches up.
    pub async fn come_to_rest(&mut self) {
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
}
