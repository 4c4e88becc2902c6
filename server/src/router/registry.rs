//! Who is connected: the outboxes of every account's sessions, and how far what was committed has been
//! handed out to them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use posthouse_protocol::{AccountId, DeviceId, PresenceNow, PresenceStatus};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::outbox::{Class, OutboxSender};
use crate::store::{Committed, Origin, Published, Recipients, SignedOut, probe};

/// The connected sessions by account.
pub(super) struct Registry {
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    /// The last record that was handed out.
    last: u64,
    by_account: HashMap<AccountId, Vec<(Origin, OutboxSender)>>,
    devices: HashMap<Origin, (AccountId, DeviceId)>,
    /// Of those that have said theirs, and not offline.
    presences: HashMap<Origin, PresenceStatus>,
}

impl Registry {
    /// Nobody is connected; records up to `last` are never handed out.
    pub fn new(last: u64) -> Self {
        Self { sessions: Mutex::new(Sessions { last, ..Sessions::default() }) }
    }

    /// Adds a session. It gets every record behind the one that is returned, and none up to it.
    pub fn add(&self, account_id: AccountId, device_id: DeviceId, origin: Origin, outbox: OutboxSender) -> u64 {
        let mut sessions = self.lock();
        sessions.devices.insert(origin, (account_id, device_id));
        sessions.by_account.entry(account_id).or_default().push((origin, outbox));
        sessions.last
    }

    /// Forgets a session, also one whose `connect` was cut off half way, or that never was. Says whose presence this
    /// may have changed.
    pub fn remove(&self, origin: Origin) -> Option<AccountId> {
        let mut sessions = self.lock();
        let (account_id, _) = sessions.devices.remove(&origin)?;
        sessions.retain(account_id, |(other, _)| *other != origin);
        sessions.presences.remove(&origin).map(|_| account_id)
    }

    /// Notes what a session says of itself; whether that is anything else than before.
    pub fn set_presence(&self, origin: Origin, status: PresenceStatus) -> bool {
        let mut sessions = self.lock();
        // One that has ended meanwhile would be noted for ever.
        if !sessions.devices.contains_key(&origin) {
            return false;
        }
        let before = match status {
            PresenceStatus::Offline => sessions.presences.remove(&origin),
            status => sessions.presences.insert(origin, status),
        };
        before.unwrap_or(PresenceStatus::Offline) != status
    }

    /// How it is with these accounts now.
    pub fn presences(&self, accounts: &[AccountId]) -> Vec<PresenceNow> {
        let sessions = self.lock();
        let of = |account_id: &AccountId| {
            let origins = sessions.by_account.get(account_id).into_iter().flatten().map(|(origin, _)| origin);
            let status = origins.filter_map(|origin| sessions.presences.get(origin)).max();
            PresenceNow { account_id: *account_id, status: status.copied().unwrap_or(PresenceStatus::Offline) }
        };
        accounts.iter().map(of).collect()
    }

    /// Queues a frame that may get lost for those sessions of these accounts that have said their own presence.
    pub fn deliver_presence(&self, accounts: &[AccountId], frame: &Utf8Bytes) {
        let sessions = self.lock();
        for (origin, outbox) in accounts.iter().filter_map(|account| sessions.by_account.get(account)).flatten() {
            if sessions.presences.contains_key(origin) {
                // One that takes nothing more is found by what is durable.
                let _ = outbox.push(frame.clone(), Class::Lossy);
            }
        }
    }

    /// Whose a session is, and the device that it is of.
    pub fn session(&self, origin: Origin) -> Option<(AccountId, DeviceId)> {
        self.lock().devices.get(&origin).copied()
    }

    /// The device that a session is of.
    pub fn device(&self, origin: Origin) -> Option<DeviceId> {
        self.session(origin).map(|(_, device_id)| device_id)
    }

    /// All that are connected.
    pub fn sessions(&self) -> Vec<(AccountId, DeviceId)> {
        self.lock().devices.values().copied().collect()
    }

    /// Whether this is the account's only session.
    pub fn is_alone(&self, account_id: AccountId, origin: Origin) -> bool {
        let sessions = self.lock();
        sessions
            .by_account
            .get(&account_id)
            .is_none_or(|of_account| of_account.iter().all(|(other, _)| *other == origin))
    }

    /// How many sessions are connected; the probe's don't count.
    pub fn count(&self) -> usize {
        let sessions = self.lock();
        let of_probe = sessions.by_account.get(&probe::ACCOUNT).map_or(0, Vec::len);
        sessions.devices.len().saturating_sub(of_probe)
    }

    /// Ends the sessions of devices whose tokens are void.
    pub fn sign_out(&self, gone: &Committed<SignedOut>) {
        let mut sessions = self.lock();
        let Sessions { by_account, devices, .. } = &mut *sessions;
        let is_gone = |origin: &Origin| devices.get(origin).is_some_and(|(_, device)| gone.devices.contains(device));
        if let Some(of_account) = by_account.get_mut(&gone.account_id) {
            of_account.retain(|(origin, outbox)| {
                let is_gone = is_gone(origin);
                if is_gone {
                    outbox.sign_out();
                }
                !is_gone
            });
            if of_account.is_empty() {
                by_account.remove(&gone.account_id);
            }
        }
    }

