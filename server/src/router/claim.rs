//! Whose the box is: the edges that show it and change it come through here.

use posthouse_protocol::{Account, ErrorBody, Password, Token, Username};
use tokio::sync::watch;

use super::session::check_device_name;
use super::{Inner, Router, refused, secret};
use crate::store::{Committed, NewAccount, OwnerClaim, OwnerRecover, Refusal};

/// A box that has come to have an owner.
pub struct Claimed {
    /// The owner.
    pub account: Account,
    /// Of the owner's first device.
    pub token: Token,
    /// For the owner to keep on paper.
    pub backup_key: String,
}

impl Router {
    /// Who owns the box; nobody does until it is claimed.
    pub fn owner(&self) -> watch::Receiver<Option<Account>> {
        self.inner.store.owner()
    }

    /// Makes the owner of a box that has none. Whoever calls this has seen the box's code.
    ///
    /// # Errors
    /// `conflict` where it has one, `already_exists`, or `invalid_params` for a password out of bounds.
    pub async fn claim(
        &self,
        username: Username,
        password: Password,
        device_name: String,
    ) -> Result<Committed<Claimed>, ErrorBody> {
        let inner: &Inner = &self.inner;
        check_device_name(&device_name)?;
        if inner.store.owner().borrow().is_some() {
            return Err(refused(Refusal::AlreadyClaimed));
        }
        let password_hash = inner.passwords.hash(password.0).await?;
        let (token, backup_key) = (secret::token(), secret::backup_key());
        let new = NewAccount { username, display_name: None, password_hash, must_change: false };
        let token_hash = secret::token_hash(&token);
        let claim = OwnerClaim { new, token_hash, device_name, backup_key: backup_key.clone() };
        Ok(inner.write(claim).await?.map(|account| Claimed { account, token, backup_key }))
    }

    /// Gives the owner another password and signs their devices out. Whoever calls this has seen the box's code.
    ///
    /// # Errors
    /// `invalid_params` for a password out of bounds.
    pub async fn recover_owner(&self, password: Password) -> Result<Committed<Account>, ErrorBody> {
        let password_hash = self.inner.passwords.hash(password.0).await?;
        self.inner.write(OwnerRecover { password_hash }).await
    }
}
