//! Methods of the local administration socket: the same envelope, one JSON object a line, for the
//! machine's administrator only.

use serde::{Deserialize, Serialize};

use crate::{Account, Method, Username};

/// Longest line, in bytes.
pub const LINE_LEN_MAX: usize = 4096;

/// Makes an account.
pub enum AccountAdd {}

impl Method for AccountAdd {
    const NAME: &'static str = "account.add";
    type Params = AccountAddParams;
    type Result = Account;
}

/// Parameters of `account.add`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountAddParams {
    /// Its name; an existing one is refused with `already_exists`.
    pub username: Username,
    /// [`crate::limits::PASSWORD_CHARS_MIN`] characters or more.
    pub password: String,
}

impl std::fmt::Debug for AccountAddParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountAddParams").field("username", &self.username).finish_non_exhaustive()
    }
}
