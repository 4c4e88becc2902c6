//! Whether the server is the box's: by the key of the box's authority, and by nothing else. Neither the time nor a name counts: a
//! box may have neither, and an update must not hang on them.

use std::sync::Arc;

use anyhow::Context;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

/// For connections to a server whose key is certified by this authority (PEM; whatever else is in it is passed over).
pub fn config(authority: &[u8]) -> anyhow::Result<ClientConfig> {
    let authority = CertificateDer::from_pem_slice(authority).context("the authority's file has no certificate")?;
    parse(&authority).context("the authority's certificate can't be read")?;
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let versions = builder.with_safe_default_protocol_versions().expect("the provider has suites for both versions");
    let pinned = Arc::new(Pinned { authority, provider });
    Ok(versions.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth())
}

#[derive(Debug)]
struct Pinned {
    authority: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    /// Either the authority has signed the certificate, or another one of the chain with the same key: the owner may have had
    /// that key certified elsewhere, too.
    fn is_certified(&self, shown: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> Option<bool> {
        let authority = parse(&self.authority)?;
        let own = parse(shown)?;
        let is_signed = |certificate: &X509Certificate<'_>| {
            let is_its_key = certificate.public_key().raw == own.public_key().raw;
            is_its_key && certificate.verify_signature(Some(authority.public_key())).is_ok()
        };
        Some(is_signed(&own) || chain.iter().filter_map(|other| parse(other)).any(|other| is_signed(&other)))
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed)
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.is_certified(end_entity, intermediates) {
            Some(true) => Ok(ServerCertVerified::assertion()),
            Some(false) => Err(CertificateError::UnknownIssuer.into()),
            None => Err(CertificateError::BadEncoding.into()),
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
