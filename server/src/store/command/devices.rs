//! Devices: log-ins and their tokens.

use posthouse_protocol::AccountId;

use super::{Decision, Group, Refusal, Write};
use crate::store::rows::{DeviceRow, Row, RowKey};

/// Makes a device: a log-in.
pub struct DeviceAdd {
    /// Whose it is.
    pub account_id: AccountId,
    /// SHA-256 of its token; the token itself is never stored.
    pub token_hash: [u8; 32],
    /// As the client names it.
    pub name: String,
}

impl Write for DeviceAdd {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        if !group.state.accounts.contains_key(&self.account_id) {
            return Ok(Err(Refusal::NoSuchAccount));
        }
        let row = DeviceRow { account_id: self.account_id, name: self.name, created: group.now };
        group.put(Row::json(RowKey::device(&self.token_hash), &row));
        Ok(Ok(()))
    }
}
