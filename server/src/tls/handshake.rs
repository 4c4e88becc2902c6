//! The handshake: a client's bytes become a secure stream, or the connection ends.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::Acceptor;
use rustls::{ServerConfig, version};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::Keyring;

/// A stream that others on the network can't read.
pub(super) type SecureStream = TlsStream<TcpStream>;

/// How long a client may take from the first byte to the last of the handshake: four packets on a slow network.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is spoken inside; a client that names something else is turned away (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// Makes secure streams; clones share it.
#[derive(Clone)]
pub struct Handshakes {
    config: Arc<ServerConfig>,
    /// Who may compute now.
    turns: Arc<Semaphore>,
}

/// Why there is no secure stream.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client was too slow.
    #[error("no handshake within {} s", TIMEOUT.as_secs())]
    TooSlow,
    /// What it said was no TLS, or there is no way to understand each other, or it went away.
    #[error("no handshake: {0}")]
    Failed(std::io::Error),
}

impl Handshakes {
    /// With what stands in the keyring when a client comes.
    pub fn new(keyring: Keyring) -> Self {
        let builder = ServerConfig::builder_with_provider(Arc::new(provider()));
        let versions = builder.with_protocol_versions(&[&version::TLS13, &version::TLS12]);
        let versions = versions.expect("the provider has suites for both versions");
        let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::new(keyring));
        config.ignore_client_order = true;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Who comes back after a power cut of the network shows a ticket and needs no signature. The keys of tickets live in this
        // process only, and no longer than some hours.
        match ring::Ticketer::new() {
            Ok(ticketer) => config.ticketer = ticketer,
            Err(error) => tracing::warn!(%error, "clients that come back need a whole handshake"),
        }
        // A client keeps one connection, so it can use one ticket.
        config.send_tls13_tickets = 1;
        // A handshake computes for about a millisecond. One core's worth of them at once, so that a school that comes back does
        // not make those wait who are connected.
        Self { config: Arc::new(config), turns: Arc::new(Semaphore::new(1)) }
    }

    /// Speaks TLS with a client that has connected.
    ///
    /// # Errors
    /// Why that came to nothing; the connection is closed.
    pub async fn accept(&self, stream: TcpStream) -> Result<SecureStream, HandshakeError> {
        match tokio::time::timeout(TIMEOUT, self.negotiate(stream)).await {
            Ok(outcome) => outcome.map_err(HandshakeError::Failed),
            Err(_) => Err(HandshakeError::TooSlow),
        }
    }

    async fn negotiate(&self, stream: TcpStream) -> std::io::Result<SecureStream> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let mut rest = Box::pin(hello.into_stream(Arc::clone(&self.config)));
        let turn = self.turns.acquire().await.expect("it is never closed");
        // Everything that costs is in the answer to the first message. A turn is over with that, so that a client that stops there
        // holds up nobody.
        let answered = futures_util::poll!(rest.as_mut());
        drop(turn);
        match answered {
            std::task::Poll::Ready(outcome) => outcome,
            std::task::Poll::Pending => rest.await,
        }
    }
}

/// ChaCha20-Poly1305 first, for whoever offers it: a Pi 4 has no instructions for AES, and computes this one about three times as
/// quickly.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    let is_chacha = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).contains("CHACHA20");
    provider
        .cipher_suites
        .sort_by_key(|suite| (suite.version().version != rustls::ProtocolVersion::TLSv1_3, !is_chacha(suite)));
    provider
}

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;

    use super::*;

    #[test]
    fn chacha_comes_first_in_each_version() {
        let suites: Vec<_> = provider().cipher_suites.iter().map(rustls::SupportedCipherSuite::suite).collect();
        let first_of_12 = suites.iter().find(|suite| format!("{suite:?}").starts_with("TLS_ECDHE"));
        assert_eq!(suites[0], CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
        assert_eq!(first_of_12, Some(&CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256));
    }
}
