//! Invites.

use posthouse_protocol::{Account, AccountId, AccountRole, Invite, InviteId, limits};

use super::{Decision, Group, NewAccount, Refusal, Write};
use crate::store::authority;
use crate::store::device_index::{TokenHash, device_id};
use crate::store::rows::{InviteRow, Row, RowKey, Unknown};

/// Makes an invite.
pub struct InviteAdd {
    /// Who makes it.
    pub actor: AccountId,
    /// SHA-256 of its code; the code itself is never stored.
    pub code_hash: TokenHash,
    /// How long it can be used, in seconds of serving.
    pub life_s: u64,
    /// How many accounts it can make.
    pub uses: u32,
}

impl Write for InviteAdd {
    type Output = Invite;

    fn decide(self, group: &mut Group<'_>) -> Decision<Invite> {
        if let Err(refusal) = authority::as_administrator(group.state.standings.get(&self.actor).copied()) {
            return Ok(Err(refusal));
        }
        let now_s = group.state.serving.seconds();
        let open = group.state.invites.values().filter(|invite| invite.expires_s > now_s).count();
        if open >= limits::INVITES_MAX {
            return Ok(Err(Refusal::TooManyInvites));
        }
        let Some(maker) = group.state.accounts.get(&self.actor).cloned() else {
            return Ok(Err(Refusal::NoSuchAccount));
        };
        group.drop_invites(|invite| invite.expires_s <= now_s);
        let row = InviteRow {
            created_by: self.actor,
            created: group.now,
            expires_s: now_s.saturating_add(self.life_s),
            uses_left: self.uses,
            unknown: Unknown::new(),
        };
        let invite = row.invite(&self.code_hash, maker, now_s);
        group.put_invite(self.code_hash, row);
        Ok(Ok(invite))
    }
}

/// Makes an invite void.
pub struct InviteRevoke {
    /// Who does it.
    pub actor: AccountId,
    /// Which.
    pub invite_id: InviteId,
}

impl Write for InviteRevoke {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        if let Err(refusal) = authority::as_administrator(group.state.standings.get(&self.actor).copied()) {
            return Ok(Err(refusal));
        }
        let code_hash = group.state.invites.keys().find(|code_hash| invite_id(code_hash) == self.invite_id).copied();
        let Some(code_hash) = code_hash else { return Ok(Err(Refusal::NoSuchInvite)) };
        group.remove(RowKey::invite(&code_hash));
        group.state.invites.remove(&code_hash);
        Ok(Ok(()))
    }
}

/// Makes an account with an invite, and its first device.
pub struct InviteAccept {
    /// SHA-256 of the code.
    pub code_hash: TokenHash,
    /// The account.
    pub new: NewAccount,
    /// SHA-256 of the device's token.
    pub token_hash: TokenHash,
    /// As the client names the device.
    pub device_name: String,
}

impl Write for InviteAccept {
    type Output = Account;

    fn decide(self, group: &mut Group<'_>) -> Decision<Account> {
        let now_s = group.state.serving.seconds();
        let invite = group.state.invites.get(&self.code_hash).filter(|invite| invite.is_open(now_s));
        let Some(mut invite) = invite.cloned() else { return Ok(Err(Refusal::InviteInvalid)) };
        if group.state.is_taken(&self.new.username) {
            return Ok(Err(Refusal::UsernameTaken));
        }
        let account = group.create_account(self.new, AccountRole::Member)?.account();
        group.add_device(&account, self.token_hash, self.device_name);
        invite.uses_left -= 1;
        if invite.uses_left > 0 {
            group.put_invite(self.code_hash, invite);
        } else {
            group.remove(RowKey::invite(&self.code_hash));
            group.state.invites.remove(&self.code_hash);
        }
        Ok(Ok(account))
    }
}

impl InviteRow {
    /// Whether it can be used.
    pub fn is_open(&self, now_s: u64) -> bool {
        self.expires_s > now_s && self.uses_left > 0
    }

    /// As administrators see it.
    pub fn invite(&self, code_hash: &TokenHash, created_by: Account, now_s: u64) -> Invite {
        let expires_in_s = self.expires_s.saturating_sub(now_s);
        let (invite_id, created, uses_left) = (invite_id(code_hash), self.created, self.uses_left);
        Invite { invite_id, created_by, created, expires_in_s, uses_left }
    }
}

/// An invite's public number, made as a device's is.
pub(in crate::store) fn invite_id(code_hash: &TokenHash) -> InviteId {
    InviteId(device_id(code_hash).0)
}

impl Group<'_> {
    fn put_invite(&mut self, code_hash: TokenHash, row: InviteRow) {
        self.put(Row::json(RowKey::invite(&code_hash), &row));
        self.state.invites.insert(code_hash, row);
    }

    /// Whom a departed person invited was invited by nobody.
    pub(super) fn revoke_invites_of(&mut self, account_id: AccountId) {
        self.drop_invites(|invite| invite.created_by == account_id);
    }

    fn drop_invites(&mut self, is_gone: impl Fn(&InviteRow) -> bool) {
        let gone = self.state.invites.iter().filter(|(_, invite)| is_gone(invite));
        let gone: Vec<TokenHash> = gone.map(|(code_hash, _)| *code_hash).collect();
        for code_hash in gone {
            self.remove(RowKey::invite(&code_hash));
            self.state.invites.remove(&code_hash);
        }
    }
}
