//! Many accounts at once.

use posthouse_protocol::{AccountId, AccountRole, Profile};

use super::{Decision, Group, NewAccount, Write};
use crate::store::authority;

/// Makes members' accounts, all of them or none.
pub struct AccountImport {
    /// Who makes them.
    pub actor: AccountId,
    /// Where a name is taken, that account stays as it is.
    pub accounts: Vec<NewAccount>,
}

impl Write for AccountImport {
    /// For each: what was made, if it was not there already.
    type Output = Vec<Option<Profile>>;

    fn decide(self, group: &mut Group<'_>) -> Decision<Self::Output> {
        if let Err(refusal) = authority::gives_role(group.state, self.actor, AccountRole::Member) {
            return Ok(Err(refusal));
        }
        let make = |new: NewAccount| {
            let is_free = !group.state.is_taken(&new.username);
            is_free.then(|| group.create_account(new, AccountRole::Member)).transpose()
        };
        Ok(Ok(self.accounts.into_iter().map(make).collect::<Result<_, _>>()?))
    }
}
