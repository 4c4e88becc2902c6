//! Logging in, connecting, catching up.

use posthouse_protocol::{
    Connect, ConnectParams, ConnectResult, Empty, Epoch, ErrorBody, ErrorCode, LimitsInfo, Login, LoginParams,
    LoginResult, Ping, Resume, SessionId, Sync, SyncParams, SyncResult, Token, limits,
};

use super::call::{Answer, Caller, Open, Outcome, Read, Wire};
use super::{Inner, Router, invalid, page_limit, probe, refused, secret, store_failed};
use crate::admission::Visitor;
use crate::store::{
    self, AccountRow, Committed, DeviceAdd, DevicesRevoke, FoundDevice, Refusal, Revoked, cursor, gseq,
};

impl Open for Ping {
    async fn open(_inner: &Inner, _wire: Wire, _params: Empty) -> Outcome {
        Ok(Answer::read(Empty {}))
    }
}

impl Open for Login {
    async fn open(inner: &Inner, wire: Wire, params: LoginParams) -> Outcome {
        wire.check(probe::is_its_name(&params.username))?;
        Ok(Answer::committed(inner.log_in(&wire.visitor, params).await?))
    }
}

impl Router {
    /// What `login` does, for a browser's page.
    ///
    /// # Errors
    /// As those of `login`.
    pub async fn log_in(&self, visitor: &Visitor, params: LoginParams) -> Result<Committed<LoginResult>, ErrorBody> {
        self.inner.log_in(visitor, params).await
    }

    /// Signs the device out that has this token, if there is one.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn sign_out(&self, token: &Token) -> Result<(), ErrorBody> {
        let found = self.inner.store.devices().find(&secret::token_hash(token));
        let Some(FoundDevice { account, device_id, .. }) = found else { return Ok(()) };
        let (actor, account_id) = (account.account_id, account.account_id);
        let revoke = DevicesRevoke { actor, account_id, which: Revoked::One(device_id) };
        match self.inner.store.write(revoke).await.map_err(|error| store_failed(&error))? {
            // Another request may have been quicker.
            Ok(_) | Err(Refusal::NoSuchDevice) => Ok(()),
            Err(refusal) => Err(refused(refusal)),
        }
    }
}

impl Inner {
    async fn log_in(&self, visitor: &Visitor, params: LoginParams) -> Result<Committed<LoginResult>, ErrorBody> {
        let LoginParams { username, password, device } = params;
        check_device_name(&device)?;
        let AccountRow { account, password_hash, must_change, .. } =
            self.check_password(visitor, &username, password).await?;
        if must_change {
            let message = "this password was only for the first log-in: change it with password.change";
            return Err(ErrorBody::new(ErrorCode::PasswordChangeRequired, message));
        }
        let token = secret::token();
        let (account_id, token_hash) = (account.account_id, secret::token_hash(&token));
        let made = self.write(DeviceAdd { account_id, password_hash, token_hash, name: device }).await?;
        visitor.served();
        Ok(made.map(|()| LoginResult { token, account }))
    }
}

/// Whether a device may call itself that.
pub(super) fn check_device_name(name: &str) -> Result<(), ErrorBody> {
    if name.is_empty() || name.chars().count() > limits::DEVICE_NAME_CHARS_MAX {
        return Err(invalid(format!("device: 1 to {} characters", limits::DEVICE_NAME_CHARS_MAX)));
    }
    Ok(())
}

impl Open for Connect {
    async fn open(inner: &Inner, wire: Wire, params: ConnectParams) -> Outcome {
        let ConnectParams { token, resume } = params;
        let invalid_token = || ErrorBody::new(ErrorCode::TokenInvalid, "log in again");
        let token = token.or(wire.cookie.clone()).ok_or_else(invalid_token)?;
        let token_hash = secret::token_hash(&token);
        let FoundDevice { account, device_id } = inner.store.devices().find(&token_hash).ok_or_else(invalid_token)?;
        let is_probe = account.account_id == store::probe::ACCOUNT;
        if is_probe && !inner.may_be_probe(&wire.visitor) {
            return Err(invalid_token());
        }
        wire.check(is_probe)?;
        // Events come from right behind this record on; whoever syncs up to it sees everything once.
        let last = inner.registry.add(account.account_id, device_id, wire.origin, wire.outbox);
        // Who signs a device out makes its token void first and closes its connections then: either this second look
        // sees the one, or the other finds this connection.
        if inner.store.devices().find(&token_hash).is_none() {
            inner.registry.remove(wire.origin);
            return Err(invalid_token());
        }
        let floor = inner.store.floor();
        let epoch = inner.store.epoch();
        let caller = Caller { account_id: account.account_id, origin: wire.origin };
        let resume = resume.or(wire.resume).filter(|resume| is_held(resume, epoch, floor, last));
        let result = ConnectResult {
            session_id: SessionId(wire.origin.0),
            account,
            epoch,
            cursor: cursor(last),
            resumed: resume.is_some(),
            ping_interval_s: limits::PING_INTERVAL_S,
            limits: LimitsInfo::CURRENT,
        };
        let caught_up = resume.and_then(|resume| gseq(&resume.cursor));
        Ok(Answer::connected(result, caller, last).with_caught_up(caught_up))
    }
}

