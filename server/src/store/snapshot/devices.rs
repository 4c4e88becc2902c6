//! Devices and invites.

use posthouse_protocol::{AccountId, Device, InvitesListResult, PageToken};

use super::{Page, Snapshot};
use crate::store::device_index::{TokenHash, device_id};
use crate::store::record::{decode_json, encode_json};
use crate::store::rows::{DeviceRow, InviteRow, RowKey, RowTable, token_hash_of};
use crate::store::tables::{each_row, row};
use crate::store::{StoreError, command};

impl Snapshot {
    /// These devices of the account, as far as they are there.
    pub fn devices(&self, account_id: AccountId, hashes: &[TokenHash]) -> Result<Vec<Device>, StoreError> {
        let mut devices = Vec::with_capacity(hashes.len());
        for hash in hashes {
            let Some(found) = row(&self.txn, &RowKey::device(hash))? else { continue };
            let found: DeviceRow = decode_json("a device", &found)?;
            if found.account_id == account_id {
                let DeviceRow { name, created, used: last_used, .. } = found;
                devices.push(Device { device_id: device_id(hash), name, created, last_used, is_current: false });
            }
        }
        devices.sort_by_key(|device| device.created);
        Ok(devices)
    }

    /// The invite with this code, if it can be used.
    pub fn is_invite_open(&self, code_hash: &TokenHash, now_s: u64) -> Result<bool, StoreError> {
        let Some(found) = row(&self.txn, &RowKey::invite(code_hash))? else { return Ok(false) };
        let found: InviteRow = decode_json("an invite", &found)?;
        Ok(found.is_open(now_s))
    }

    /// A page of the invites that can be used; `None` for a token that this server never gave.
    pub fn invites(
        &self,
        after: Option<&PageToken>,
        limit: u32,
        now_s: u64,
    ) -> Result<Option<InvitesListResult>, StoreError> {
        let after: Option<u64> = match after.map(|token| token.0.parse()) {
            Some(Ok(after)) => Some(after),
            Some(Err(_)) => return Ok(None),
            None => None,
        };
        let (mut page, mut next, mut last) = (Page::new(limit), None, None);
        each_row(&self.txn, RowTable::Invite, b"", |key, value| {
            let (code_hash, found): (_, InviteRow) = (token_hash_of(key)?, decode_json("an invite", value)?);
            // By the same bits as the keys: in their order.
            let number = command::invite_id(&code_hash).0;
            if next.is_some() || after.is_some_and(|after| number <= after) || !found.is_open(now_s) {
                return Ok(());
            }
            let Some(maker) = self.account(found.created_by)? else { return Ok(()) };
            let invite = found.invite(&code_hash, maker.account, now_s);
            if page.has_room_for(encode_json(&invite).len()) {
                page.items.push(invite);
                last = Some(PageToken(number.to_string()));
            } else {
                next.clone_from(&last);
            }
            Ok::<_, StoreError>(())
        })?;
        Ok(Some(InvitesListResult { invites: page.items, next }))
    }
}
