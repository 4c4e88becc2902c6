//! Keeps the certificates that clients are shown up to date: another one when the box's names or addresses change, when the clock
//! has jumped, and when a third of its life is left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use posthouse_protocol::admin::{OwnCertificateState, SiteCertificate};
use posthouse_protocol::authority::{AuthorityRequest, is_private};
use posthouse_protocol::{ErrorBody, ErrorCode, Fingerprint, TimestampMs};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::sync::{mpsc, oneshot, watch};
use x509_parser::parse_x509_certificate;

use super::authority::{Authority, AuthorityError};
use super::keyring::{Certificates, Named};
use super::own::{self, OwnCertificate};
use super::validity::{Validity, now};
use super::{Keyring, TrustMaterial};
use crate::names::Names;

/// How often the clock is looked at: within a minute after the network has told the time, certificates fit it.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// An interface that comes up gets several addresses within this time.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// After a failure the authority is asked again so much later, and each time twice as much.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// How long the server waits at its start: the authority answers within some 0.1 s, but has to be started first.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// Addresses on a certificate, at most.
const ADDRESSES_MAX: usize = 32;

/// Orders of the administrator that wait.
const ORDERS_MAX: usize = 4;

/// What the composition gets.
pub struct Tls {
    /// What clients are shown.
    pub keyring: Keyring,
    /// What they need to trust it; `None` until the authority has answered, and where there is none.
    pub trust: watch::Receiver<Option<Arc<TrustMaterial>>>,
    /// The administrator's way to it, where there is an authority.
    pub own: Option<OwnCertificates>,
    /// To be run, where there is an authority.
    pub renewal: Option<Renewal>,
}

impl Tls {
    /// Waits, but not for long, until there is something to show: whoever is told that the server serves finds it so.
    pub async fn first_answer(&mut self) {
        // Without an authority the other end is gone.
        let answered = self.trust.wait_for(Option::is_some);
        if tokio::time::timeout(FIRST_ANSWER, answered).await.is_err() {
            tracing::warn!("serving without HTTPS for now");
        }
    }

    /// By which clients know the box, if there is an authority that has answered.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.trust.borrow().as_ref().map(|trust| trust.fingerprint)
    }
}

/// With the authority at this socket, and the owner's certificate in this folder. Without an authority nobody is shown anything.
pub fn start(authority: Option<&Path>, folder: &Path, names: watch::Receiver<Names>) -> Tls {
    let keyring = Keyring::default();
    let (trust_sender, trust) = watch::channel(None);
    let Some(authority) = authority else { return Tls { keyring, trust, own: None, renewal: None } };
    let (sender, orders) = mpsc::channel(ORDERS_MAX);
    let renewal = Renewal {
        authority: Authority::at(authority),
        folder: folder.to_owned(),
        keyring: keyring.clone(),
        names,
        trust: trust_sender,
        orders,
    };
    Tls { keyring, trust, own: Some(OwnCertificates(sender)), renewal: Some(renewal) }
}

/// The administrator's way to the owner's own certificate; clones share it.
#[derive(Clone)]
pub struct OwnCertificates(mpsc::Sender<Order>);

struct Order {
    what: What,
    done: oneshot::Sender<Result<SiteCertificate, ErrorBody>>,
}

enum What {
    Install(Box<OwnCertificate>),
    Remove,
    Show,
}

impl OwnCertificates {
    /// Uses this chain and key from now on.
    ///
    /// # Errors
    /// `invalid_params` with what is wrong with them.
    pub async fn install(&self, chain: &str, key: &str) -> Result<SiteCertificate, ErrorBody> {
        let own = OwnCertificate::parse(chain, key);
        let own = own.map_err(|error| ErrorBody::new(ErrorCode::InvalidParams, error.to_string()))?;
        self.order(What::Install(Box::new(own))).await
    }

    /// Uses only what the box's authority signs from now on.
    ///
    /// # Errors
    /// `unavailable` where the file stays.
    pub async fn remove(&self) -> Result<SiteCertificate, ErrorBody> {
        self.order(What::Remove).await
    }

    /// What is used now.
    ///
    /// # Errors
    /// `unavailable` while the server ends.
    pub async fn show(&self) -> Result<SiteCertificate, ErrorBody> {
        self.order(What::Show).await
    }

