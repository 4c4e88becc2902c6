//! The authority: its key, its certificate, and what it signs.

use std::path::{Path, PathBuf};

use posthouse_protocol::Fingerprint;
use posthouse_protocol::authority::LEAF_DAYS_MAX;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
    SubjectPublicKeyInfo, date_time_ymd,
};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::Pem;

use crate::{Permitted, keeping};

/// Key and certificate, one behind the other, so that neither is there without the other.
const FILE_NAME: &str = "authority.pem";

/// Names and addresses on one certificate, at most.
const NAMES_MAX: usize = 64;

/// So long before its making a certificate is valid already: for clients whose clocks are behind.
const BACKDATED: Duration = Duration::days(30);

/// A box.
pub struct Authority {
    path: PathBuf,
    key: KeyPair,
    certificate: String,
    permitted: Permitted,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file can't be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is damaged. It is left alone: a new authority would be a new box to everybody who trusts this one.
    #[error(
        "{path} is no authority ({reason}): put a copy of it back, or remove it, and every client has to trust the box anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No key or certificate could be made.
    #[error("cannot make an authority: {0}")]
    Making(#[from] rcgen::Error),
}

/// Why something is not signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no request, or its signature is not that of its key.
    #[error("this is no certificate request: {0}")]
    Request(String),
    /// It is no certificate.
    #[error("this is no certificate: {0}")]
    Certificate(String),
    /// It asks to be an authority.
    #[error("an authority is not signed for")]
    Authority,
    /// It bears nothing that it could be for.
    #[error("the request names nothing")]
    NoNames,
    /// It bears too much.
    #[error("a certificate has at most {NAMES_MAX} names")]
    TooManyNames,
    /// It bears a name that is not this box's.
    #[error(
        "{0} is none of this box's names: only names under .local, those configured, and private addresses are signed for"
    )]
    Name(String),
    /// Signing failed.
    #[error("cannot sign: {0}")]
    Signing(String),
}

impl Authority {
    /// The authority in this folder, made now if there is none. Where names have been configured that its certificate does not
    /// permit, it gets another one for the same key: who knows the key knows it still.
    ///
    /// # Errors
    /// Where there is none and none can be made.
    pub fn open(folder: &Path, permitted: Permitted) -> Result<Self, AuthorityError> {
        let path = folder.join(FILE_NAME);
        let failed = |source| AuthorityError::File { path: path.clone(), source };
        let Some(text) = keeping::read(&path).map_err(failed)? else {
            let key = KeyPair::generate()?;
            let certificate = root(&key, &permitted)?;
            let authority = Self { path, key, certificate, permitted };
            authority.keep()?;
            return Ok(authority);
        };
        let damaged = |reason: String| AuthorityError::Damaged { path: path.clone(), reason };
        let key = KeyPair::from_pem(&text).map_err(|error| damaged(error.to_string()))?;
        let parts = parse_pem(&text).map_err(damaged)?;
        let is_certificate = |pem: &&Pem| pem.label == "CERTIFICATE";
        let kept = parts.iter().find(is_certificate).ok_or_else(|| damaged("it has no certificate".to_owned()))?;
        let kept = kept.parse_x509().map_err(|error| damaged(error.to_string()))?;
        if kept.public_key().raw != key.subject_public_key_info() {
            return Err(damaged("its certificate is for another key".to_owned()));
        }
        let constrained = names_of(&kept);
        let lacks = permitted.names().iter().any(|name| !constrained.contains(name));
        let certificate = text.find("-----BEGIN CERTIFICATE").map(|start| text[start..].to_owned()).unwrap_or_default();
        let mut authority = Self { path, key, certificate, permitted };
        if lacks {
            authority.certificate = root(&authority.key, &authority.permitted)?;
            authority.keep()?;
        }
        Ok(authority)
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// By which clients know it.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint(&self.key)
    }

    /// A certificate for the key and the names of a request in PEM.
    ///
    /// # Errors
    /// Why the box can't have it.
    pub fn sign(&self, request: &str, now: OffsetDateTime) -> Result<String, Refusal> {
        let request = CertificateSigningRequestParams::from_pem(request);
        let request = request.map_err(|error| Refusal::Request(error.to_string()))?;
        if matches!(request.params.is_ca, IsCa::Ca(_)) {
            return Err(Refusal::Authority);
        }
        let names = request.params.subject_alt_names;
        match names.len() {
            0 => return Err(Refusal::NoNames),
            1..=NAMES_MAX => {}
            _ => return Err(Refusal::TooManyNames),
        }
        names.iter().try_for_each(|name| self.check(name))?;
        let title = match &names[0] {
            SanType::DnsName(name) => name.as_str().to_owned(),
            SanType::IpAddress(address) => address.to_string(),
            other => format!("{other:?}"),
        };
        let mut certificate = leaf(&title, now);
        certificate.subject_alt_names = names;
        self.signed(&certificate, &request.public_key)
    }

