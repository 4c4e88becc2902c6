//! Password hashing: argon2id, a bounded number at once.
//!
//! A hash costs [`MEMORY_KIB`] of memory and some 50 ms of a Pi's core by design; unbounded, a crowd of
//! log-ins would fell the box.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use posthouse_protocol::{ErrorBody, ErrorCode, limits};
use tokio::sync::{Semaphore, oneshot};

use crate::scheduling;

/// OWASP Password Storage Cheat Sheet's second choice for argon2id: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Half the cores of a Pi 4B, so that chat goes on while a whole school logs in.
const HASHES_AT_ONCE_MAX: usize = 2;

/// Log-ins that may wait for their turn; some five seconds' worth.
const HASHES_WAITING_MAX: usize = 64;

/// Hashes and checks passwords.
pub(super) struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
    /// Checked when the account doesn't exist, so that the answer takes as long as for one that does.
    decoy: String,
    /// How much work was done.
    #[cfg(test)]
    pub verified: std::sync::atomic::AtomicUsize,
}

impl Passwords {
    pub fn new() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(HASHES_AT_ONCE_MAX)),
            waiting: Semaphore::new(HASHES_WAITING_MAX),
            decoy: decoy(),
            #[cfg(test)]
            verified: Default::default(),
        }
    }

    /// Checks that a new password is long enough and hashes it to a PHC string.
    pub async fn hash(&self, password: String) -> Result<String, ErrorBody> {
        check(&password)?;
        self.run(move || hash(&password)).await
    }

    /// Whether the password is the one of `stored`; of a decoy, without one.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, ErrorBody> {
        if password.len() > limits::PASSWORD_LEN_MAX {
            return Ok(false);
        }
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        #[cfg(test)]
        self.verified.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let matches = self.run(move || verify(&password, &stored)).await?;
        Ok(matches && exists)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ErrorBody> {
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| ErrorBody::new(ErrorCode::Overloaded, "too many log-ins at once").retry_after_ms(5_000))?;
        let permit = Arc::clone(&self.at_once).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let (done, result) = oneshot::channel();
        let hash = move || {
            scheduling::enter_batch();
            // Whoever asked may have gone meanwhile.
            let _ = done.send(work());
            // The place is free when the work is done, even if nobody waited for it.
            drop(permit);
        };
        let stopping = || ErrorBody::new(ErrorCode::Unavailable, "the server cannot hash passwords now");
        // A thread of its own costs nothing beside the hash, and keeps its scheduling to itself.
        std::thread::Builder::new().name("password-hash".to_owned()).spawn(hash).map_err(|_| stopping())?;
        result.await.map_err(|_| stopping())
    }
}

/// Whether a new password is of a length that may be.
pub(super) fn check(password: &str) -> Result<(), ErrorBody> {
    let too_short = password.chars().count() < limits::PASSWORD_CHARS_MIN;
    if too_short || password.len() > limits::PASSWORD_LEN_MAX {
        let (least, most) = (limits::PASSWORD_CHARS_MIN, limits::PASSWORD_LEN_MAX);
        let message = format!("a password has at least {least} characters and at most {most} bytes");
        return Err(ErrorBody::new(ErrorCode::InvalidParams, message));
    }
    Ok(())
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str) -> String {
    argon2().hash_password(password.as_bytes()).expect("argon2 takes passwords of any content").to_string()
}

/// A hash that costs as much to check as any other and that no password has. It is not made of one: at the start of the server a
/// hash would take as long as all the rest.
fn decoy() -> String {
    // 16 bytes of salt and 32 of hash, all zero, in base64 without padding.
    let (salt, zeros) = ("A".repeat(22), "A".repeat(43));
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${zeros}")
}

fn verify(password: &str, stored: &str) -> bool {
    // The parameters are those of the stored hash, so that old hashes stay valid when ours change.
    PasswordHash::new(stored).is_ok_and(|stored| argon2().verify_password(password.as_bytes(), &stored).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_an_existing_account_matches() {
        let passwords = Passwords::new();
        let stored = passwords.hash("correct horse".to_owned()).await.expect("long enough");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert_eq!(passwords.verify("correct horse".to_owned(), Some(stored.clone())).await, Ok(true));
        assert_eq!(passwords.verify("wrong horse".to_owned(), Some(stored)).await, Ok(false));
        assert_eq!(passwords.verify("a password that nobody has".to_owned(), None).await, Ok(false));
    }

    #[test]
    fn a_decoy_costs_what_a_hash_costs() {
        let (decoy, real) = (decoy(), hash("correct horse"));
        let read = |text| PasswordHash::new(text).expect("a PHC string");
        let (decoy, real) = (read(&decoy), read(&real));
        assert_eq!((decoy.algorithm, decoy.version), (real.algorithm, real.version));
        assert_eq!(decoy.params, real.params);
        let lengths = |hash: &PasswordHash| {
            (hash.salt.as_ref().map(|salt| salt.len()), hash.hash.as_ref().map(argon2::password_hash::phc::Output::len))
        };
        assert_eq!(lengths(&decoy), lengths(&real));
    }

    #[tokio::test]
    async fn short_and_endless_passwords_are_refused() {
        let passwords = Passwords::new();
        for bad in ["1234567".to_owned(), "x".repeat(limits::PASSWORD_LEN_MAX + 1)] {
            let refused = passwords.hash(bad).await.expect_err("must be refused");
            assert_eq!(refused.code, ErrorCode::InvalidParams);
        }
    }
}
