//! Devices: log-ins and their tokens.

use std::sync::Arc;

use posthouse_protocol::{Account, AccountId, DeviceId, TimestampMs};

use super::{Decision, Group, Refusal, Write};
use crate::store::authority;
use crate::store::device_index::{SignedOut, TokenHash, device_id};
use crate::store::record::decode_json;
use crate::store::rows::{DeviceRow, Row, RowKey, Unknown};

const HOUR_MS: u64 = 3_600_000;

/// Makes a device: a log-in.
pub struct DeviceAdd {
    /// Whose it is.
    pub account_id: AccountId,
    /// What the password was checked against: the log-in is void where it was changed meanwhile.
    pub password_hash: String,
    /// SHA-256 of its token; the token itself is never stored.
    pub token_hash: TokenHash,
    /// As the client names it.
    pub name: String,
}

impl Write for DeviceAdd {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let account = match group.account_with_password(self.account_id, &self.password_hash)? {
            Ok(row) => row.account,
            Err(refusal) => return Ok(Err(refusal)),
        };
        group.add_device(&account, self.token_hash, self.name);
        Ok(Ok(()))
    }
}

/// Notes when devices were used last; those that are signed out meanwhile are passed over.
pub struct DevicesUsed {
    /// Which, and in which hour of serving; at most [`DevicesUsed::LEN_MAX`].
    pub devices: Vec<(TokenHash, u64)>,
}

impl DevicesUsed {
    /// So many rows fit into a group of the log.
    pub const LEN_MAX: usize = 500;
}

impl Write for DevicesUsed {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let hour = group.state.serving.hours();
        for (token_hash, used_hour) in self.devices {
            let key = RowKey::device(&token_hash);
            let Some(found) = group.overlay.row(&key)? else { continue };
            let mut row: DeviceRow = decode_json("a device", &found)?;
            row.used = TimestampMs(group.now.0.saturating_sub(hour.saturating_sub(used_hour) * HOUR_MS));
            row.used_hour = used_hour;
            group.put(Row::json(key, &row));
        }
        Ok(Ok(()))
    }
}

/// Which devices of an account.
#[derive(Clone, Copy, Debug)]
pub enum Revoked {
    /// This one.
    One(DeviceId),
    /// All but this one.
    Others(DeviceId),
    /// All.
    All,
}

/// Signs devices out.
pub struct DevicesRevoke {
    /// Who does it.
    pub actor: AccountId,
    /// Whose they are.
    pub account_id: AccountId,
    /// Which.
    pub which: Revoked,
}

impl Write for DevicesRevoke {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        if self.actor != self.account_id
            && let Err(refusal) = authority::over_account(group.state, self.actor, self.account_id)
        {
            return Ok(Err(refusal));
        }
        let count = group.sign_out(self.account_id, self.which);
        let is_missing = count == 0 && matches!(self.which, Revoked::One(_));
        Ok(if is_missing { Err(Refusal::NoSuchDevice) } else { Ok(()) })
    }
}

impl Group<'_> {
    /// Adds a device; those that have to go for it are signed out.
    pub(super) fn add_device(&mut self, account: &Account, token_hash: TokenHash, name: String) {
        let gone = self.state.devices.to_make_room(account.account_id);
        self.drop_devices(account.account_id, &gone);
        let used_hour = self.state.serving.hours();
        let (created, used) = (self.now, self.now);
        let row = DeviceRow { account_id: account.account_id, name, created, used, used_hour, unknown: Unknown::new() };
        self.put(Row::json(RowKey::device(&token_hash), &row));
        self.state.devices.insert(token_hash, account, used_hour);
    }

    /// Makes the devices' tokens void; says how many there were.
    pub(super) fn sign_out(&mut self, account_id: AccountId, which: Revoked) -> usize {
        let mut gone = self.state.devices.of_account(account_id);
        gone.retain(|hash| match which {
            Revoked::One(id) => device_id(hash) == id,
            Revoked::Others(id) => device_id(hash) != id,
            Revoked::All => true,
        });
        self.drop_devices(account_id, &gone);
        gone.len()
    }

    fn drop_devices(&mut self, account_id: AccountId, gone: &[TokenHash]) {
        if gone.is_empty() {
            return;
        }
        for token_hash in gone {
            self.remove(RowKey::device(token_hash));
            self.state.devices.remove(token_hash);
        }
        let devices: Arc<[DeviceId]> = gone.iter().map(device_id).collect();
        self.signed_out.push(SignedOut { account_id, devices });
    }
}
