//! Accounts.

use posthouse_protocol::{Account, AccountId, Username};

use super::{Decision, Group, Refusal, Write};
use crate::store::rows::{AccountRow, Row, RowKey, Unknown, number_key};

/// Makes an account.
pub struct AccountAdd {
    /// Must be free.
    pub username: Username,
    /// PHC string.
    pub password_hash: String,
}

impl Write for AccountAdd {
    type Output = Account;

    fn decide(self, group: &mut Group<'_>) -> Decision<Account> {
        if group.state.usernames.contains_key(self.username.as_str()) {
            return Ok(Err(Refusal::UsernameTaken));
        }
        let account = Account { account_id: AccountId(group.state.last_account + 1), username: self.username };
        let row = AccountRow {
            account: account.clone(),
            password_hash: self.password_hash,
            created: group.now,
            unknown: Unknown::new(),
        };
        let name = RowKey::username(account.username.as_str());
        group.put(Row::json(RowKey::account(account.account_id), &row));
        group.put(Row::plain(name, number_key(account.account_id.0)));
        group.state.add_account(account.clone());
        group.join_everybody(account.account_id)?;
        Ok(Ok(account))
    }
}
