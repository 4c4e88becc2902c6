//! The probe: what may be done under its name, and from where. It exists for the router only while a secret does.

use posthouse_protocol::{ErrorBody, History, Logout, Method, Send, Sync, Username};

use super::call::{Caller, Wire};
use super::{Inner, Router};
use crate::admission::Visitor;
use crate::store::{ProbeAdmit, probe};

/// All that it may do once it is connected.
const METHODS: [&str; 4] = [Send::NAME, Sync::NAME, History::NAME, Logout::NAME];

/// Whether the caller may use a method at all; what it may do with it is for the method to say.
pub fn may_call(caller: &Caller, method: &str) -> bool {
    caller.account_id != probe::ACCOUNT || METHODS.contains(&method)
}

/// Whether that is the probe's name, which is nobody else's.
pub(super) fn is_its_name(username: &Username) -> bool {
    username.as_str() == probe::USERNAME
}

impl Router {
    /// Lets the probe in with this password for as long as this server runs, or, without one, nobody under its name.
    ///
    /// # Errors
    /// `unavailable`, and `invalid_params` for a password out of bounds; then nobody is let in.
    pub async fn admit_probe(&self, secret: Option<String>) -> Result<(), ErrorBody> {
        let inner = &self.inner;
        let password_hash = match secret {
            Some(secret) => Some(inner.passwords.hash(secret).await?),
            None => None,
        };
        let is_admitted = password_hash.is_some();
        inner.write(ProbeAdmit { password_hash }).await?;
        if is_admitted {
            // It is set once, before the doors open.
            let _ = inner.probe.set(());
        }
        Ok(())
    }

    /// Whether there is a probe to be let in.
    pub fn admits_probe(&self) -> bool {
        self.inner.admits_probe()
    }
}

impl Inner {
    pub(super) fn admits_probe(&self) -> bool {
        self.probe.get().is_some()
    }

    /// Whether it may log in: it comes from this machine, so that nobody else can wear its tries out.
    pub(super) fn may_be_probe(&self, visitor: &Visitor) -> bool {
        self.admits_probe() && visitor.is_local()
    }
}

impl Wire {
    /// Refuses who is not the probe, on a connection that was let in for its sake alone.
    pub(super) fn check(&self, is_probe: bool) -> Result<(), ErrorBody> {
        match &self.closed_to_others {
            Some(refused) if !is_probe => Err(refused.clone()),
            _ => Ok(()),
        }
    }
}
