//! Accounts and their devices.

use posthouse_protocol::{Account, AccountId, Username};

use super::Snapshot;
use crate::store::StoreError;
use crate::store::record::decode_json;
use crate::store::rows::{AccountRow, DeviceRow, RowKey, number_of};
use crate::store::tables::row;

impl Snapshot {
    /// The account of that name.
    pub fn account_by_name(&self, username: &Username) -> Result<Option<AccountRow>, StoreError> {
        let id = row(&self.txn, &RowKey::username(username.as_str()))?;
        id.map_or(Ok(None), |id| self.account(AccountId(number_of(&id)?)))
    }

    /// The account whose device has the token with this SHA-256.
    pub fn account_by_token(&self, token_hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        let Some(device) = row(&self.txn, &RowKey::device(token_hash))? else { return Ok(None) };
        let device: DeviceRow = decode_json("a device", &device)?;
        Ok(self.account(device.account_id)?.map(|row| row.account))
    }

    /// The account with that number.
    pub fn account(&self, account_id: AccountId) -> Result<Option<AccountRow>, StoreError> {
        let found = row(&self.txn, &RowKey::account(account_id))?;
        Ok(found.map(|found| decode_json("an account", &found)).transpose()?)
    }
}
