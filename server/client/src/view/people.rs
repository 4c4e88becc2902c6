//! Whom an account has to do with: what they are called, and whether they are there.

use std::collections::BTreeMap;

use posthouse_protocol::{Account, AccountId, PresenceNow, PresenceStatus, Username};

/// Those that were heard of.
#[derive(Default)]
pub struct People {
    names: BTreeMap<AccountId, Username>,
    /// Who is not offline, as far as the server tells.
    present: BTreeMap<AccountId, PresenceStatus>,
}

impl People {
    pub(super) fn meet(&mut self, account: &Account) {
        self.names.entry(account.account_id).or_insert_with(|| account.username.clone());
    }

    /// All that are there, in the place of what was known before.
    pub fn set_present(&mut self, accounts: &[PresenceNow]) {
        self.present.clear();
        accounts.iter().for_each(|now| self.come_or_go(*now));
    }

    pub(super) fn come_or_go(&mut self, now: PresenceNow) {
        match now.status {
            PresenceStatus::Offline => self.present.remove(&now.account_id),
            status => self.present.insert(now.account_id, status),
        };
    }

    /// What somebody is called.
    pub fn name(&self, id: AccountId) -> String {
        self.names.get(&id).map_or_else(|| "somebody".to_owned(), ToString::to_string)
    }

    /// Whether somebody is there.
    pub fn status(&self, id: AccountId) -> PresenceStatus {
        self.present.get(&id).copied().unwrap_or(PresenceStatus::Offline)
    }
}
