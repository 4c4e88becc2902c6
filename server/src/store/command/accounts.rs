//! Accounts: making them, changing them, letting them go.

use posthouse_protocol::{
    Account, AccountId, AccountRole, AccountStatus, DisplayName, Event, Profile, Username, limits,
};

use super::devices::Revoked;
use super::groups::GroupsLeave;
use super::{Decision, Group, NewRecord, Refusal, Write};
use crate::store::record::{Audience, Place, Recipients, decode_json};
use crate::store::rows::{AccountRow, Row, RowKey, Unknown, number_key};
use crate::store::{StoreError, authority};

/// Who makes an account.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// The machine's administrator, through the local socket.
    Machine,
    /// An account.
    Account(AccountId),
}

/// An account before it has a number.
pub struct NewAccount {
    /// Must be free.
    pub username: Username,
    /// The name to be shown.
    pub display_name: Option<DisplayName>,
    /// PHC string.
    pub password_hash: String,
    /// Whether the password has to be changed before the first log-in.
    pub must_change: bool,
}

/// Makes an account.
pub struct AccountAdd {
    /// Who makes it.
    pub by: By,
    /// Its role. Without one: a member's, but for the first that the machine's administrator makes, which is the
    /// owner's.
    pub role: Option<AccountRole>,
    /// The account.
    pub new: NewAccount,
}

impl AccountAdd {
    /// By the machine's administrator.
    pub fn by_machine(username: Username, password_hash: String) -> Self {
        let new = NewAccount { username, display_name: None, password_hash, must_change: false };
        Self { by: By::Machine, role: None, new }
    }
}

impl Write for AccountAdd {
    type Output = Profile;

    fn decide(self, group: &mut Group<'_>) -> Decision<Profile> {
        let role = match self.by {
            By::Machine if !group.state.is_owned() => self.role.unwrap_or(AccountRole::Owner),
            _ => self.role.unwrap_or_default(),
        };
        if let By::Account(actor) = self.by
            && let Err(refusal) = authority::gives_role(group.state, actor, role)
        {
            return Ok(Err(refusal));
        }
        if group.state.is_taken(&self.new.username) {
            return Ok(Err(Refusal::UsernameTaken));
        }
        Ok(Ok(group.create_account(self.new, role)?))
    }
}

/// Changes what the account says of itself.
pub struct AccountRename {
    /// Whose.
    pub account_id: AccountId,
    /// The new name to be shown; what is left out stays.
    pub display_name: Option<DisplayName>,
}

impl Write for AccountRename {
    type Output = Profile;

    fn decide(self, group: &mut Group<'_>) -> Decision<Profile> {
        let Some(old) = group.account_row(self.account_id)? else { return Ok(Err(Refusal::NoSuchAccount)) };
        let mut row = old.clone();
        row.display_name = self.display_name.or(row.display_name);
        Ok(Ok(group.change_account(&old, &row)))
    }
}

/// Lets nobody log in, and signs all devices out.
pub struct AccountDisable {
    /// Who does it.
    pub actor: AccountId,
    /// Whose account.
    pub account_id: AccountId,
}

impl Write for AccountDisable {
    type Output = Profile;

    fn decide(self, group: &mut Group<'_>) -> Decision<Profile> {
        let (old, mut row) = match group.account_for(self.actor, self.account_id)? {
            Ok(row) => (row.clone(), row),
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = authority::leaves_an_owner(group.state, self.account_id) {
            return Ok(Err(refusal));
        }
        row.status = AccountStatus::Disabled.into();
        group.sign_out(self.account_id, Revoked::All);
        group.revoke_invites_of(self.account_id);
        Ok(Ok(group.change_account(&old, &row)))
    }
}

/// Takes [`AccountDisable`] back.
pub struct AccountEnable {
    /// Who does it.
    pub actor: AccountId,
    /// Whose account.
    pub account_id: AccountId,
}

impl Write for AccountEnable {
    type Output = Profile;

