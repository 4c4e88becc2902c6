//! Whether a server is the one that this device knows: by the fingerprint of the box's certificate authority, and by nothing else.
//! No public authority has a say in it.

use std::sync::{Arc, Mutex, PoisonError};

use posthouse_protocol::Fingerprint;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::ServerUrl;

/// What of a server is believed.
#[derive(Debug)]
pub struct Trust {
    verifier: Arc<Verifier>,
}

impl Trust {
    /// That it is the one with the fingerprint that goes with its address.
    pub fn of(server: &ServerUrl) -> Result<Self, String> {
        if server.is_secure() && server.pin().is_none() {
            return Err(format!(
                "this device does not know it yet: log in there first (posthouse login --server {server})"
            ));
        }
        // Where TLS is not spoken nothing is verified.
        Ok(Self { verifier: Arc::new(Verifier::new(server.pin())) })
    }

    /// Whatever it says of itself, as long as it holds together.
    pub fn of_anybody() -> Self {
        Self { verifier: Arc::new(Verifier::new(None)) }
    }

    /// The fingerprint that was shown last.
    pub fn seen(&self) -> Option<Fingerprint> {
        self.verifier.outcome().seen
    }

    /// The reason for an error, for people: what was wrong with the server's certificate, or else what the network said.
    pub fn explain(&self, said: String) -> String {
        self.verifier.outcome().refusal.clone().unwrap_or(said)
    }

    /// For connections.
    pub fn config(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.verifier.provider));
        let versions =
            builder.with_safe_default_protocol_versions().expect("the provider has suites for both versions");
        let verifier = Arc::clone(&self.verifier) as Arc<dyn ServerCertVerifier>;
        versions.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    }
}

#[derive(Debug)]
struct Verifier {
    /// Without one, the authority at the end of the chain is believed.
    pin: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
    outcome: Mutex<Outcome>,
}

#[derive(Debug, Default)]
struct Outcome {
    seen: Option<Fingerprint>,
    refusal: Option<String>,
}

impl Verifier {
    fn new(pin: Option<Fingerprint>) -> Self {
        Self { pin, provider: Arc::new(ring::default_provider()), outcome: Mutex::default() }
    }

    fn outcome(&self) -> std::sync::MutexGuard<'_, Outcome> {
        // Every change leaves it whole, so that a panic elsewhere does not matter.
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The box's authority, out of what the server sends.
    fn authority<'a>(&self, chain: &'a [CertificateDer<'a>]) -> Result<&'a CertificateDer<'a>, String> {
        let last = chain.last().ok_or("it shows a certificate that no Posthouse box has signed")?;
        let shown = fingerprint(last)?;
        self.outcome().seen = Some(shown);
        let Some(pin) = self.pin else { return Ok(last) };
        let is_pinned = |certificate: &&CertificateDer<'_>| fingerprint(certificate).is_ok_and(|found| found == pin);
        chain.iter().find(is_pinned).ok_or_else(|| {
            format!(
                "this is NOT the box that this device knows: its key is another. Known: {pin}. Shown: {shown}. Somebody may be \
                 listening in; if the box was reset, make this device forget it first (posthouse trust forget)"
            )
        })
    }

    /// Either the authority has signed the certificate, or it has signed, without a name, that the certificate's key is the box's
    /// (a handover): then the names in it are those that the box's owner has had certified elsewhere.
    fn verify(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), String> {
        let authority = self.authority(chain)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned()).map_err(|error| said(&error))?;
        let own = ParsedCertificate::try_from(shown).map_err(|error| said(&error))?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let signed = |certificate: &ParsedCertificate<'_>| {
            verify_server_cert_signed_by_trust_anchor(certificate, &roots, &[], now, algorithms)
        };
        if let Err(error) = signed(&own) {
            let is_handover = |certificate: &&CertificateDer<'_>| {
                let parsed = ParsedCertificate::try_from(*certificate);
                parsed.is_ok_and(|parsed| {
                    parsed.subject_public_key_info() == own.subject_public_key_info() && signed(&parsed).is_ok()
                })
            };
            chain.iter().find(is_handover).ok_or_else(|| said(&error))?;
        }
        verify_server_name(&own, name).map_err(|error| said(&error))
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Result<Fingerprint, String> {
    let parsed = ParsedCertificate::try_from(certificate).map_err(|error| said(&error))?;
    Ok(Fingerprint::from_sha256(Sha256::digest(parsed.subject_public_key_info()).into()))
}

/// For people.
fn said(error: &Error) -> String {
    let Error::InvalidCertificate(reason) = error else { return format!("its certificate can't be trusted: {error}") };
    let why = match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired, as far as this device's clock knows"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, as far as this device's clock knows"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for other names and addresses than this one"
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "the box has not signed it",
        other => return format!("its certificate can't be trusted: {other:?}"),
    };
    format!("its certificate can't be trusted: {why}")
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verify(end_entity, intermediates, server_name, now) {
            Ok(()) => {
                self.outcome().refusal = None;
                Ok(ServerCertVerified::assertion())
            }
            Err(reason) => {
                self.outcome().refusal = Some(reason);
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
