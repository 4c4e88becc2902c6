//! Whose the box is.

use posthouse_protocol::{Account, AccountRole};

use super::{Decision, Group, NewAccount, Refusal, Write};
use crate::store::device_index::TokenHash;
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
        if group.state.usernames.contains_key(self.new.username.as_str()) {
            return Ok(Err(Refusal::UsernameTaken));
        }
        let account = group.create_account(self.new, AccountRole::Owner)?.account();
        group.add_device(&account, self.token_hash, self.device_name);
        let row = OwnershipRow { backup_key: self.backup_key, unknown: Unknown::new() };
        group.put(Row::json(RowKey::ownership(), &row));
        Ok(Ok(account))
    }
}
