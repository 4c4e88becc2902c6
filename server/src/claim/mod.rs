//! Whose the box is: the code that makes somebody its owner, or lets its owner in again.
//!
//! Unclaimed means that the store has no owner; a code that was used is void because there is one then. Codes are shown by the
//! status file and to nobody else. The web edge brings what people type, the router makes it last.

mod codes;
mod keeping;
mod posted;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use posthouse_protocol::appliance::{Ownership, Settings};
use posthouse_protocol::claim::{ClaimAnswer, ClaimChallenge, ClaimCode, ClaimProof};
use posthouse_protocol::{Account, ErrorBody, ErrorCode, Fingerprint, Password, Username, limits};
use sha2::Sha256;
use tokio::sync::watch;

use crate::admission::Visitor;
use crate::router::{Claimed, Router};
use crate::store::Committed;
use crate::tls::TrustMaterial;
use codes::Codes;
use posted::Posted;

/// A code of the owner's own choice has so many characters at least: 40 bits, if each is one of 32.
const CHOSEN_CHARS_MIN: usize = 8;

/// A handle; clones share it.
#[derive(Clone)]
pub struct Claim {
    inner: Arc<Inner>,
}

struct Inner {
    router: Router,
    owner: watch::Receiver<Option<Account>>,
    trust: watch::Receiver<Option<Arc<TrustMaterial>>>,
    /// The codes of a box that nobody owns.
    claiming: Posted,
    /// Those by which its owner sets a new password, where the card asks for that.
    recovering: Option<Posted>,
    /// Makes nonces, which need not be kept.
    nonces: [u8; 32],
}

/// How somebody shows that they have read the code.
pub enum Shown<'a> {
    /// By typing it.
    Code(&'a str),
    /// Without telling it.
    Proof(&'a ClaimProof),
}

/// Why a box was not claimed.
#[derive(Debug)]
pub enum Refused {
    /// The code is not the one.
    Wrong,
    /// Too many codes were wrong: how long nobody may try.
    Locked(Duration),
    /// Anything else.
    Other(ErrorBody),
}

impl Claim {
    /// For the box of this router, as its owner wants it, with its data in this folder.
    pub fn new(
        router: Router,
        settings: &Settings,
        trust: watch::Receiver<Option<Arc<TrustMaterial>>>,
        folder: &Path,
    ) -> Self {
        let chosen = settings.claim_code.as_deref().filter(|code| is_long_enough(code));
        if settings.claim_code.is_some() && chosen.is_none() {
            tracing::warn!(
                "the claim code in the settings has less than {CHOSEN_CHARS_MIN} characters: another one is made"
            );
        }
        let mut nonces = [0; 32];
        getrandom::fill(&mut nonces).expect("the kernel has random numbers once user space runs");
        let (owner, file) = (router.owner(), folder.join(keeping::FILE_NAME));
        let codes = chosen.map_or_else(|| keeping::read(&file, Instant::now()), Codes::chosen);
        let recovering = recovering(settings, &owner, &folder.join(keeping::RECOVERY_FILE_NAME));
        let claiming = Posted::new(codes, file);
        if owner.borrow().is_some() {
            claiming.forget();
        } else {
            claiming.keep();
        }
        Self { inner: Arc::new(Inner { router, owner, trust, claiming, recovering, nonces }) }
    }

    /// Who owns the box, or how to come to own it.
    pub fn ownership(&self) -> Ownership {
        match self.owner() {
            None => Ownership::Unclaimed { code: self.inner.claiming.current() },
            Some(owner) => {
                let owner = owner.username.as_str().to_owned();
                match self.recovering() {
                    Some(recovering) => Ownership::Recovering { owner, code: recovering.current() },
                    None => Ownership::Claimed { owner },
                }
            }
        }
    }

    /// Shows another code, if it is time. To be called by whoever shows it.
    pub async fn renew(&self) {
        match self.owner() {
            None => self.inner.claiming.renew().await,
            Some(_) => {
                if let Some(recovering) = self.recovering() {
                    recovering.renew().await;
                }
            }
        }
    }

    /// Whether the owner may set a new password by a code.
    pub fn is_recovering(&self) -> bool {
        self.owner().is_some() && self.recovering().is_some()
    }

    fn recovering(&self) -> Option<&Posted> {
        self.inner.recovering.as_ref().filter(|recovering| !recovering.is_used())
    }

    /// The owner.
    pub fn owner(&self) -> Option<Account> {
        self.inner.owner.borrow().clone()
    }

    /// By what clients know the box.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.inner.fingerprint()
    }

    /// Tells a developer, whose server no console shows, how to claim it: now, and when the code has changed. Runs until it is
    /// claimed.
    pub async fn invite(self, addresses: Vec<SocketAddr>) {
        let mut owner = self.inner.owner.clone();
        while let Ownership::Unclaimed { code } = self.ownership() {
            for address in &addresses {
                println!("Nobody owns this server yet. Claim it at http://{address}/claim with the code {code}");
            }
            // The sender lives as long as the store.
            let claimed = async { owner.wait_for(Option::is_some).await.is_ok() };
            if tokio::time::timeout(Duration::from_secs(limits::CODE_LIFE_S), claimed).await.is_ok() {
                break;
            }
            self.renew().await;
        }
    }

    /// Something to be covered by a proof.
    pub fn challenge(&self) -> ClaimChallenge {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the kernel has random numbers once user space runs");
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = self.inner.nonce_tag(&random);
        ClaimChallenge {
            claimed: self.owner().is_some(),
            nonce: format!("{random}-{tag}"),
            fingerprint: self.inner.fingerprint(),
        }
    }

    /// Proves to somebody who has read the code that this is the box that has shown it.
    ///
    /// # Errors
    /// Where they have not.
    pub fn answer(&self, visitor: &Visitor, proof: &ClaimProof) -> Result<ClaimAnswer, Refused> {
        let code = self.inner.check(visitor, &Shown::Proof(proof))?;
        Ok(ClaimAnswer { answer: code.answer(self.inner.fingerprint().as_ref(), &proof.nonce) })
    }

    /// Makes whoever has read the code the owner.
    ///
    /// # Errors
    /// Why not.
    pub async fn claim(
        &self,
        visitor: &Visitor,
        shown: &Shown<'_>,
        username: Username,
        password: Password,
        device: String,
    ) -> Result<Committed<Claimed>, Refused> {
        self.inner.check(visitor, shown)?;
        let claimed = self.inner.router.claim(username, password, device).await.map_err(Refused::Other)?;
        tracing::warn!(owner = claimed.account.account_id.0, "the box was claimed");
        self.inner.claiming.forget();
        Ok(claimed)
    }

    /// Gives the owner the password of whoever has read the code that the card asked for. It serves once.
    ///
    /// # Errors
    /// Why not.
    pub async fn recover(
        &self,
        visitor: &Visitor,
        code: &str,
        password: Password,
    ) -> Result<Committed<Account>, Refused> {
        let not_asked = || Refused::Other(ErrorBody::new(ErrorCode::NotFound, "the card does not ask for that"));
        let recovering = self.recovering().ok_or_else(not_asked)?;
        let typed = ClaimCode::typed(code);
        recovering.check(visitor, |code| code.matches(&typed))?;
        let recovered = self.inner.router.recover_owner(password).await.map_err(Refused::Other)?;
        recovering.use_up().await;
        tracing::warn!(owner = recovered.account_id.0, "the owner's password was reset with the box's code");
        Ok(recovered)
    }
}

