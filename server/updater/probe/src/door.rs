//! How the probe comes to the server: plain or by TLS, for one HTTP request or for a WebSocket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, WebSocket};

use crate::attempt::Outcome;
use crate::pinned;

/// The longest answer to an HTTP request that is read.
const ANSWER_LEN_MAX: u64 = 64 * 1024;

/// The longest frame that is taken.
const FRAME_LEN_MAX: usize = 1024 * 1024;

/// A way to the server.
pub struct Door {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
}

/// What carries the bytes.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// An answer to an HTTP request.
pub struct Answer {
    pub status: u16,
    /// Its body, where that is JSON.
    pub body: Value,
}

impl Door {
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// To a server whose certificate this authority (PEM) has signed.
    pub fn secure(address: SocketAddr, authority: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { address, tls: Some(Arc::new(pinned::config(authority)?)) })
    }

    fn connect(&self) -> Result<Box<dyn Stream>, Outcome> {
        let failed =
            |error: &dyn std::fmt::Display| Outcome::Failed(format!("connecting to {}: {error}", self.address));
        let stream = TcpStream::connect(self.address).map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        // By an address, so that no name is asked for and none is looked at.
        let name = ServerName::IpAddress(self.address.ip().into());
        let tls = ClientConnection::new(Arc::clone(config), name).map_err(|error| failed(&error))?;
        Ok(Box::new(StreamOwned::new(tls, stream)))
    }

    /// Asks for a path.
    pub fn get(&self, path: &str) -> Result<Answer, Outcome> {
        let mut stream = self.connect()?;
        let failed = |error: std::io::Error| Outcome::Failed(format!("GET {path}: {error}"));
        let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).and_then(|()| stream.flush()).map_err(failed)?;
        let mut answer = Vec::new();
        match stream.take(ANSWER_LEN_MAX).read_to_end(&mut answer) {
            // Not everybody says goodbye behind a whole answer.
            Err(error) if answer.is_empty() => return Err(failed(error)),
            _ => {}
        }
        parse(&answer).ok_or_else(|| Outcome::Failed(format!("GET {path}: the answer is no HTTP")))
    }

    /// Opens a WebSocket.
    pub fn websocket(&self) -> Result<WebSocket<Box<dyn Stream>>, Outcome> {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let request = format!("{scheme}://localhost/ws").into_client_request();
        let mut request = request.expect("the address is a constant");
        let subprotocol = HeaderValue::from_static("posthouse.v1.json");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
        let config =
            WebSocketConfig::default().max_message_size(Some(FRAME_LEN_MAX)).max_frame_size(Some(FRAME_LEN_MAX));
        let opened = tungstenite::client::client_with_config(request, self.connect()?, Some(config));
        opened.map(|(socket, _)| socket).map_err(|error| match error {
            HandshakeError::Failure(tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().and_then(|body| serde_json::from_slice(body).ok());
                let answer = Answer { status: answer.status().as_u16(), body: body.unwrap_or(Value::Null) };
                answer.refusal("the WebSocket was refused")
            }
            HandshakeError::Failure(error) => Outcome::Failed(format!("opening a WebSocket: {error}")),
            // A stream that blocks is never half way.
            HandshakeError::Interrupted(_) => Outcome::Failed("opening a WebSocket: interrupted".to_owned()),
        })
    }
}

impl Answer {
    /// What an answer comes to that is none that was hoped for.
    pub fn refusal(&self, what: &str) -> Outcome {
        let said = [&self.body["error"]["message"], &self.body["reason"], &self.body["status"]];
        let said = said.into_iter().find_map(Value::as_str).unwrap_or("it does not say why");
        let reason = format!("{what} (status {}): {said}", self.status);
        let code = [&self.body["code"], &self.body["error"]["code"]].into_iter().find_map(Value::as_str);
        match (code, self.status) {
            (Some("storage_full"), _) => Outcome::Inconclusive(reason),
            (_, 429 | 503) => Outcome::Later(reason),
            _ => Outcome::Failed(reason),
        }
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: serde_json::from_slice(&answer[end + 4..]).unwrap_or(Value::Null) })
}