    async fn order(&self, what: What) -> Result<SiteCertificate, ErrorBody> {
        let (done, answer) = oneshot::channel();
        let ended = || ErrorBody::new(ErrorCode::Unavailable, "the server ends");
        self.0.send(Order { what, done }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

/// The task that renews.
pub struct Renewal {
    authority: Authority,
    folder: PathBuf,
    keyring: Keyring,
    names: watch::Receiver<Names>,
    trust: watch::Sender<Option<Arc<TrustMaterial>>>,
    orders: mpsc::Receiver<Order>,
}

/// What clients are shown now.
struct Shown {
    wanted: Wanted,
    /// Of what the authority has signed.
    validity: Validity,
    own: Option<OwnShown>,
}

#[derive(Clone)]
struct OwnShown {
    names: Vec<String>,
    validity: Validity,
}

impl Shown {
    fn is_due(&self, now: i64) -> bool {
        self.validity.is_due(now) || self.own.as_ref().is_some_and(|own| own.validity.is_over(now))
    }
}

/// What certificates are to be for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    /// What every certificate of the authority permits: a client that has an old one accepts it as well.
    general: Vec<String>,
    /// What the owner has configured, which an old one may not permit.
    extra: Vec<String>,
}

impl Wanted {
    fn of(names: &Names) -> Self {
        // Loopback, for programs on the box itself and for who tries the server at home.
        let loopback = ["127.0.0.1".to_owned(), "::1".to_owned()];
        let private = names.addresses.iter().filter(|address| is_private(**address)).take(ADDRESSES_MAX);
        let general = std::iter::once(names.local()).chain(loopback).chain(private.map(ToString::to_string));
        Self { general: general.collect(), extra: names.extra.clone() }
    }
}

impl Renewal {
    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut shown = None;
        let mut retry = RETRY_FIRST;
        loop {
            let wait = match self.renew().await {
                Ok(renewed) => {
                    (shown, retry) = (Some(renewed), RETRY_FIRST);
                    LOOK_EVERY
                }
                Err(error) => {
                    tracing::warn!(%error, retry_s = retry.as_secs(), "no certificate for now: what there is stays");
                    let wait = retry;
                    retry = (retry * 2).min(RETRY_LAST);
                    wait
                }
            };
            self.until_due(&mut shown, wait).await;
        }
    }

    /// Waits for a reason to renew, and serves the administrator meanwhile. Without certificates, `wait` is one.
    async fn until_due(&mut self, shown: &mut Option<Shown>, wait: Duration) {
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + wait, wait);
        loop {
            tokio::select! {
                _ = look.tick() => match shown {
                    Some(shown) if !shown.is_due(now()) && wait == LOOK_EVERY => {}
                    _ => return,
                },
                Ok(()) = self.names.changed() => {
                    tokio::time::sleep(SETTLED_AFTER).await;
                    let wanted = Wanted::of(&self.names.borrow_and_update());
                    if shown.as_ref().is_none_or(|shown| shown.wanted != wanted) {
                        return;
                    }
                },
                Some(order) = self.orders.recv() => {
                    let outcome = self.carry_out(order.what, shown).await;
                    // An administrator who has gone needs no answer.
                    let _ = order.done.send(outcome);
                },
            }
        }
    }

    async fn carry_out(&mut self, what: What, shown: &mut Option<Shown>) -> Result<SiteCertificate, ErrorBody> {
        let failed = |error: &dyn std::fmt::Display| ErrorBody::new(ErrorCode::Unavailable, error.to_string());
        let folder = self.folder.clone();
        let changed = match what {
            What::Show => None,
            What::Remove => Some(tokio::task::spawn_blocking(move || own::remove(&folder))),
            What::Install(certificate) => {
                let checked = certificate.check(&self.names.borrow(), now());
                checked.map_err(|error| ErrorBody::new(ErrorCode::InvalidParams, error.to_string()))?;
                // One that clients who know the box would not accept is not kept.
                let handover = AuthorityRequest::Handover(certificate.first_pem().to_owned());
                self.authority.ask(&handover).await.map_err(|error| failed(&error))?;
                Some(tokio::task::spawn_blocking(move || own::keep(&folder, &certificate)))
            }
        };
        if let Some(changed) = changed {
            let changed = changed.await.map_err(|error| failed(&error))?;
            changed.map_err(|error| failed(&format!("the certificate can't be kept: {error}")))?;
            *shown = Some(self.renew().await.map_err(|error| failed(&error))?);
        }
        let fingerprint = self.trust.borrow().as_ref().map(|trust| trust.fingerprint);
        let own = shown.as_ref().and_then(|shown| shown.own.clone());
        let own = own.map(|own| OwnCertificateState {
            names: own.names,
            not_after: TimestampMs(u64::try_from(own.validity.not_after).unwrap_or(0).saturating_mul(1000)),
        });
        Ok(SiteCertificate { fingerprint, own })
    }

