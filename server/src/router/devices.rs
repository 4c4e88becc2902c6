//! Devices: listing them, signing them out; passwords.

use std::time::{Duration, Instant};

use posthouse_protocol::{
    AccountId, AccountParams, AccountStatus, AccountsDevices, AccountsSignOut, DevicesList, DevicesListResult,
    DevicesRevoke, DevicesRevokeParams, Empty, ErrorBody, ErrorCode, Logout, PasswordChange, PasswordChangeParams,
    Profile, Token, Username,
};

use super::call::{Answer, Caller, Change, Open, Outcome, Read, Wire};
use super::{Inner, Router, invalid, probe, refused, secret, store_failed};
use crate::admission::Visitor;
use crate::store::{self, Committed, DevicesUsed, PasswordSet, Refusal, Revoked, StoreError};

/// So often it is looked which devices are in use: often enough that a run of the server too short for it is no rule.
const USES_NOTED_EVERY: Duration = Duration::from_secs(600);

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
        wire.check(false)?;
        if password == new_password {
            return Err(invalid("new_password: another one than before"));
        }
        let account = inner.check_password(&wire.visitor, &username, password.0).await?;
        if probe::is_its_name(&username) {
            return Err(refused(Refusal::Forbidden));
        }
        let password_hash = inner.passwords.hash(new_password.0).await?;
        let old_hash = account.password_hash;
        let set = inner.write(PasswordSet { account_id: account.account.account_id, old_hash, password_hash }).await?;
        Ok(Answer::committed(set.map(|()| Empty {})))
    }
}

impl Router {
    /// Whose device has this token, for edges that have no session.
    ///
    /// # Errors
    /// `token_invalid`, or `account_disabled`.
    pub async fn device_owner(&self, token: &Token) -> Result<Profile, ErrorBody> {
        let invalid = || ErrorBody::new(ErrorCode::TokenInvalid, "this token is not valid: log in again");
        let found = self.inner.store.devices().find(&secret::token_hash(token)).ok_or_else(invalid)?;
        let row = self.inner.read(move |snapshot| snapshot.account(found.account.account_id)).await?;
        let profile = row.ok_or_else(invalid)?.profile();
        if profile.status == AccountStatus::Active { Ok(profile) } else { Err(refused(Refusal::AccountDisabled)) }
    }

    /// Notes which devices are in use, until the store ends: one that stays connected must not expire, and no connection
    /// costs a write of its own.
    pub async fn note_uses(self) {
        loop {
            tokio::time::sleep(USES_NOTED_EVERY).await;
            if let Err(error) = self.inner.note_uses().await {
                // That the store has stopped is no failure.
                if !matches!(error, StoreError::Stopped) {
                    store_failed(&error);
                }
                return;
            }
        }
    }
}

