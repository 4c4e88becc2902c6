//! What accounts are called, in few requests.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use posthouse_protocol::{
    AccountId, AccountsGet, AccountsGetParams, AccountsSearch, AccountsSearchParams, Profile, limits,
};

use crate::{Client, ClientError, Link};

/// As many are asked for one by one; more are looked for among all, in pages of 200.
const SINGLY_MAX: usize = 8;

impl Client {
    /// The profiles of accounts, in no order; one that there is not is left out.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn profiles(&self, ids: &[AccountId]) -> Result<Vec<Profile>, ClientError> {
        let mut wanted: BTreeSet<AccountId> = ids.iter().copied().collect();
        let mut found = Vec::new();
        if wanted.len() > SINGLY_MAX {
            let limit = Some(limits::PAGE_LIMIT_MAX);
            let mut params = AccountsSearchParams { query: String::new(), after: None, limit };
            // Never more pages than accounts that are wanted.
            for _ in 0..wanted.len() {
                let page = self.call::<AccountsSearch>(&params).await?;
                found.extend(page.accounts.into_iter().filter(|profile| wanted.remove(&profile.account_id)));
                params.after = page.next;
                if params.after.is_none() || wanted.is_empty() {
                    break;
                }
            }
        }
        // Who has departed is on no page.
        let params = |id| AccountsGetParams { account_id: Some(id), username: None };
        for answer in join_all(wanted.into_iter().map(|id| self.begin::<AccountsGet>(&params(id)))).await {
            match answer {
                Ok(profile) => found.push(profile),
                Err(ClientError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

impl Link {
    /// As [`Client::profiles`], on the connection that there is, or on the next one.
    ///
    /// # Errors
    /// As [`Link::call`].
    pub async fn profiles(&self, ids: &[AccountId]) -> Result<Vec<Profile>, ClientError> {
        self.connected().await?.client.profiles(ids).await
    }
}
