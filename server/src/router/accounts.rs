//! Accounts.

use posthouse_protocol::{Account, ErrorBody, Username};

use super::Router;
use crate::store::{AccountAdd, Committed};

impl Router {
    /// Makes an account.
    ///
    /// # Errors
    /// `already_exists`, or `invalid_params` for a password out of bounds.
    pub async fn add_account(&self, username: Username, password: String) -> Result<Committed<Account>, ErrorBody> {
        let password_hash = self.inner.passwords.hash(password).await?;
        self.inner.write(AccountAdd { username, password_hash }).await
    }
}
