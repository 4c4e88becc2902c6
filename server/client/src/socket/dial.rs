//! Opens a stream of bytes to a server, plain or secure.

use std::net::SocketAddr;
use std::sync::Arc;

use posthouse_protocol::Fingerprint;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::CONNECT_TIMEOUT;
use super::verifier::Trust;
use crate::{ServerUrl, discover};

/// Whatever carries the bytes.
pub trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

pub type Stream = Box<dyn Bytes>;

/// Errors say, for people, why there is no stream.
pub async fn dial(server: &ServerUrl) -> Result<Stream, String> {
    let stream = connect(server).await?;
    if !server.is_secure() {
        return Ok(Box::new(stream));
    }
    Ok(Box::new(secure(server, stream, &Trust::of(server)?).await?))
}

/// The fingerprint that a server shows, whoever it is: for somebody to compare with the one on the box.
///
/// # Errors
/// Why there is none, for people.
pub async fn fingerprint_of(server: &ServerUrl) -> Result<Fingerprint, String> {
    let trust = Trust::of_anybody();
    let look = async { secure(server, connect(server).await?, &trust).await };
    let late = |_| Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()));
    tokio::time::timeout(CONNECT_TIMEOUT, look).await.unwrap_or_else(late)?;
    trust.seen().ok_or_else(|| "it has shown no certificate".to_owned())
}

async fn connect(server: &ServerUrl) -> Result<TcpStream, String> {
    let addresses = addresses(server.host(), server.port()).await?;
    let stream = TcpStream::connect(&addresses[..]).await.map_err(|error| error.to_string())?;
    // Frames are small and each is to leave at once: no Nagle.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

/// Where a host is. Many systems don't ask the network for names that end in `.local`, so that this asks, too.
async fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if !host.trim_end_matches('.').to_ascii_lowercase().ends_with(".local") {
        return Ok(lookup_host((host, port)).await.map_err(|error| error.to_string())?.collect());
    }
    tokio::select! {
        Ok(found) = lookup_host((host, port)) => Ok(found.collect()),
        Some(found) = discover::addresses_of(host, port) => Ok(found),
        else => Err(format!("nobody on this network is called {host}")),
    }
}

async fn secure(server: &ServerUrl, stream: TcpStream, trust: &Trust) -> Result<impl Bytes + use<>, String> {
    let name = ServerName::try_from(server.host().to_owned()).map_err(|error| error.to_string())?;
    let connected = TlsConnector::from(Arc::new(trust.config())).connect(name, stream).await;
    connected.map_err(|error| trust.explain(error.to_string()))
}
