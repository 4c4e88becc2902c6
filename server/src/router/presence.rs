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
use super::{Inner, Router, store_failed};
use crate::store::{Snapshot, StoreError};

/// For so long changes are gathered: a phone that changes from Wi-Fi to mobile is back by then.
const GATHER: Duration = Duration::from_secs(2);

/// Accounts in one flush: a crowd that comes back within a minute takes a hundredth of a core.
const FLUSH_LEN_MAX: usize = 256;

/// Whose presence may have changed since the last flush.
#[derive(Default)]
pub(super) struct Changed {
    accounts: Mutex<BTreeSet<AccountId>>,
    some: Notify,
}

impl Changed {
    pub fn add(&self, account_id: AccountId) {
        self.lock().insert(account_id);
        self.some.notify_one();
    }

    /// Some of them; the others are left.
    fn take(&self) -> Vec<AccountId> {
        let mut accounts = self.lock();
        let taken: Vec<AccountId> = accounts.iter().copied().take(FLUSH_LEN_MAX).collect();
        accounts.retain(|account| taken.binary_search(account).is_err());
        if !accounts.is_empty() {
            self.some.notify_one();
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<AccountId>> {
        // Every change under the lock leaves the set whole, so that a panic elsewhere does not matter.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut accounts = inner.registry.presences(&contacts);
        accounts.retain(|now| now.status != PresenceStatus::Offline);
        accounts.truncate(limits::PRESENCE_SHOWN_MAX);
        Ok(PresenceResult { accounts })
    }
}

impl Router {
    /// Tells what has changed, until the store ends.
    pub async fn tell_presence(self) {
        // Those who are not offline, as it was told.
        let mut told: HashMap<AccountId, PresenceStatus> = HashMap::new();
        loop {
            self.inner.presences.some.notified().await;
            tokio::time::sleep(GATHER).await;
            let changed = self.inner.presences.take();
            let news = self.inner.registry.presences(&changed).into_iter().filter(|now| note(&mut told, *now));
            if let Err(error) = self.inner.tell_presences(news.collect()).await {
                // That the store has stopped is no failure.
                if !matches!(error, StoreError::Stopped) {
                    store_failed(&error);
                }
                return;
            }
        }
    }
}

/// Notes what is told of an account; whether that is anything new.
fn note(told: &mut HashMap<AccountId, PresenceStatus>, now: PresenceNow) -> bool {
    let before = match now.status {
        PresenceStatus::Offline => told.remove(&now.account_id),
        status => told.insert(now.account_id, status),
    };
    before.unwrap_or(PresenceStatus::Offline) != now.status
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
    use super::*;

    #[test]
    fn what_was_told_already_is_not_told_again_and_who_is_gone_is_forgotten() {
        use PresenceStatus::{Away, Offline, Online};
        let mut told = HashMap::new();
        let news = [Offline, Online, Online, Away, Offline, Offline];
        let news = news.map(|status| note(&mut told, PresenceNow { account_id: AccountId(1), status }));
        assert_eq!(news, [false, true, false, true, true, false]);
        assert!(told.is_empty());
    }

    #[test]
    fn a_flush_takes_so_many_and_leaves_the_others() {
        let changed = Changed::default();
        (0..300).chain(0..300).for_each(|number| changed.add(AccountId(number)));
        let (first, second) = (changed.take(), changed.take());
        assert_eq!((first.len(), second.len()), (FLUSH_LEN_MAX, 300 - FLUSH_LEN_MAX));
        assert!(first.iter().all(|account| !second.contains(account)) && changed.take().is_empty());
    }
}
