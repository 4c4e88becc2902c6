//! Which tokens are valid, in memory: so that a reconnect reads no disk.
//!
//! The writer changes it as it decides, a moment before the change is durable. That shows nobody anything too early: a
//! new token is told to nobody before, and a revoked one is only refused sooner than was promised.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use posthouse_protocol::{Account, AccountId, DeviceId, limits};

/// SHA-256 of a token.
pub type TokenHash = [u8; 32];

const HOUR_S: u64 = 3_600;

/// A device's last use is written again when it is so much later than what is written: of a card's life, each small write
/// takes more than its share.
const USE_WRITTEN_EVERY_H: u64 = 24;

const KEPT_H: u64 = limits::DEVICE_KEPT_DAYS * 24;

/// For how long servers ran on this database, in all: age is counted by it, and never by the wall clock, so that a
/// clock that jumps or is not set makes nothing expire early. See [`super::expiry`], which keeps the count.
#[derive(Clone, Copy, Debug)]
pub struct ServingTime {
    before_s: u64,
    since: Instant,
}

impl ServingTime {
    /// From now on, after so many milliseconds before.
    pub fn after(before_ms: u64) -> Self {
        Self { before_s: before_ms / 1000, since: Instant::now() }
    }

    /// Seconds.
    pub fn seconds(&self) -> u64 {
        self.before_s.saturating_add(self.since.elapsed().as_secs())
    }

    /// Hours.
    pub fn hours(&self) -> u64 {
        self.seconds() / HOUR_S
    }
}

impl Default for ServingTime {
    fn default() -> Self {
        Self::after(0)
    }
}

/// The device's public number: a part of its token's hash, from which nobody learns the token. 53 bits, as JSON
/// numbers have.
pub fn device_id(token_hash: &TokenHash) -> DeviceId {
    let first = token_hash.first_chunk().expect("a hash has 32 bytes");
    DeviceId(u64::from_be_bytes(*first) >> 11)
}

/// See the module. The writer's thread changes it, everybody reads it.
#[derive(Default)]
pub struct DeviceIndex {
    serving: ServingTime,
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    devices: HashMap<TokenHash, Known>,
    accounts: HashMap<AccountId, OfAccount>,
}

struct Known {
    account_id: AccountId,
    /// In hours of serving, as `written`, which is what the database has.
    used: AtomicU64,
    written: AtomicU64,
}

struct OfAccount {
    account: Account,
    devices: Vec<TokenHash>,
}

/// The device that a token belongs to.
#[derive(Clone, Debug)]
pub struct FoundDevice {
    /// Whose it is.
    pub account: Account,
    /// Which.
    pub device_id: DeviceId,
}

impl DeviceIndex {
    /// Without devices.
    pub(super) fn new(serving: ServingTime) -> Self {
        Self { serving, inner: RwLock::default() }
    }

    /// For how many seconds servers ran on this database, in all.
    pub fn served_s(&self) -> u64 {
        self.serving.seconds()
    }

    /// The device with this token, if it is valid. That is a use of it.
    pub fn find(&self, token_hash: &TokenHash) -> Option<FoundDevice> {
        let hour = self.serving.hours();
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let known = inner.devices.get(token_hash).filter(|known| !known.is_expired(hour))?;
        let account = inner.accounts.get(&known.account_id)?.account.clone();
        known.used.fetch_max(hour, Ordering::Relaxed);
        Some(FoundDevice { account, device_id: device_id(token_hash) })
    }

    /// These devices are in use.
    pub fn note_use(&self, devices: impl IntoIterator<Item = (AccountId, DeviceId)>) {
        let hour = self.serving.hours();
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        for (account_id, device) in devices {
            let of_account = inner.accounts.get(&account_id).into_iter().flat_map(|of| &of.devices);
            let hash = of_account.filter(|hash| device_id(hash) == device);
            for known in hash.filter_map(|hash| inner.devices.get(hash)) {
                known.used.fetch_max(hour, Ordering::Relaxed);
            }
        }
    }

