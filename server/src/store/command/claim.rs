//! Whose the box is.

use posthouse_protocol::claim::OwnerRecovered;
use posthouse_protocol::{Account, AccountId, AccountRole, AccountStatus, Event, limits};

use super::devices::Revoked;
use super::{Decision, Group, NewAccount, NewRecord, Refusal, Write};
use crate::store::device_index::TokenHash;
use crate::store::record::{Audience, Place, Recipients};
use crate::store::rows::{OwnershipRow, Row, RowKey, Unknown};

/// Makes the owner of a box that nobody owns, and the owner's first device. Of several at once, one wins.
pub struct OwnerClaim {
    /// The account.
    pub new: NewAccount,
    /// SHA-256 of the device's token.
    pub token_hash: TokenHash,
    /// As the client names the device.
    pub device_name: String,
    /// What the owner puts away on paper.
    pub backup_key: String,
}

impl Write for OwnerClaim {
    type Output = Account;

    fn decide(self, group: &mut Group<'_>) -> Decision<Account> {
        if group.state.is_owned() {
            return Ok(Err(Refusal::AlreadyClaimed));
        }
        if group.state.is_taken(&self.new.username) {
            return Ok(Err(Refusal::UsernameTaken));
        }
        let account = group.create_account(self.new, AccountRole::Owner)?.account();
        group.add_device(&account, self.token_hash, self.device_name);
        let row = OwnershipRow { backup_key: self.backup_key, unknown: Unknown::new() };
        group.put(Row::json(RowKey::ownership(), &row));
        Ok(Ok(account))
    }
}

/// Gives the owner another password and signs all their devices out. Whoever administers the site is told, and finds it in their
/// history: up to [`limits::MEMBERS_CHANGE_MAX`] of them, which is what fits into a frame of the log.
pub struct OwnerRecover {
    /// PHC string.
    pub password_hash: String,
}

impl Write for OwnerRecover {
    type Output = Account;

    fn decide(self, group: &mut Group<'_>) -> Decision<Account> {
        let owner = group.state.owner.borrow().clone();
        let Some(account) = owner else { return Ok(Err(Refusal::NoSuchAccount)) };
        let Some(mut row) = group.account_row(account.account_id)? else { return Ok(Err(Refusal::NoSuchAccount)) };
        row.password_hash = self.password_hash;
        row.must_change = false;
        group.sign_out(account.account_id, Revoked::All);
        group.put(Row::json(RowKey::account(account.account_id), &row));
        let recovered = OwnerRecovered { account: account.clone(), ts: group.now };
        for administrator in group.administrators() {
            let record = NewRecord {
                audience: Audience::Account(administrator),
                place: Place::default(),
                ts: group.now,
                sent: None,
                recipients: Recipients::Accounts([administrator].into()),
                origin: None,
            };
            group.record(record, |_| Event::OwnerRecovered(recovered.clone()));
        }
        Ok(Ok(account))
    }
}

impl Group<'_> {
    /// Those who administer the site, the first ones first.
    fn administrators(&self) -> Vec<AccountId> {
        let standings = self.state.standings.iter().filter(|(_, standing)| standing.status == AccountStatus::Active);
        let them =
            standings.filter(|(_, standing)| matches!(standing.role, AccountRole::Owner | AccountRole::Administrator));
        let mut them: Vec<AccountId> = them.map(|(account_id, _)| *account_id).collect();
        them.sort_unstable();
        them.truncate(limits::MEMBERS_CHANGE_MAX);
        them
    }
}
