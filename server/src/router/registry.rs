//! Who is connected: the outboxes of every account's sessions.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use posthouse_protocol::AccountId;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::outbox::OutboxSender;
use crate::store::Origin;

/// The connected sessions by account.
#[derive(Default)]
pub(super) struct Registry {
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_account: HashMap<AccountId, Vec<(Origin, OutboxSender)>>,
    accounts: HashMap<Origin, AccountId>,
}

impl Registry {
    pub fn add(&self, account_id: AccountId, origin: Origin, outbox: OutboxSender) {
        let mut sessions = self.lock();
        sessions.accounts.insert(origin, account_id);
        sessions.by_account.entry(account_id).or_default().push((origin, outbox));
    }

    /// Forgets a session, also one whose `connect` was cut off half way, or that never was.
    pub fn remove(&self, origin: Origin) {
        let account_id = self.lock().accounts.remove(&origin);
        if let Some(account_id) = account_id {
            self.retain(account_id, |(other, _)| *other != origin);
        }
    }

    /// Queues a frame for every session of the account but `origin`; gives up those that can't take it.
    pub fn push(&self, account_id: AccountId, origin: Origin, frame: &Utf8Bytes) {
        self.retain(account_id, |(other, outbox)| *other == origin || outbox.push(frame.clone()).is_ok());
    }

    fn retain(&self, account_id: AccountId, keep: impl FnMut(&(Origin, OutboxSender)) -> bool) {
        let mut sessions = self.lock();
        if let Some(of_account) = sessions.by_account.get_mut(&account_id) {
            of_account.retain(keep);
            if of_account.is_empty() {
                sessions.by_account.remove(&account_id);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::outbox;

    #[tokio::test]
    async fn a_session_that_is_removed_leaves_nothing_behind() {
        let registry = Registry::default();
        let (account, origin, other) = (AccountId(1), Origin(1), Origin(2));
        let (sender, mut removed) = outbox();
        let (other_sender, mut left) = outbox();
        registry.add(account, origin, sender);
        registry.add(account, other, other_sender);
        registry.remove(origin);
        registry.remove(Origin(3));
        registry.push(account, Origin(0), &"frame".into());
        assert_eq!(left.next_now().as_deref(), Some("frame"));
        assert_eq!(removed.next().await, None, "its sending end is gone");
        registry.remove(other);
        let sessions = registry.lock();
        assert!(sessions.by_account.is_empty() && sessions.accounts.is_empty());
    }
}
