//! Invites.

use posthouse_protocol::{
    Empty, ErrorBody, InvitesAccept, InvitesAcceptParams, InvitesCreate, InvitesCreateParams, InvitesCreateResult,
    InvitesList, InvitesListParams, InvitesListResult, InvitesRevoke, InvitesRevokeParams, LoginResult, limits,
};

use super::call::{Answer, Caller, Change, Open, Outcome, Read, Wire};
use super::session::check_device_name;
use super::{Inner, invalid, page_limit, refused, secret};
use crate::store::{Committed, InviteAccept, InviteAdd, InviteRevoke, NewAccount, Refusal};

impl Change for InvitesCreate {
    async fn change(
        inner: &Inner,
        caller: Caller,
        params: InvitesCreateParams,
    ) -> Result<Committed<InvitesCreateResult>, ErrorBody> {
        let life_s = params.expires_in_s.unwrap_or(limits::INVITE_LIFE_S_DEFAULT);
        if !(1..=limits::INVITE_LIFE_S_MAX).contains(&life_s) {
            return Err(invalid(format!("expires_in_s: 1 to {}", limits::INVITE_LIFE_S_MAX)));
        }
        let uses = params.uses.unwrap_or(1);
        if !(1..=limits::INVITE_USES_MAX).contains(&uses) {
            return Err(invalid(format!("uses: 1 to {}", limits::INVITE_USES_MAX)));
        }
        let code = secret::invite_code();
        let add = InviteAdd { actor: caller.account_id, code_hash: secret::code_hash(&code), life_s, uses };
        Ok(inner.write(add).await?.map(|invite| InvitesCreateResult { code, invite }))
    }
}

impl Read for InvitesList {
    type Answer = InvitesListResult;

    async fn read(inner: &Inner, caller: Caller, params: InvitesListParams) -> Result<InvitesListResult, ErrorBody> {
        let InvitesListParams { after, limit } = params;
        let limit = page_limit(limit, limits::PAGE_LIMIT_DEFAULT, limits::PAGE_LIMIT_MAX)?;
        inner.check_administrator(caller).await?;
        let now_s = inner.store.served_s();
        let page = inner.read(move |snapshot| snapshot.invites(after.as_ref(), limit, now_s)).await?;
        page.ok_or_else(|| invalid("after: no page of this list ended with it"))
    }
}

impl Change for InvitesRevoke {
    async fn change(inner: &Inner, caller: Caller, params: InvitesRevokeParams) -> Result<Committed<Empty>, ErrorBody> {
        let revoke = InviteRevoke { actor: caller.account_id, invite_id: params.invite_id };
        Ok(inner.write(revoke).await?.map(|()| Empty {}))
    }
}

impl Open for InvitesAccept {
    async fn open(inner: &Inner, wire: Wire, params: InvitesAcceptParams) -> Outcome {
        let InvitesAcceptParams { code, username, display_name, password, device } = params;
        wire.check(false)?;
        check_device_name(&device)?;
        let (code_hash, now_s) = (secret::code_hash(&code), inner.store.served_s());
        let name = username.clone();
        // A guessed code costs no password hash.
        let (is_open, is_taken) = inner
            .read(move |snapshot| {
                Ok((snapshot.is_invite_open(&code_hash, now_s)?, snapshot.account_by_name(&name)?.is_some()))
            })
            .await?;
        if !is_open {
            return Err(refused(Refusal::InviteInvalid));
        }
        if is_taken {
            return Err(refused(Refusal::UsernameTaken));
        }
        let password_hash = inner.passwords.hash(password.0).await?;
        let token = secret::token();
        let new = NewAccount { username, display_name, password_hash, must_change: false };
        let accept = InviteAccept { code_hash, new, token_hash: secret::token_hash(&token), device_name: device };
        let made = inner.write(accept).await?;
        wire.visitor.served();
        Ok(Answer::committed(made.map(|account| LoginResult { token, account })))
    }
}
