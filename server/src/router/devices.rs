//! Devices: listing them, signing them out; passwords.

use std::time::Instant;

use posthouse_protocol::{
    AccountId, AccountParams, AccountStatus, AccountsDevices, AccountsSignOut, DevicesList, DevicesListResult,
    DevicesRevoke, DevicesRevokeParams, Empty, ErrorBody, ErrorCode, Logout, PasswordChange, PasswordChangeParams,
    Username,
};

use super::call::{Answer, Caller, Change, Open, Outcome, Read, Wire};
use super::{Inner, invalid, refused};
use crate::store::{self, Committed, PasswordSet, Refusal, Revoked};

impl Read for DevicesList {
    type Answer = DevicesListResult;

    async fn read(inner: &Inner, caller: Caller, _params: Empty) -> Result<DevicesListResult, ErrorBody> {
        let current = inner.registry.device(caller.origin);
        let mut list = inner.devices(caller.account_id).await?;
        for device in &mut list.devices {
            device.is_current = Some(device.device_id) == current;
        }
        Ok(list)
    }
}

impl Change for DevicesRevoke {
    async fn change(inner: &Inner, caller: Caller, params: DevicesRevokeParams) -> Result<Committed<Empty>, ErrorBody> {
        let which = match params {
            DevicesRevokeParams { device_id: Some(id), others: false } => Revoked::One(id),
            DevicesRevokeParams { device_id: None, others: true } => {
                Revoked::Others(inner.registry.device(caller.origin).ok_or_else(|| refused(Refusal::NoSuchDevice))?)
            }
            _ => return Err(invalid("device_id, others: one of them")),
        };
        inner.revoke(caller, caller.account_id, which).await
    }
}

impl Change for Logout {
    async fn change(inner: &Inner, caller: Caller, _params: Empty) -> Result<Committed<Empty>, ErrorBody> {
        let device = inner.registry.device(caller.origin).ok_or_else(|| refused(Refusal::NoSuchDevice))?;
        inner.revoke(caller, caller.account_id, Revoked::One(device)).await
    }
}

impl Read for AccountsDevices {
    type Answer = DevicesListResult;

    async fn read(inner: &Inner, caller: Caller, params: AccountParams) -> Result<DevicesListResult, ErrorBody> {
        let account_id = params.account_id;
        inner.check_administrator(caller).await?;
        let may = inner.read(move |snapshot| snapshot.may_act_on(caller.account_id, account_id)).await?;
        match may {
            Some(true) => inner.devices(account_id).await,
            Some(false) => Err(refused(Refusal::Forbidden)),
            None => Err(refused(Refusal::NoSuchAccount)),
        }
    }
}

impl Change for AccountsSignOut {
    async fn change(inner: &Inner, caller: Caller, params: AccountParams) -> Result<Committed<Empty>, ErrorBody> {
        inner.check_administrator(caller).await?;
        inner.revoke(caller, params.account_id, Revoked::All).await
    }
}

impl Open for PasswordChange {
    async fn open(inner: &Inner, wire: Wire, params: PasswordChangeParams) -> Outcome {
        let PasswordChangeParams { username, password, new_password } = params;
        if password == new_password {
            return Err(invalid("new_password: another one than before"));
        }
        let account = inner.check_password(&wire, &username, password.0).await?;
        let password_hash = inner.passwords.hash(new_password.0).await?;
        let old_hash = account.password_hash;
        let set = inner.write(PasswordSet { account_id: account.account.account_id, old_hash, password_hash }).await?;
        Ok(Answer::committed(set.map(|()| Empty {})))
    }
}

impl Inner {
    async fn devices(&self, account_id: AccountId) -> Result<DevicesListResult, ErrorBody> {
        let hashes = self.store.devices().of_account(account_id);
        let devices = self.read(move |snapshot| snapshot.devices(account_id, &hashes)).await?;
        Ok(DevicesListResult { devices })
    }

    async fn revoke(
        &self,
        caller: Caller,
        account_id: AccountId,
        which: Revoked,
    ) -> Result<Committed<Empty>, ErrorBody> {
        let revoke = store::DevicesRevoke { actor: caller.account_id, account_id, which };
        Ok(self.write(revoke).await?.map(|()| Empty {}))
    }

    /// The account, where the password is right and somebody may log in. An unknown name gets the same answer as a
    /// wrong password, after the same work.
    pub(super) async fn check_password(
        &self,
        wire: &Wire,
        username: &Username,
        password: String,
    ) -> Result<store::AccountRow, ErrorBody> {
        wire.visitor.may_log_in(username, Instant::now())?;
        let name = username.clone();
        let found = self.read(move |snapshot| snapshot.account_by_name(&name)).await?;
        // Who has departed has no password any more.
        let stored = found.as_ref().map(|row| row.password_hash.clone()).filter(|hash| !hash.is_empty());
        let matches = self.passwords.verify(password, stored).await?;
        let Some(account) = found.filter(|_| matches) else {
            wire.visitor.login_failed(username, Instant::now());
            return Err(ErrorBody::new(ErrorCode::LoginFailed, "user name and password don't match"));
        };
        if account.status == AccountStatus::Active { Ok(account) } else { Err(refused(Refusal::AccountDisabled)) }
    }
}
