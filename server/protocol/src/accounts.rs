//! Accounts: who there is.

use serde::{Deserialize, Serialize};

use crate::{AccountId, Username};

/// An account as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Account {
    /// Never given to another account.
    pub account_id: AccountId,
    /// The name to log in with and to be found by.
    pub username: Username,
}