    fn decide(self, group: &mut Group<'_>) -> Decision<Profile> {
        let (old, mut row) = match group.account_for(self.actor, self.account_id)? {
            Ok(row) => (row.clone(), row),
            Err(refusal) => return Ok(Err(refusal)),
        };
        row.status = AccountStatus::Active.into();
        Ok(Ok(group.change_account(&old, &row)))
    }
}

/// Gives another password, to be changed before the next log-in, and signs all devices out.
pub struct AccountReset {
    /// Who does it.
    pub actor: AccountId,
    /// Whose account.
    pub account_id: AccountId,
    /// PHC string.
    pub password_hash: String,
}

impl Write for AccountReset {
    type Output = Profile;

    fn decide(self, group: &mut Group<'_>) -> Decision<Profile> {
        let (old, mut row) = match group.account_for(self.actor, self.account_id)? {
            Ok(row) => (row.clone(), row),
            Err(refusal) => return Ok(Err(refusal)),
        };
        row.password_hash = self.password_hash;
        row.must_change = true;
        group.sign_out(self.account_id, Revoked::All);
        Ok(Ok(group.change_account(&old, &row)))
    }
}

/// Gives another role.
pub struct AccountRoleSet {
    /// Who does it.
    pub actor: AccountId,
    /// Whose account.
    pub account_id: AccountId,
    /// The new one.
    pub role: AccountRole,
}

impl Write for AccountRoleSet {
    type Output = Profile;

    fn decide(self, group: &mut Group<'_>) -> Decision<Profile> {
        let (old, mut row) = match group.account_for(self.actor, self.account_id)? {
            Ok(row) => (row.clone(), row),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let may = authority::gives_role(group.state, self.actor, self.role).and_then(|()| match self.role {
            AccountRole::Owner => Ok(()),
            _ => authority::leaves_an_owner(group.state, self.account_id),
        });
        if let Err(refusal) = may {
            return Ok(Err(refusal));
        }
        row.role = self.role.into();
        if self.role == AccountRole::Member {
            group.revoke_invites_of(self.account_id);
        }
        Ok(Ok(group.change_account(&old, &row)))
    }
}

/// The account's person leaves for good, and every group that they are in; those that they own get another owner.
/// To be repeated until it gives the account: before that there are more groups.
pub struct AccountDepart {
    /// Who says so.
    pub actor: AccountId,
    /// Whose account.
    pub account_id: AccountId,
}

impl Write for AccountDepart {
    type Output = Option<Profile>;

