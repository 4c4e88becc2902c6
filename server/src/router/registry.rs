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
    sessions: Mutex<HashMap<AccountId, Vec<(Origin, OutboxSender)>>>,
}

impl Registry {
    pub fn add(&self, account_id: AccountId, origin: Origin, outbox: OutboxSender) {
        self.lock().entry(account_id).or_default().push((origin, outbox));
    }

    pub fn remove(&self, account_id: AccountId, origin: Origin) {
        self.retain(account_id, |(other, _)| *other != origin);
    }

    /// Queues a frame for every session of the account but `origin`; gives up those that can't take it.
    pub fn push(&self, account_id: AccountId, origin: Origin, frame: &Utf8Bytes) {
        self.retain(account_id, |(other, outbox)| *other == origin || outbox.push(frame.clone()).is_ok());
    }

    fn retain(&self, account_id: AccountId, keep: impl FnMut(&(Origin, OutboxSender)) -> bool) {
        let mut sessions = self.lock();
        if let Some(of_account) = sessions.get_mut(&account_id) {
            of_account.retain(keep);
            if of_account.is_empty() {
                sessions.remove(&account_id);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Vec<(Origin, OutboxSender)>>> {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