    /// A certificate without names for the key of a certificate in PEM: it says that the key is this box's, and is of no use to
    /// a browser.
    ///
    /// # Errors
    /// Why not.
    pub fn hand_over(&self, certificate: &str, now: OffsetDateTime) -> Result<String, Refusal> {
        let parts = parse_pem(certificate).map_err(Refusal::Certificate)?;
        let first = parts.first().ok_or_else(|| Refusal::Certificate("it is empty".to_owned()))?;
        let own = first.parse_x509().map_err(|error| Refusal::Certificate(error.to_string()))?;
        let key = SubjectPublicKeyInfo::from_der(own.public_key().raw);
        let key = key.map_err(|error| Refusal::Certificate(error.to_string()))?;
        self.signed(&leaf("Posthouse handover", now), &key)
    }

    fn check(&self, name: &SanType) -> Result<(), Refusal> {
        match name {
            SanType::DnsName(name) if self.permitted.name(name.as_str()) => Ok(()),
            SanType::IpAddress(address) if self.permitted.address(*address) => Ok(()),
            SanType::DnsName(name) => Err(Refusal::Name(name.as_str().to_owned())),
            SanType::IpAddress(address) => Err(Refusal::Name(address.to_string())),
            other => Err(Refusal::Name(format!("{other:?}"))),
        }
    }

    fn signed(&self, certificate: &CertificateParams, key: &impl PublicKeyData) -> Result<String, Refusal> {
        let of_authority = root_params(&self.key, &self.permitted);
        let issuer = Issuer::from_params(&of_authority, &self.key);
        let signed = certificate.signed_by(key, &issuer);
        signed.map(|certificate| certificate.pem()).map_err(|error| Refusal::Signing(error.to_string()))
    }

    fn keep(&self) -> Result<(), AuthorityError> {
        let text = format!("{}{}", self.key.serialize_pem(), self.certificate);
        keeping::write(&self.path, &text).map_err(|source| AuthorityError::File { path: self.path.clone(), source })
    }
}

fn root(key: &KeyPair, permitted: &Permitted) -> Result<String, rcgen::Error> {
    root_params(key, permitted).self_signed(key).map(|certificate: Certificate| certificate.pem())
}

/// Its times are fixed: a box has no clock of its own at its first start. The end is the last that the shorter of the two forms
/// of time in a certificate can say (RFC 5280, §4.1.2.5).
fn root_params(key: &KeyPair, permitted: &Permitted) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params.serial_number = Some(serial());
    // Unique, so that a phone that trusts several boxes can tell them apart, and a verifier never takes one for another.
    params.distinguished_name = common_name(&format!("Posthouse {}", fingerprint(key).short()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(permitted.constraints());
    params
}

/// All but the names.
fn leaf(title: &str, now: OffsetDateTime) -> CertificateParams {
    let not_before = (now - BACKDATED).max(date_time_ymd(2020, 1, 1));
    // Both ends count (RFC 5280, §4.1.2.5).
    let not_after = not_before + Duration::days(LEAF_DAYS_MAX) - Duration::seconds(1);
    // RFC 5280, appendix A: a common name has at most 64 characters.
    let title: String = title.chars().take(64).collect();
    let mut params = CertificateParams::default();
    params.not_before = not_before;
    params.not_after = not_after.min(date_time_ymd(2049, 12, 31));
    params.serial_number = Some(serial());
    params.distinguished_name = common_name(&title);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Never the same twice: browsers refuse two certificates of one authority with the same number.
fn serial() -> SerialNumber {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system has random numbers");
    // A positive number.
    random[0] &= 0x7f;
    SerialNumber::from_slice(&random)
}

fn fingerprint(key: &KeyPair) -> Fingerprint {
    Fingerprint::from_sha256(Sha256::digest(key.subject_public_key_info()).into())
}

fn parse_pem(text: &str) -> Result<Vec<Pem>, String> {
    let parts = Pem::iter_from_buffer(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    parts.map_err(|error| error.to_string())
}

/// The DNS names that an authority's certificate permits.
fn names_of(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let constraints = certificate.name_constraints().ok().flatten().map(|extension| extension.value);
    let permitted = constraints.and_then(|constraints| constraints.permitted_subtrees.as_ref());
    let names = permitted.into_iter().flatten().filter_map(|subtree| match subtree.base {
        GeneralName::DNSName(name) => Some(name.to_owned()),
        _ => None,
    });
    names.collect()
}
