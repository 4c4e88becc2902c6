//! The probe of a release that is on trial: who may log in under its name.

use posthouse_protocol::{AccountRole, AccountStatus, HistoryAccess};

use super::devices::Revoked;
use super::{Decision, Group, Write};
use crate::store::membership::MembershipRow;
use crate::store::probe::{self, ACCOUNT, CONVERSATION};
use crate::store::rows::{AccountRow, Row, RowKey, Unknown};
use crate::store::sight::Sight;

/// Gives the probe's account the password of this start, or none: then nobody logs in. Whoever is logged in under its name is
/// signed out. Where it was never used, and is not to be, it changes nothing.
pub struct ProbeAdmit {
    /// PHC string.
    pub password_hash: Option<String>,
}

impl Write for ProbeAdmit {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        group.sign_out(ACCOUNT, Revoked::All);
        let stored = group.account_row(ACCOUNT)?;
        let password_hash = match (&stored, self.password_hash) {
            (_, Some(hash)) => hash,
            (Some(row), None) if !row.password_hash.is_empty() => String::new(),
            _ => return Ok(Ok(())),
        };
        let new = || AccountRow {
            account: probe::account(),
            display_name: None,
            role: AccountRole::Member.into(),
            status: AccountStatus::Active.into(),
            password_hash: String::new(),
            must_change: false,
            created: group.now,
            unknown: Unknown::new(),
        };
        let row = AccountRow { password_hash, ..stored.unwrap_or_else(new) };
        group.put(Row::json(RowKey::account(ACCOUNT), &row));
        if !group.state.conversations.contains_key(&CONVERSATION) {
            let gseq = group.next_gseq();
            let mut membership = MembershipRow::never();
            membership.enter(HistoryAccess::FromJoining, gseq, group.now);
            group.put(Row::json(RowKey::membership(ACCOUNT, CONVERSATION), &membership));
            let mut sight = Sight::default();
            sight.enter(ACCOUNT, &membership);
            group.state.open_probe_conversation([ACCOUNT].into(), sight);
        }
        Ok(Ok(()))
    }
}