impl Inner {
    /// The code that was read.
    fn check(&self, visitor: &Visitor, shown: &Shown<'_>) -> Result<ClaimCode, Refused> {
        if self.owner.borrow().is_some() {
            let error = ErrorBody::new(ErrorCode::Conflict, "this box has an owner already");
            return Err(Refused::Other(error));
        }
        if let Shown::Proof(ClaimProof { nonce, .. }) = shown
            && !self.is_nonce(nonce)
        {
            let error = ErrorBody::new(ErrorCode::InvalidParams, "nonce: ask /claim/challenge for one");
            return Err(Refused::Other(error));
        }
        let fingerprint = self.fingerprint();
        match shown {
            Shown::Code(typed) => {
                let typed = ClaimCode::typed(typed);
                self.claiming.check(visitor, |code| code.matches(&typed))
            }
            Shown::Proof(ClaimProof { nonce, proof }) => {
                self.claiming.check(visitor, |code| code.is_proof(proof, fingerprint.as_ref(), nonce))
            }
        }
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.trust.borrow().as_ref().map(|trust| trust.fingerprint)
    }

    fn is_nonce(&self, nonce: &str) -> bool {
        nonce.split_once('-').is_some_and(|(random, tag)| random.len() == 32 && self.nonce_tag(random) == tag)
    }

    fn nonce_tag(&self, random: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.nonces).expect("HMAC takes keys of any length");
        mac.update(random.as_bytes());
        mac.finalize().into_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Refused {
    /// As programs are told.
    pub fn error(self) -> ErrorBody {
        match self {
            Self::Wrong => ErrorBody::new(ErrorCode::CodeWrong, "this is not the code that the box shows now"),
            Self::Locked(wait) => {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
                let message = format!("too many wrong codes: wait {} seconds", wait_ms.div_ceil(1_000));
                ErrorBody::new(ErrorCode::RateLimited, message).retry_after_ms(wait_ms)
            }
            Self::Other(error) => error,
        }
    }
}

/// The codes that let the owner in again, where the card asks for that and they were not used since it does.
fn recovering(settings: &Settings, owner: &watch::Receiver<Option<Account>>, file: &Path) -> Option<Posted> {
    if !settings.recover_owner || owner.borrow().is_none() {
        Posted::new(Codes::fresh(Instant::now()), file.to_owned()).forget();
        return None;
    }
    if keeping::is_used(file) {
        return None;
    }
    let posted = Posted::new(keeping::read(file, Instant::now()), file.to_owned());
    posted.keep();
    Some(posted)
}

fn is_long_enough(code: &str) -> bool {
    ClaimCode::typed(code).chars() >= CHOSEN_CHARS_MIN
}