/// Whether `sync` can go on from there: it is a place in this database, and what follows is still kept.
fn is_held(resume: &Resume, epoch: Epoch, floor: u64, last: u64) -> bool {
    resume.epoch == epoch && gseq(&resume.cursor).is_some_and(|known| (floor..=last).contains(&known))
}

impl Read for Sync {
    type Answer = SyncResult;

    /// Who asks for what lies behind a cursor has what lies before.
    fn caught_up(params: &SyncParams) -> Option<u64> {
        gseq(&params.cursor)
    }

    async fn read(inner: &Inner, caller: Caller, params: SyncParams) -> Result<SyncResult, ErrorBody> {
        let limit = page_limit(params.limit, limits::SYNC_LIMIT_DEFAULT, limits::SYNC_LIMIT_MAX)?;
        let unknown = || invalid("cursor: this server gave no such cursor in this epoch");
        let after = gseq(&params.cursor).ok_or_else(unknown)?;
        let until = params.until.map_or(Ok(u64::MAX), |until| gseq(&until).ok_or_else(unknown))?;
        let page = inner.read(move |snapshot| {
            let floor = snapshot.floor()?;
            if after > snapshot.last_gseq()? {
                return Ok(Err(unknown()));
            }
            if after > 0 && after < floor {
                let message = "what lies behind this cursor is no longer kept: begin again with \"0\"";
                return Ok(Err(ErrorBody::new(ErrorCode::CursorExpired, message)));
            }
            Ok(Ok(snapshot.sync(caller.account_id, (after.max(floor), until), limit)?))
        });
        let page = page.await??;
        Ok(SyncResult { events: page.events, next_cursor: cursor(page.next), has_more: page.has_more })
    }
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::{AccountId, Cursor, RequestHead};
    use redb::{Builder, TableDefinition};

    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::admission::{Admission, Allowance};
    use crate::router::{Access, Router, method, outbox};
    use crate::store::{Origin, Store, StoreParts};

    /// A store of which everything up to a record is no longer kept.
    async fn with_floor(folder: &std::path::Path, floor: u64) -> StoreParts {
        let StoreParts { store, ended, .. } = Store::open(folder).expect("opens");
        store.stop().await;
        ended.await.expect("told").expect("a clean end");
        drop(store);
        let database = Builder::new().open(folder.join(crate::store::FILE_NAME)).expect("opens");
        let txn = database.begin_write().expect("a transaction");
        let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
        txn.open_table(meta).expect("the table").insert("floor", floor).expect("written");
        txn.commit().expect("committed");
        drop(database);
        Store::open(folder).expect("opens again")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_lies_behind_a_cursor_below_the_floor_is_refused_instead_of_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let StoreParts { store, last_gseq, .. } = with_floor(folder.path(), 5).await;
        assert_eq!(last_gseq, 5, "no number is used twice");
        let router = Router::new(store, 7);
        let caller = Caller { account_id: AccountId(1), origin: Origin(1) };
        let admission = Admission::new(Allowance::for_this_machine());
        let visitor = Arc::new(admission.enter([127, 0, 0, 1].into(), Instant::now()).expect("a place"));
        let wire =
            Wire { origin: Origin(1), visitor, resume: None, cookie: None, closed_to_others: None, outbox: outbox().0 };
        for (cursor, code) in [("4", ErrorCode::CursorExpired), ("8", ErrorCode::InvalidParams)] {
            let frame = format!(r#"{{"id":1,"method":"sync","params":{{"cursor":"{cursor}"}}}}"#);
            let head = RequestHead::parse(&frame).expect("a request");
            let Some(Access::Connected(call)) = method("sync").map(|entry| &entry.access) else {
                panic!("sync needs a session");
            };
            let call = call(&head, caller).expect("the parameters are good");
            let error = router.begin(&wire, call).await.await.expect_err("refused");
            assert_eq!(error.code, code, "{cursor}");
        }
        let resume = |known: &str| Resume { epoch: router.inner.store.epoch(), cursor: Cursor(known.to_owned()) };
        for (known, holds) in [("4", false), ("5", true), ("7", true), ("8", false)] {
            assert_eq!(is_held(&resume(known), router.inner.store.epoch(), 5, 7), holds, "{known}");
        }
    }
}
