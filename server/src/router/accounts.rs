//! Accounts: who there is, and what administrators do with them.

use std::time::Instant;

use posthouse_protocol::{
    Account, AccountParams, AccountRole, AccountWithPassword, AccountsCreate, AccountsCreateParams, AccountsDepart,
    AccountsDisable, AccountsEnable, AccountsGet, AccountsGetParams, AccountsMe, AccountsReset, AccountsResetParams,
    AccountsRole, AccountsRoleParams, AccountsSearch, AccountsSearchParams, AccountsSearchResult, AccountsUpdate,
    AccountsUpdateParams, Empty, ErrorBody, Password, Profile, Username, limits,
};

use super::call::{Caller, Change, Read};
use super::{Inner, Router, invalid, page_limit, refused, secret};
use crate::admission::Visitor;
use crate::store::{
    AccountAdd, AccountDepart, AccountDisable, AccountEnable, AccountRename, AccountReset, AccountRoleSet, By,
    Committed, NewAccount, Refusal,
};

impl Router {
    /// Makes an account for the machine's administrator. Without a role: the first is the owner's, the others are
    /// members'.
    ///
    /// # Errors
    /// `already_exists`, or `invalid_params` for a password out of bounds.
    pub async fn add_account(
        &self,
        username: Username,
        password: String,
        role: Option<AccountRole>,
    ) -> Result<Committed<Account>, ErrorBody> {
        check_role(role)?;
        let password_hash = self.inner.passwords.hash(password).await?;
        let add = AccountAdd { role, ..AccountAdd::by_machine(username, password_hash) };
        Ok(self.inner.write(add).await?.map(|profile| profile.account()))
    }
}

impl Read for AccountsMe {
    type Answer = Profile;

    async fn read(inner: &Inner, caller: Caller, _params: Empty) -> Result<Profile, ErrorBody> {
        let found = inner.read(move |snapshot| snapshot.account(caller.account_id)).await?;
        found.map(|row| row.profile()).ok_or_else(|| refused(Refusal::NoSuchAccount))
    }
}

impl Change for AccountsUpdate {
    fn admit(visitor: &Visitor, caller: Caller) -> Result<(), ErrorBody> {
        visitor.profile_change(caller.account_id, Instant::now())
    }

    async fn change(
        inner: &Inner,
        caller: Caller,
        params: AccountsUpdateParams,
    ) -> Result<Committed<Profile>, ErrorBody> {
        inner.write(AccountRename { account_id: caller.account_id, display_name: params.display_name }).await
    }
}

impl Read for AccountsSearch {
    type Answer = AccountsSearchResult;

    async fn read(
        inner: &Inner,
        _caller: Caller,
        params: AccountsSearchParams,
    ) -> Result<AccountsSearchResult, ErrorBody> {
        let AccountsSearchParams { query, after, limit } = params;
        if query.chars().count() > limits::DISPLAY_NAME_CHARS_MAX {
            return Err(invalid(format!("query: at most {} characters", limits::DISPLAY_NAME_CHARS_MAX)));
        }
        let limit = page_limit(limit, limits::PAGE_LIMIT_DEFAULT, limits::PAGE_LIMIT_MAX)?;
        let page = inner.read(move |snapshot| snapshot.search_accounts(&query, after.as_ref(), limit)).await?;
        page.ok_or_else(|| invalid("after: no page of this list ended with it"))
    }
}

impl Read for AccountsGet {
    type Answer = Profile;

    async fn read(inner: &Inner, _caller: Caller, params: AccountsGetParams) -> Result<Profile, ErrorBody> {
        let found = match params {
            AccountsGetParams { account_id: Some(id), username: None } => {
                inner.read(move |snapshot| snapshot.account(id)).await?
            }
            AccountsGetParams { account_id: None, username: Some(name) } => {
                inner.read(move |snapshot| snapshot.account_by_name(&name)).await?
            }
            _ => return Err(invalid("account_id, username: one of them")),
        };
        found.map(|row| row.profile()).ok_or_else(|| refused(Refusal::NoSuchAccount))
    }
}

impl Change for AccountsCreate {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: AccountsCreateParams,
    ) -> Result<Committed<AccountWithPassword>, ErrorBody> {
        let AccountsCreateParams { username, display_name, role, password, keep_password } = params;
        check_role(role)?;
        inner.check_administrator(caller).await?;
        let (password_hash, made_up) = inner.hash_given_or_made_up(password).await?;
        let new = NewAccount { username, display_name, password_hash, must_change: !keep_password };
        let made = inner.write(AccountAdd { by: By::Account(caller.account_id), role, new }).await?;
        Ok(made.map(|account| AccountWithPassword { account, password: made_up }))
    }
}

impl Change for AccountsDisable {
    async fn change(inner: &Inner, caller: Caller, params: AccountParams) -> Result<Committed<Profile>, ErrorBody> {
        inner.write(AccountDisable { actor: caller.account_id, account_id: params.account_id }).await
    }
}

impl Change for AccountsEnable {
    async fn change(inner: &Inner, caller: Caller, params: AccountParams) -> Result<Committed<Profile>, ErrorBody> {
        inner.write(AccountEnable { actor: caller.account_id, account_id: params.account_id }).await
    }
}

impl Change for AccountsReset {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: AccountsResetParams,
    ) -> Result<Committed<AccountWithPassword>, ErrorBody> {
        let AccountsResetParams { account_id, password } = params;
        inner.check_administrator(caller).await?;
        let (password_hash, made_up) = inner.hash_given_or_made_up(password).await?;
        let reset = inner.write(AccountReset { actor: caller.account_id, account_id, password_hash }).await?;
        Ok(reset.map(|account| AccountWithPassword { account, password: made_up }))
    }
}

impl Change for AccountsRole {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: AccountsRoleParams,
    ) -> Result<Committed<Profile>, ErrorBody> {
        let AccountsRoleParams { account_id, role } = params;
        check_role(Some(role))?;
        inner.write(AccountRoleSet { actor: caller.account_id, account_id, role }).await
    }
}

impl Change for AccountsDepart {
    async fn change(inner: &Inner, caller: Caller, params: AccountParams) -> Result<Committed<Profile>, ErrorBody> {
        let (actor, account_id) = (caller.account_id, params.account_id);
        loop {
            let departed = inner.write(AccountDepart { actor, account_id }).await?;
            if departed.is_some() {
                return Ok(departed.map(|profile| profile.expect("it was just found")));
            }
        }
    }
}

impl Inner {
    /// Refuses who is no administrator before any work is done for them. The writer decides again.
    pub(super) async fn check_administrator(&self, caller: Caller) -> Result<(), ErrorBody> {
        let is_one = self.read(move |snapshot| snapshot.is_administrator(caller.account_id)).await?;
        if is_one { Ok(()) } else { Err(refused(Refusal::Forbidden)) }
    }

    /// The hash of a password, and the password itself where it was made up here.
    pub(super) async fn hash_given_or_made_up(
        &self,
        given: Option<Password>,
    ) -> Result<(String, Option<Password>), ErrorBody> {
        let made_up = if given.is_none() { Some(secret::password()) } else { None };
        let password = given.or_else(|| made_up.clone()).expect("one of the two is there");
        Ok((self.passwords.hash(password.0).await?, made_up))
    }
}

/// A role that this version does not know can't be given.
fn check_role(role: Option<AccountRole>) -> Result<(), ErrorBody> {
    match role {
        Some(AccountRole::Unknown) => Err(invalid("role: owner, administrator or member")),
        _ => Ok(()),
    }
}
