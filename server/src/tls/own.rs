//! A certificate of the owner's own, from a public authority or a company's: checked before it is used, kept in the data folder.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::keyring::covers;
use super::validity::{Validity, shown};
use crate::names::Names;

/// Chain and key, one behind the other, so that neither is there without the other.
const FILE_NAME: &str = "certificate.pem";

/// Certificates in a chain, at most: its own, some intermediate ones, a root.
const CHAIN_LEN_MAX: usize = 8;

/// A certificate with its key.
#[derive(Debug)]
pub struct OwnCertificate {
    /// As it was brought.
    pem: String,
    /// What is shown to clients.
    pub certified: CertifiedKey,
    /// DNS names that it is for.
    pub names: Vec<String>,
    /// When.
    pub validity: Validity,
}

/// What is wrong with a certificate.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnError {
    /// There is none.
    #[error("there is no certificate in it: it has to be PEM, and begin with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// There is no key.
    #[error("there is no private key in it: it has to be PEM, and begin with -----BEGIN PRIVATE KEY----- or the like")]
    NoKey,
    /// The key can't be used without somebody who types.
    #[error("the private key is protected by a passphrase: take that off first (openssl pkey -in KEY -out NEWKEY)")]
    ProtectedKey,
    /// Something in it can't be read.
    #[error("the certificate can't be read: {0}")]
    Unreadable(String),
    /// A key of a kind that isn't supported.
    #[error("the private key can't be used ({0}): use an ECDSA key (P-256, P-384), Ed25519 or RSA (2048 bits or more)")]
    UnsupportedKey(String),
    /// They don't belong together.
    #[error("the private key is not that of the certificate")]
    WrongKey,
    /// The first one is an authority's.
    #[error("the first certificate is an authority's: the server's own comes first, then those that signed it")]
    Authority,
    /// One was not signed by the next.
    #[error("the chain is out of order: certificate {0} was not issued by the one behind it")]
    Order(usize),
    /// Too many.
    #[error("a chain has at most {CHAIN_LEN_MAX} certificates")]
    TooLong,
    /// It is over.
    #[error("the certificate expired on {until}, and the box's clock says {now}")]
    Expired {
        /// When.
        until: String,
        /// What the box believes.
        now: String,
    },
    /// It has not begun.
    #[error("the certificate is valid from {from} on, and the box's clock says {now}")]
    NotYetValid {
        /// When it begins.
        from: String,
        /// What the box believes.
        now: String,
    },
    /// It is for others.
    #[error("the certificate is not for {missing}, a name of this box; it is for {names}")]
    LacksName {
        /// The first that is missing.
        missing: String,
        /// What it has.
        names: String,
    },
}

impl OwnCertificate {
    /// Chain and key, as PEM; they may stand in one text.
    ///
    /// # Errors
    /// What is wrong with them, whatever the box is called and the clock says.
    pub fn parse(chain: &str, key: &str) -> Result<Self, OwnError> {
        let unreadable = |error: &dyn std::fmt::Display| OwnError::Unreadable(error.to_string());
        let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let ders = ders.map_err(|error| unreadable(&error))?;
        if ders.len() > CHAIN_LEN_MAX {
            return Err(OwnError::TooLong);
        }
        let parsed: Result<Vec<_>, _> = ders.iter().map(|der| parse_x509_certificate(der)).collect();
        let parsed: Vec<X509Certificate<'_>> =
            parsed.map_err(|error| unreadable(&error))?.into_iter().map(|(_, certificate)| certificate).collect();
        let first = parsed.first().ok_or(OwnError::NoCertificate)?;
        let names = dns_names(first);
        // Some make their own certificate an authority's; who has a chain has put it the wrong way round.
        if first.is_ca() && (parsed.len() > 1 || names.is_empty()) {
            return Err(OwnError::Authority);
        }
        let is_broken = |pair: &&[X509Certificate<'_>]| pair[0].issuer().as_raw() != pair[1].subject().as_raw();
        if let Some(at) = parsed.windows(2).position(|pair| is_broken(&pair)) {
            return Err(OwnError::Order(at + 1));
        }
        let validity = Validity::of(first);
        let der = match PrivateKeyDer::from_pem_slice(key.as_bytes()) {
            Ok(der) => der,
            Err(_) if key.contains("ENCRYPTED") => return Err(OwnError::ProtectedKey),
            Err(_) => return Err(OwnError::NoKey),
        };
        let signing =
            ring::sign::any_supported_type(&der).map_err(|error| OwnError::UnsupportedKey(error.to_string()))?;
        let certified = CertifiedKey::new(ders.clone(), signing);
        match certified.keys_match() {
            Ok(()) => {}
            Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => return Err(OwnError::WrongKey),
            Err(error) => return Err(unreadable(&error)),
        }
        let pem = if chain == key { chain.to_owned() } else { format!("{}\n{}\n", chain.trim_end(), key.trim_end()) };
        Ok(Self { pem, certified, names, validity })
    }

    /// Whether the box can use it now. It has to be for all names that its owner has configured, or, where there are none, for
    /// the one under `.local`.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, names: &Names, now: i64) -> Result<(), OwnError> {
        if self.validity.is_over(now) {
            return Err(OwnError::Expired { until: shown(self.validity.not_after), now: shown(now) });
        }
        if now < self.validity.not_before {
            return Err(OwnError::NotYetValid { from: shown(self.validity.not_before), now: shown(now) });
        }
        let wanted = if names.extra.is_empty() { vec![names.local()] } else { names.extra.clone() };
        match wanted.into_iter().find(|name| !covers(&self.names, name)) {
            None => Ok(()),
            Some(missing) => {
                let names = if self.names.is_empty() { "no name".to_owned() } else { self.names.join(", ") };
                Err(OwnError::LacksName { missing, names })
            }
        }
    }

    /// What the authority is to say that it is the box's: the first certificate, as PEM.
    pub fn first_pem(&self) -> &str {
        let end = "-----END CERTIFICATE-----";
        let start = self.pem.find("-----BEGIN CERTIFICATE-----").unwrap_or(0);
        let len = self.pem[start..].find(end).map_or(self.pem.len() - start, |at| at + end.len());
        &self.pem[start..start + len]
    }

    /// What clients are shown: the chain, and behind it, for those who know the authority, what it says of this key.
    pub fn with(&self, behind: impl IntoIterator<Item = CertificateDer<'static>>) -> Arc<CertifiedKey> {
        let chain = self.certified.cert.iter().cloned().chain(behind).collect();
        Arc::new(CertifiedKey::new(chain, Arc::clone(&self.certified.key)))
    }
}

fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

/// The certificate that is kept in this folder.
///
/// # Errors
/// Why it can't be used.
pub fn load(folder: &Path) -> Result<Option<OwnCertificate>, String> {
    match std::fs::read_to_string(path(folder)) {
        Ok(pem) => OwnCertificate::parse(&pem, &pem).map(Some).map_err(|error| error.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Keeps it, whole or not at all, for this user only.
pub fn keep(folder: &Path, own: &OwnCertificate) -> std::io::Result<()> {
    let path = path(folder);
    let unfinished = path.with_extension("new");
    remove_file(&unfinished)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(own.pem.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, &path)?;
    File::open(folder)?.sync_all()
}

/// Forgets it, if there is one.
pub fn remove(folder: &Path) -> std::io::Result<()> {
    remove_file(&path(folder))?;
    File::open(folder)?.sync_all()
}

fn remove_file(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}