    /// Devices whose last use is to be written, and in which hour that was. Whoever asks writes it: the next one finds it
    /// written.
    pub fn unwritten_uses(&self) -> Vec<(TokenHash, u64)> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let due = inner.devices.iter().filter_map(|(hash, known)| {
            let used = known.used.load(Ordering::Relaxed);
            let is_due = |written: u64| (written + USE_WRITTEN_EVERY_H <= used).then_some(used);
            known.written.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_due).ok().map(|_| (*hash, used))
        });
        due.collect()
    }

    /// The account's devices, in the order of their log-ins.
    pub fn of_account(&self, account_id: AccountId) -> Vec<TokenHash> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.accounts.get(&account_id).map(|of| of.devices.clone()).unwrap_or_default()
    }

    /// Those of the account's devices that have to go before it can have one more: expired ones, and the one that was
    /// unused for longest where there are as many as there may be.
    pub(super) fn to_make_room(&self, account_id: AccountId) -> Vec<TokenHash> {
        let hour = self.serving.hours();
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let Some(of) = inner.accounts.get(&account_id) else { return Vec::new() };
        let used = |hash: &TokenHash| inner.devices.get(hash).map_or(0, |known| known.used.load(Ordering::Relaxed));
        let is_expired = |hash: &TokenHash| inner.devices.get(hash).is_none_or(|known| known.is_expired(hour));
        let (mut gone, kept): (Vec<TokenHash>, Vec<TokenHash>) = of.devices.iter().partition(|hash| is_expired(hash));
        if kept.len() >= limits::DEVICES_MAX {
            gone.extend(kept.into_iter().min_by_key(used));
        }
        gone
    }

    pub(super) fn insert(&self, token_hash: TokenHash, account: &Account, used: u64) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let new = || OfAccount { account: account.clone(), devices: Vec::new() };
        inner.accounts.entry(account.account_id).or_insert_with(new).devices.push(token_hash);
        let [used, written] = [used, used].map(AtomicU64::new);
        let known = Known { account_id: account.account_id, used, written };
        inner.devices.insert(token_hash, known);
    }

    pub(super) fn remove(&self, token_hash: &TokenHash) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = inner.devices.remove(token_hash) else { return };
        if let Some(of) = inner.accounts.get_mut(&known.account_id) {
            of.devices.retain(|other| other != token_hash);
            if of.devices.is_empty() {
                inner.accounts.remove(&known.account_id);
            }
        }
    }
}

impl Known {
    fn is_expired(&self, hour: u64) -> bool {
        hour.saturating_sub(self.used.load(Ordering::Relaxed)) >= KEPT_H
    }
}

/// Devices whose tokens are void from now on: their connections are to be closed.
#[derive(Clone, Debug)]
pub struct SignedOut {
    /// Whose.
    pub account_id: AccountId,
    /// Which.
    pub devices: Arc<[DeviceId]>,
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::Username;

    use super::*;

    fn after(hours: u64) -> DeviceIndex {
        DeviceIndex::new(ServingTime::after(hours * HOUR_S * 1000))
    }

    fn anna() -> Account {
        Account { account_id: AccountId(1), username: Username::new("anna").expect("a name") }
    }

    #[test]
    fn a_device_expires_after_so_long_without_use_and_each_use_is_written_once_a_day() {
        let index = after(KEPT_H + 30);
        for (token, used) in [(1, 30), (2, 31), (3, KEPT_H + 6), (4, KEPT_H + 7)] {
            index.insert([token; 32], &anna(), used);
        }
        assert!(index.find(&[1; 32]).is_none(), "expired");
        assert!(index.find(&[9; 32]).is_none(), "unknown");
        assert_eq!(index.unwritten_uses(), [], "known, but not used since");
        for token in [2, 3, 4] {
            assert!(index.find(&[token; 32]).is_some(), "valid");
        }
        let mut due = index.unwritten_uses();
        due.sort_unstable();
        assert_eq!(due, [([2; 32], KEPT_H + 30), ([3; 32], KEPT_H + 30)]);
        assert_eq!(index.unwritten_uses(), [], "written");
        assert_eq!(index.to_make_room(AccountId(1)), [[1; 32]]);
    }

    #[test]
    fn a_connected_device_is_in_use_and_others_of_its_account_are_not() {
        let index = after(100);
        for token in [1, 2] {
            index.insert([token; 32], &anna(), 10);
        }
        let connected = device_id(&[1; 32]);
        index.note_use([(AccountId(1), connected), (AccountId(1), DeviceId(7)), (AccountId(9), connected)]);
        assert_eq!(index.unwritten_uses(), [([1; 32], 100)]);
    }

    #[test]
    fn one_device_too_many_takes_the_place_of_the_one_that_was_unused_for_longest() {
        let index = after(50);
        for token in 0..100 {
            index.insert([token; 32], &anna(), if token == 7 { 10 } else { 20 });
        }
        assert_eq!(index.of_account(AccountId(1)).len(), limits::DEVICES_MAX);
        assert_eq!(index.to_make_room(AccountId(1)), [[7; 32]]);
        index.remove(&[7; 32]);
        assert!(index.find(&[7; 32]).is_none() && index.to_make_room(AccountId(1)).is_empty());
        (0..100).for_each(|token| index.remove(&[token; 32]));
        assert!(index.inner.read().expect("no panic").accounts.is_empty());
    }
}
