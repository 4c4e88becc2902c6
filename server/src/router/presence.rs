//! Presence: gathered, so that who comes back at once was never away, and told to contacts only. Kept nowhere.
//!
//! A connection takes part once it has said its own. What changes costs a flush some reading; a flush takes so many
//! accounts and no more, and leaves the others to the next one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthouse_protocol::{
    AccountId, ErrorBody, Event, Presence, PresenceNow, PresenceParams, PresenceResult, PresenceStatus, Push, limits,
};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::call::{Caller, Read};
use super::registry::Registry;
use super::{Inner, Router, store_failed};
use crate::store::{Snapshot, StoreError};

/// For so long changes are gathered: a phone that changes from Wi-Fi to mobile is back by then.
const GATHER: Duration = Duration::from_secs(2);

/// Accounts in one flush: a crowd that comes back within a minute takes a hundredth of a core.
const FLUSH_LEN_MAX: usize = 256;

/// What was told, and whose presence may have changed since.
#[derive(Default)]
pub(super) struct Presences {
    state: Mutex<State>,
    some: Notify,
}

#[derive(Default)]
struct State {
    /// Since the last flush.
    changed: BTreeSet<AccountId>,
    /// Those who are not offline, as it was told.
    told: HashMap<AccountId, PresenceStatus>,
    /// Of these somebody was answered otherwise meanwhile: how they are is told even where it is as it was told before.
    answered: BTreeSet<AccountId>,
}

impl Presences {
    pub fn add(&self, account_id: AccountId) {
        self.lock().changed.insert(account_id);
        self.some.notify_one();
    }

    /// How it is with these accounts now, for somebody who is told from here on what changes.
    fn answer(&self, registry: &Registry, accounts: &[AccountId]) -> Vec<PresenceNow> {
        let mut state = self.lock();
        let answer = registry.presences(accounts);
        let is_told = |now: &&PresenceNow| state.told(now.account_id) == now.status;
        let otherwise: Vec<AccountId> = answer.iter().filter(|now| !is_told(now)).map(|now| now.account_id).collect();
        state.answered.extend(otherwise);
        answer
    }

    /// What is to be told of some of those who have changed; the others are left.
    fn news(&self, registry: &Registry) -> Vec<PresenceNow> {
        let mut state = self.lock();
        let taken: Vec<AccountId> = state.changed.iter().copied().take(FLUSH_LEN_MAX).collect();
        state.changed.retain(|account| taken.binary_search(account).is_err());
        if !state.changed.is_empty() {
            self.some.notify_one();
        }
        registry.presences(&taken).into_iter().filter(|now| state.note(*now)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock leaves the state whole, so that a panic elsewhere does not matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn told(&self, account_id: AccountId) -> PresenceStatus {
        self.told.get(&account_id).copied().unwrap_or(PresenceStatus::Offline)
    }

    /// Notes what is told of an account; whether that is anything new to anybody.
    fn note(&mut self, now: PresenceNow) -> bool {
        let was_answered = self.answered.remove(&now.account_id);
        let before = match now.status {
            PresenceStatus::Offline => self.told.remove(&now.account_id),
            status => self.told.insert(now.account_id, status),
        };
        was_answered || before.unwrap_or(PresenceStatus::Offline) != now.status
    }
}

impl Read for Presence {
    type Answer = PresenceResult;

    async fn read(inner: &Inner, caller: Caller, params: PresenceParams) -> Result<PresenceResult, ErrorBody> {
        let account_id = caller.account_id;
        // What changes from here on is told; what was before is in the answer.
        if inner.registry.set_presence(caller.origin, params.status) {
            inner.presences.add(account_id);
        }
        let contacts = inner.read(move |snapshot| snapshot.contacts(account_id)).await?;
        let mut accounts = inner.presences.answer(&inner.registry, &contacts);
        accounts.retain(|now| now.status != PresenceStatus::Offline);
        accounts.truncate(limits::PRESENCE_SHOWN_MAX);
        Ok(PresenceResult { accounts })
    }
}

impl Router {
    /// Tells what has changed, until the store ends.
    pub async fn tell_presence(self) {
        loop {
            self.inner.presences.some.notified().await;
            tokio::time::sleep(GATHER).await;
            let news = self.inner.presences.news(&self.inner.registry);
            if let Err(error) = self.inner.tell_presences(news).await {
                // That the store has stopped is no failure.
                if !matches!(error, StoreError::Stopped) {
                    store_failed(&error);
                }
                return;
            }
        }
    }
}

impl Inner {
    async fn tell_presences(&self, news: Vec<PresenceNow>) -> Result<(), StoreError> {
        if news.is_empty() {
            return Ok(());
        }
        let read = move |snapshot: &Snapshot| {
            news.into_iter().map(|now| Ok((now, snapshot.contacts(now.account_id)?))).collect::<Result<Vec<_>, _>>()
        };
        for (now, contacts) in self.store.read(read).await? {
            let push = Push { cursor: None, event: Event::Presence(now) };
            let frame = serde_json::to_string(&push).expect("events have string keys");
            self.registry.deliver_presence(&contacts, &Utf8Bytes::from(frame));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::DeviceId;

    use super::super::outbox;
    use super::*;
    use crate::store::Origin;

    /// An account whose only session has said this.
    fn present(registry: &Registry, number: u64, status: PresenceStatus) {
        registry.add(AccountId(number), DeviceId(number), Origin(number), outbox().0);
        registry.set_presence(Origin(number), status);
    }

    #[test]
    fn what_was_told_already_is_not_told_again_and_who_is_gone_is_forgotten() {
        use PresenceStatus::{Away, Offline, Online};
        let mut state = State::default();
        let news = [Offline, Online, Online, Away, Offline, Offline];
        let news = news.map(|status| state.note(PresenceNow { account_id: AccountId(1), status }));
        assert_eq!(news, [false, true, false, true, true, false]);
        assert!(state.told.is_empty());
    }

    #[test]
    fn who_was_answered_that_somebody_is_away_is_told_of_the_return() {
        let (registry, presences) = (Registry::new(0), Presences::default());
        let tell = || presences.news(&registry).into_iter().map(|now| now.status).collect::<Vec<_>>();
        let come = || {
            present(&registry, 1, PresenceStatus::Online);
            presences.add(AccountId(1));
        };
        let go = || presences.add(registry.remove(Origin(1)).expect("it was there"));
        come();
        assert_eq!(tell(), [PresenceStatus::Online]);
        go();
        come();
        assert_eq!(tell(), [], "who is back within the time was never away");
        go();
        assert_eq!(presences.answer(&registry, &[AccountId(1)])[0].status, PresenceStatus::Offline);
        come();
        assert_eq!(tell(), [PresenceStatus::Online], "but for the one who was answered meanwhile");
        presences.add(AccountId(1));
        assert_eq!(tell(), []);
    }

    #[test]
    fn a_flush_takes_so_many_and_leaves_the_others() {
        let (registry, presences) = (Registry::new(0), Presences::default());
        for number in 0..300 {
            present(&registry, number, PresenceStatus::Online);
            presences.add(AccountId(number));
        }
        let [first, second, third] = [(); 3].map(|()| presences.news(&registry));
        assert_eq!([first.len(), second.len(), third.len()], [FLUSH_LEN_MAX, 300 - FLUSH_LEN_MAX, 0]);
        assert!(first.iter().all(|now| !second.contains(now)));
    }
}