impl Inner {
    async fn note_uses(&self) -> Result<(), StoreError> {
        let devices = self.store.devices();
        devices.note_use(self.registry.sessions());
        for some in devices.unwritten_uses().chunks(DevicesUsed::LEN_MAX) {
            // It is refused to nobody.
            let _ = self.store.write(DevicesUsed { devices: some.to_vec() }).await?;
        }
        Ok(())
    }

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
    /// wrong password, after the same work. The probe's is one, unless it is the probe; nobody can wear its tries out.
    pub(super) async fn check_password(
        &self,
        visitor: &Visitor,
        username: &Username,
        password: String,
    ) -> Result<store::AccountRow, ErrorBody> {
        let may_be_probe = probe::is_its_name(username) && self.may_be_probe(visitor);
        let found = if may_be_probe {
            self.read(store::Snapshot::probe).await?
        } else {
            visitor.may_log_in(username, Instant::now())?;
            let name = username.clone();
            self.read(move |snapshot| snapshot.account_by_name(&name)).await?
        };
        // Who has departed has no password any more.
        let stored = found.as_ref().map(|row| row.password_hash.clone()).filter(|hash| !hash.is_empty());
        let matches = self.passwords.verify(password, stored).await?;
        let Some(account) = found.filter(|_| matches) else {
            visitor.login_failed(username, Instant::now());
            return Err(ErrorBody::new(ErrorCode::LoginFailed, "user name and password don't match"));
        };
        if account.status.value() == AccountStatus::Active {
            Ok(account)
        } else {
            Err(refused(Refusal::AccountDisabled))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::Ordering;

    use posthouse_protocol::DeviceId;
    use redb::{Builder, TableDefinition};

    use super::*;
    use crate::admission::{Admission, Allowance};
    use crate::router::outbox;
    use crate::store::{AccountAdd, AccountDepart, DeviceAdd, FoundDevice, Origin, Store, StoreParts};

    const TOKENS: [store::TokenHash; 3] = [[1; 32], [2; 32], [3; 32]];

    /// The store, after servers have run for so many days.
    fn after(folder: &Path, days: u64) -> StoreParts {
        let database = Builder::new().open(folder.join(store::FILE_NAME)).expect("opens");
        let txn = database.begin_write().expect("a transaction");
        let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
        txn.open_table(meta).expect("the table").insert("served_ms", days * 86_400_000).expect("written");
        txn.commit().expect("committed");
        drop(database);
        Store::open(folder).expect("opens again")
    }

    async fn stop(store: Store, ended: tokio::sync::oneshot::Receiver<Result<(), StoreError>>) {
        store.stop().await;
        drop(store);
        ended.await.expect("told").expect("a clean end");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_device_that_was_connected_until_now_does_not_expire() {
        let folder = tempfile::tempdir().expect("a folder");
        let StoreParts { store, ended, .. } = Store::open(folder.path()).expect("opens");
        let username = Username::new("anna").expect("a name");
        let anna = store.write(AccountAdd::by_machine(username, "hash".to_owned())).await.expect("stored");
        let account_id = anna.expect("made").account_id;
        for token_hash in TOKENS {
            let (password_hash, name) = ("hash".to_owned(), "a device".to_owned());
            let add = DeviceAdd { account_id, password_hash, token_hash, name };
            store.write(add).await.expect("stored").expect("made");
        }
        stop(store, ended).await;

        // Two of them connect on the 80th day; one goes again.
        let StoreParts { store, ended, last_gseq, .. } = after(folder.path(), 80);
        let router = Router::new(store.clone(), last_gseq);
        for (number, token_hash) in (1..).zip(&TOKENS[..2]) {
            let FoundDevice { device_id, .. } = store.devices().find(token_hash).expect("it is valid");
            router.inner.registry.add(account_id, device_id, Origin(number), outbox().0);
        }
        router.disconnect(Origin(2));
        router.inner.note_uses().await.expect("written");
        stop(store, ended).await;
        drop(router);

        // The other one stays for another 80 days.
        let StoreParts { store, ended, last_gseq, .. } = after(folder.path(), 160);
        assert!(store.devices().find(&TOKENS[2]).is_none(), "it was never used");
        let router = Router::new(store.clone(), last_gseq);
        let device_id = DeviceId(u64::from_be_bytes([1; 8]) >> 11);
        router.inner.registry.add(account_id, device_id, Origin(1), outbox().0);
        router.inner.note_uses().await.expect("written");
        stop(store, ended).await;
        drop(router);
        let StoreParts { store, .. } = after(folder.path(), 240);
        assert!(store.devices().find(&TOKENS[0]).is_some(), "it was there all the time");
        assert!(store.devices().find(&TOKENS[1]).is_none(), "it has not come for 160 days");
    }

    #[tokio::test]
    async fn an_unknown_name_costs_the_same_work_and_gets_the_same_answer_as_a_wrong_password() {
        let folder = tempfile::tempdir().expect("a folder");
        let StoreParts { store, last_gseq, .. } = Store::open(folder.path()).expect("opens");
        let router = Router::new(store.clone(), last_gseq);
        let name = |name: &str| Username::new(name).expect("a name");
        for known in ["anna", "gone"] {
            router.add_account(name(known), "correct horse".to_owned(), None).await.expect("made");
        }
        let depart = AccountDepart { actor: AccountId(1), account_id: AccountId(2) };
        store.write(depart).await.expect("stored").expect("not refused");
        let admission = Admission::new(Allowance::for_this_machine());
        let visitor = admission.enter([127, 0, 0, 1].into(), Instant::now()).expect("a place");
        let inner = &router.inner;
        let mut answers = Vec::new();
        for (asked, password) in [("anna", "wrong horse"), ("nobody", "wrong horse"), ("gone", "correct horse")] {
            let before = inner.passwords.verified.load(Ordering::Relaxed);
            let refused = inner.check_password(&visitor, &name(asked), password.to_owned()).await;
            answers.push(refused.expect_err("no log-in"));
            assert_eq!(inner.passwords.verified.load(Ordering::Relaxed), before + 1, "{asked}");
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(answers[0].code, ErrorCode::LoginFailed);
    }
}