    async fn renew(&mut self) -> Result<Shown, AuthorityError> {
        let wanted = Wanted::of(&self.names.borrow_and_update());
        let root = self.authority.ask(&AuthorityRequest::Root).await?;
        let mut trust = TrustMaterial::of(root).map_err(AuthorityError::Refused)?;
        let (general, validity) = self.signed(&wanted.general, &trust.root).await?;
        let mut certificates = Certificates { general: Some(general), named: Vec::new() };
        let own = self.usable_own().await;
        if let Some(own) = &own {
            let handover = self.authority.ask(&AuthorityRequest::Handover(own.first_pem().to_owned())).await?;
            let der = CertificateDer::from_pem_slice(handover.as_bytes());
            let der = der.map_err(|error| AuthorityError::Refused(error.to_string()))?;
            let certified = own.with([der, trust.root.clone()]);
            certificates.named.push(Named { names: own.names.clone(), certified });
            trust.handover_pem = Some(handover);
        }
        if !wanted.extra.is_empty() {
            match self.signed(&wanted.extra, &trust.root).await {
                Ok((certified, _)) => certificates.named.push(Named { names: wanted.extra.clone(), certified }),
                Err(error) => tracing::warn!(%error, names = ?wanted.extra, "no certificate for further names"),
            }
        }
        self.keyring.replace(certificates);
        self.trust.send_replace(Some(Arc::new(trust)));
        tracing::info!(names = ?wanted.general, further = ?wanted.extra, own = own.is_some(), "certificates are renewed");
        let own = own.map(|own| OwnShown { names: own.names, validity: own.validity });
        Ok(Shown { wanted, validity, own })
    }

    /// The owner's certificate, as long as it serves.
    async fn usable_own(&self) -> Option<OwnCertificate> {
        let folder = self.folder.clone();
        let loaded = tokio::task::spawn_blocking(move || own::load(&folder)).await;
        match loaded.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(own) => {
                let own = own?;
                if own.validity.is_over(now()) {
                    tracing::warn!("the site's own certificate has expired: the box's authority stands in for it");
                    return None;
                }
                Some(own)
            }
            Err(error) => {
                tracing::warn!(%error, "the site's own certificate can't be used");
                None
            }
        }
    }

    /// A certificate with a key of its own, and the authority's behind it.
    async fn signed(
        &self,
        names: &[String],
        root: &CertificateDer<'static>,
    ) -> Result<(Arc<CertifiedKey>, Validity), AuthorityError> {
        let refused = |error: &dyn std::fmt::Display| AuthorityError::Refused(error.to_string());
        let key = rcgen::KeyPair::generate().map_err(|error| refused(&error))?;
        let request = rcgen::CertificateParams::new(names).and_then(|params| params.serialize_request(&key)?.pem());
        let request = request.map_err(|error| refused(&error))?;
        let pem = self.authority.ask(&AuthorityRequest::Sign(request)).await?;
        let leaf = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| refused(&error))?;
        let validity = parse_x509_certificate(&leaf).map(|(_, parsed)| Validity::of(&parsed));
        let validity = validity.map_err(|error| refused(&error))?;
        let der = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| refused(&error))?;
        let signing = ring::sign::any_ecdsa_type(&der).map_err(|error| refused(&error))?;
        Ok((Arc::new(CertifiedKey::new(vec![leaf, root.clone()], signing)), validity))
    }
}