    /// Queues a record for all sessions that it concerns, but for the one that has it already; gives up
    /// those that can't take it. Without a frame it only counts as handed out.
    pub fn deliver(&self, record: &Committed<Published>, frame: Option<&Utf8Bytes>) {
        let mut sessions = self.lock();
        sessions.last = record.gseq;
        let Some(frame) = frame else { return };
        let keep = |(origin, outbox): &(Origin, OutboxSender)| {
            record.origin == Some(*origin) || outbox.push(frame.clone(), Class::Durable).is_ok()
        };
        match &record.recipients {
            Recipients::Accounts(accounts) => accounts.iter().for_each(|account| sessions.retain(*account, keep)),
            Recipients::Everybody => {
                let accounts: Vec<AccountId> = sessions.by_account.keys().copied().collect();
                accounts.into_iter().for_each(|account| sessions.retain(account, keep));
            }
        }
    }

    /// Queues a frame that is no record for all sessions of these accounts; gives up those that can't take it.
    pub fn deliver_beside(&self, accounts: &[AccountId], frame: &Utf8Bytes, class: Class) {
        let mut sessions = self.lock();
        for account in accounts {
            sessions.retain(*account, |(_, outbox)| outbox.push(frame.clone(), class).is_ok());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    fn retain(&mut self, account_id: AccountId, keep: impl FnMut(&(Origin, OutboxSender)) -> bool) {
        if let Some(of_account) = self.by_account.get_mut(&account_id) {
            of_account.retain(keep);
            if of_account.is_empty() {
                self.by_account.remove(&account_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::outbox;

    fn record(gseq: u64, recipients: Recipients, origin: Option<Origin>) -> Committed<Published> {
        let frame = gseq.to_string().into_bytes().into();
        Committed::for_test(Published { gseq, recipients, origin, frame })
    }

    fn deliver(registry: &Registry, record: &Committed<Published>) {
        registry.deliver(record, super::super::event_frame(record).as_ref());
    }

    #[test]
    fn a_session_that_is_removed_leaves_nothing_behind() {
        let registry = Registry::new(0);
        let (account, origin, other) = (AccountId(1), Origin(1), Origin(2));
        let (sender, mut removed) = outbox();
        let (other_sender, mut left) = outbox();
        registry.add(account, DeviceId(1), origin, sender);
        registry.add(account, DeviceId(2), other, other_sender);
        assert!(registry.set_presence(origin, PresenceStatus::Online));
        assert_eq!(registry.remove(origin), Some(account));
        assert_eq!(registry.remove(Origin(3)), None);
        assert!(!registry.set_presence(origin, PresenceStatus::Online), "it has ended");
        deliver(&registry, &record(1, Recipients::Accounts([account].into()), None));
        assert_eq!(left.next_now().as_deref(), Some("1"));
        assert_eq!(removed.next_now(), None);
        assert_eq!(registry.remove(other), None, "it has never said its presence");
        let sessions = registry.lock();
        assert!(sessions.by_account.is_empty() && sessions.devices.is_empty() && sessions.presences.is_empty());
    }

    #[test]
    fn the_probe_is_not_counted() {
        let registry = Registry::new(0);
        for (account, number) in [(AccountId(1), 1), (probe::ACCOUNT, 2), (probe::ACCOUNT, 3)] {
            registry.add(account, DeviceId(number), Origin(number), outbox().0);
        }
        assert_eq!(registry.count(), 1);
        registry.remove(Origin(1));
        assert_eq!(registry.count(), 0);
    }

    #[test]
    fn an_account_is_what_the_most_present_of_its_sessions_is() {
        use PresenceStatus::{Away, Offline, Online};
        let registry = Registry::new(0);
        let account = AccountId(1);
        for number in 1..=3 {
            registry.add(account, DeviceId(number), Origin(number), outbox().0);
        }
        let now = || registry.presences(&[account])[0].status;
        assert_eq!(now(), Offline, "none has said anything");
        for (number, status, is_news, sum) in [
            (1, Away, true, Away),
            (1, Away, false, Away),
            (2, Online, true, Online),
            (2, Away, true, Away),
            (2, Offline, true, Away),
            (3, Offline, false, Away),
            (1, Offline, true, Offline),
        ] {
            assert_eq!(registry.set_presence(Origin(number), status), is_news, "{number} {status:?}");
            assert_eq!(now(), sum, "{number} {status:?}");
        }
    }

    #[test]
    fn a_session_gets_what_lies_behind_the_record_that_it_was_told_and_nothing_else() {
        let registry = Registry::new(7);
        let (mut outboxes, mut told) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let (sender, outbox) = outbox();
            told.push(registry.add(AccountId(number), DeviceId(number), Origin(number), sender));
            outboxes.push(outbox);
            let to_others = Recipients::Accounts([AccountId(1), AccountId(2)].into());
            deliver(&registry, &record(7 + 2 * number - 1, to_others, Some(Origin(1))));
            deliver(&registry, &record(7 + 2 * number, Recipients::Everybody, None));
        }
        assert_eq!(told, [7, 9, 11]);
        let mut got = outboxes.into_iter().map(|mut outbox| {
            let got = std::iter::from_fn(|| outbox.next_now()).map(|frame| frame.to_string());
            got.collect::<Vec<_>>()
        });
        assert_eq!(got.next().expect("a session"), ["9", "11", "13"], "its own are not sent back");
        assert_eq!(got.next().expect("a session"), ["10", "11", "12", "13"]);
        assert_eq!(got.next().expect("a session"), ["13"]);
    }
}