    fn decide(self, group: &mut Group<'_>) -> Decision<Option<Profile>> {
        let (old, mut row) = match group.account_for(self.actor, self.account_id)? {
            Ok(row) => (row.clone(), row),
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Err(refusal) = authority::leaves_an_owner(group.state, self.account_id) {
            return Ok(Err(refusal));
        }
        group.sign_out(self.account_id, Revoked::All);
        match (GroupsLeave { account_id: self.account_id }).decide(group)? {
            // Only so many fit into a frame of the log: there may be more. Nobody logs in meanwhile, nor if it ends here.
            Ok(limits::MEMBERS_CHANGE_MAX..) => {
                row.status = AccountStatus::Disabled.into();
                group.change_account(&old, &row);
                return Ok(Ok(None));
            }
            Ok(_) => {}
            Err(refusal) => return Ok(Err(refusal)),
        }
        row.status = AccountStatus::Departed.into();
        row.role = AccountRole::Member.into();
        // Of no password.
        row.password_hash = String::new();
        group.revoke_invites_of(self.account_id);
        Ok(Ok(Some(group.change_account(&old, &row))))
    }
}

/// Changes one's own password.
pub struct PasswordSet {
    /// Whose.
    pub account_id: AccountId,
    /// What the old password was checked against.
    pub old_hash: String,
    /// PHC string of the new one.
    pub password_hash: String,
}

impl Write for PasswordSet {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let mut row = match group.account_with_password(self.account_id, &self.old_hash)? {
            Ok(row) => row,
            Err(refusal) => return Ok(Err(refusal)),
        };
        row.password_hash = self.password_hash;
        row.must_change = false;
        group.put(Row::json(RowKey::account(self.account_id), &row));
        Ok(Ok(()))
    }
}

impl Group<'_> {
    /// Makes an account whose name is free: everybody who comes to this site comes through here.
    pub(super) fn create_account(&mut self, new: NewAccount, role: AccountRole) -> Result<Profile, StoreError> {
        let NewAccount { username, display_name, password_hash, must_change } = new;
        let account = Account { account_id: AccountId(self.state.last_account + 1), username };
        let row = AccountRow {
            account: account.clone(),
            display_name,
            role: role.into(),
            status: AccountStatus::Active.into(),
            password_hash,
            must_change,
            created: self.now,
            unknown: Unknown::new(),
        };
        let name = RowKey::username(account.username.as_str());
        self.put(Row::json(RowKey::account(account.account_id), &row));
        self.put(Row::plain(name, number_key(account.account_id.0)));
        for name in row.search_names() {
            self.put(Row::plain(RowKey::account_name(&name, account.account_id), []));
        }
        self.state.add_account(account.clone());
        self.state.set_standing(account.account_id, row.standing());
        self.join_everybody(account.account_id)?;
        Ok(row.profile())
    }

    /// An account as it is now.
    pub(super) fn account_row(&mut self, account_id: AccountId) -> Result<Option<AccountRow>, StoreError> {
        let found = self.overlay.row(&RowKey::account(account_id))?;
        Ok(found.map(|found| decode_json("an account", &found)).transpose()?)
    }

    /// An account on which the actor may act. There is nothing to be done any more with one that has departed.
    fn account_for(&mut self, actor: AccountId, account_id: AccountId) -> Decision<AccountRow> {
        if let Err(refusal) = authority::over_account(self.state, actor, account_id) {
            return Ok(Err(refusal));
        }
        let Some(row) = self.account_row(account_id)? else { return Ok(Err(Refusal::NoSuchAccount)) };
        Ok(if row.status.value() == AccountStatus::Departed { Err(Refusal::Departed) } else { Ok(row) })
    }

    /// An account whose password was just checked, if that is still its password and somebody may log in.
    pub(super) fn account_with_password(&mut self, account_id: AccountId, checked: &str) -> Decision<AccountRow> {
        let Some(row) = self.account_row(account_id)? else { return Ok(Err(Refusal::NoSuchAccount)) };
        Ok(match row.status.value() {
            _ if row.password_hash != checked => Err(Refusal::PasswordChanged),
            AccountStatus::Active => Ok(row),
            _ => Err(Refusal::AccountDisabled),
        })
    }

    /// Writes a changed account, and tells everybody where they may know of it.
    fn change_account(&mut self, old: &AccountRow, row: &AccountRow) -> Profile {
        let account_id = row.account.account_id;
        let (old_names, names) = (old.search_names(), row.search_names());
        for name in old_names.iter().filter(|name| !names.contains(name)) {
            self.remove(RowKey::account_name(name, account_id));
        }
        for name in names.iter().filter(|name| !old_names.contains(name)) {
            self.put(Row::plain(RowKey::account_name(name, account_id), []));
        }
        self.put(Row::json(RowKey::account(account_id), row));
        self.state.set_standing(account_id, row.standing());
        let profile = row.profile();
        if profile != old.profile() {
            let (audience, recipients) = (Audience::Site, Recipients::Everybody);
            let (place, ts) = (Place::default(), self.now);
            let record = NewRecord { audience, place, ts, sent: None, recipients, origin: None };
            self.record(record, |_| Event::AccountUpdated(profile.clone()));
        }
        profile
    }
}
