//! Accounts, and who they are found by.

use posthouse_protocol::{AccountId, AccountsSearchResult, PageToken, Profile, Username};

use super::{Page, Snapshot};
use crate::store::record::{decode_json, encode_json};
use crate::store::rows::{AccountRow, RowKey, RowTable, account_name_key, account_name_of, number_of};
use crate::store::tables::{ROWS, row};
use crate::store::{StoreError, authority, probe};

impl Snapshot {
    /// The account of that name.
    pub fn account_by_name(&self, username: &Username) -> Result<Option<AccountRow>, StoreError> {
        let id = row(&self.txn, &RowKey::username(username.as_str()))?;
        id.map_or(Ok(None), |id| self.account(AccountId(number_of(&id)?)))
    }

    /// The account with that number. The probe's is none that there is.
    pub fn account(&self, account_id: AccountId) -> Result<Option<AccountRow>, StoreError> {
        if account_id == probe::ACCOUNT { Ok(None) } else { self.account_row(account_id) }
    }

    /// The probe's account, if it was ever used.
    pub fn probe(&self) -> Result<Option<AccountRow>, StoreError> {
        self.account_row(probe::ACCOUNT)
    }

    fn account_row(&self, account_id: AccountId) -> Result<Option<AccountRow>, StoreError> {
        let found = row(&self.txn, &RowKey::account(account_id))?;
        Ok(found.map(|found| decode_json("an account", &found)).transpose()?)
    }

    /// Whether the account looks after others; the writer decides it again before anything changes.
    pub fn is_administrator(&self, account_id: AccountId) -> Result<bool, StoreError> {
        let standing = self.account(account_id)?.map(|row| row.standing());
        Ok(authority::as_administrator(standing).is_ok())
    }

    /// Whether `actor` may act on the account; `None` where there is no such account.
    pub fn may_act_on(&self, actor: AccountId, account_id: AccountId) -> Result<Option<bool>, StoreError> {
        let actor = self.account(actor)?.map(|row| row.standing());
        let Some(account) = self.account(account_id)? else { return Ok(None) };
        let may = authority::as_administrator(actor).and_then(|role| authority::may_act_on(role, account.role.value()));
        Ok(Some(may.is_ok()))
    }

    /// A page of the accounts with a name that begins with `query`, each at the first of its names that does; `None`
    /// for a token that this server never gave.
    pub fn search_accounts(
        &self,
        query: &str,
        after: Option<&PageToken>,
        limit: u32,
    ) -> Result<Option<AccountsSearchResult>, StoreError> {
        let prefix = query.trim().to_lowercase();
        let start = match after.map(parse_place) {
            Some(Some(key)) => key,
            Some(None) => return Ok(None),
            None => prefix.as_bytes().to_vec(),
        };
        let mut page: Page<Profile> = Page::new(limit);
        let mut last = None;
        let rows = self.read(|txn| Ok(txn.open_table(ROWS)?))?;
        let table = RowTable::AccountName as u8;
        for entry in rows.range((table, start.as_slice())..).map_err(StoreError::database)? {
            let (key, _) = entry.map_err(StoreError::database)?;
            let (kind, key) = key.value();
            if kind != table || !key.starts_with(prefix.as_bytes()) {
                break;
            }
            let (name, account_id) = account_name_of(key)?;
            let Some(account) = self.account(account_id)? else { continue };
            let first = account.search_names().into_iter().find(|name| name.starts_with(&prefix));
            if first.as_deref() != Some(name) {
                continue;
            }
            let profile = account.profile();
            if !page.has_room_for(encode_json(&profile).len()) {
                return Ok(Some(AccountsSearchResult { accounts: page.items, next: last }));
            }
            page.items.push(profile);
            last = Some(PageToken(format!("{account_id}.{name}")));
        }
        Ok(Some(AccountsSearchResult { accounts: page.items, next: None }))
    }
}

/// The first key behind the place where a page ended.
fn parse_place(token: &PageToken) -> Option<Vec<u8>> {
    let (account_id, name) = token.0.split_once('.')?;
    let mut key = account_name_key(name, AccountId(account_id.parse().ok()?));
    key.push(0);
    Some(key)
}
