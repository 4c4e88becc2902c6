//! What a connection is made of below the protocol: texts out, texts in, and why it ended.

mod dial;
mod event_stream;
mod lines;
mod verifier;
mod websocket;

use std::str::FromStr;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::ServerUrl;
use crate::alive::Heard;
use event_stream::EventStream;
use websocket::WebSocket;

pub(crate) use dial::dial;
pub use dial::fingerprint_of;

/// A server on the local network answers within this time or is not there.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How a client reaches its server. Both ways carry the same protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// One socket for everything.
    #[default]
    WebSocket,
    /// Server-sent events, and a POST for each request: where something on the way refuses WebSockets.
    EventStream,
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "websocket" => Ok(Self::WebSocket),
            "sse" => Ok(Self::EventStream),
            _ => Err("websocket or sse".to_owned()),
        }
    }
}

/// Why there is no way to the server.
#[derive(Debug)]
pub(crate) struct NotOpened {
    /// For people.
    pub reason: String,
    /// What a server that is too busy asks for.
    pub retry_after_ms: Option<u64>,
}

impl From<String> for NotOpened {
    fn from(reason: String) -> Self {
        Self { reason, retry_after_ms: None }
    }
}

/// An open way to a server. Errors say, for people, why there is none or no more.
pub(crate) enum Socket {
    WebSocket(Box<WebSocket>),
    EventStream(Box<EventStream>),
}

impl Socket {
    /// `heard` is told of all that comes, also of what makes no whole text yet.
    pub async fn open(server: &ServerUrl, transport: Transport, heard: Heard) -> Result<Self, NotOpened> {
        let open = async {
            Ok(match transport {
                Transport::WebSocket => Self::WebSocket(Box::new(WebSocket::open(server, heard).await?)),
                Transport::EventStream => Self::EventStream(Box::new(EventStream::open(server, heard).await?)),
            })
        };
        let late = |_| Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()).into());
        tokio::time::timeout(CONNECT_TIMEOUT, open).await.unwrap_or_else(late)
    }

    /// A WebSocket whose bytes go where the test says.
    #[cfg(test)]
    pub async fn over(stream: impl dial::Bytes + 'static, heard: Heard) -> Self {
        Self::WebSocket(Box::new(WebSocket::over(Box::new(stream), heard).await))
    }

    /// Sends a text. Texts arrive in their order.
    pub async fn send(&mut self, text: Utf8Bytes) -> Result<(), String> {
        match self {
            Self::WebSocket(socket) => socket.send(text).await,
            Self::EventStream(stream) => stream.send(text).await,
        }
    }

    /// Sends a text that is only to bring an answer, behind nothing that waits for its own. The answer may come as a text or
    /// not, but is heard.
    pub async fn ping(&mut self, text: Utf8Bytes) -> Result<(), String> {
        match self {
            Self::WebSocket(socket) => socket.send(text).await,
            Self::EventStream(stream) => {
                stream.ping(text);
                Ok(())
            }
        }
    }

    /// Whether the server hears of a client that asks nothing: the other end of a WebSocket answers its pings by itself.
    pub fn shows_itself(&self) -> bool {
        match self {
            Self::WebSocket(_) => true,
            Self::EventStream(_) => false,
        }
    }

    /// The next text. Safe to drop before it is ready.
    pub async fn next(&mut self) -> Result<Utf8Bytes, String> {
        match self {
            Self::WebSocket(socket) => socket.next().await,
            Self::EventStream(stream) => stream.next().await,
        }
    }

    /// Says goodbye where the transport can.
    pub async fn close(&mut self) {
        if let Self::WebSocket(socket) = self {
            socket.close().await;
        }
    }
}

/// Why the server closed, for people.
fn closed(code: u16, reason: &str) -> String {
    if reason.is_empty() { format!("close code {code}") } else { format!("{reason} (close code {code})") }
}

/// An answer that is no open way. `Retry-After` in seconds is the only form that a Posthouse server uses.
fn refused_with(status: u16, headers: &HeaderMap) -> NotOpened {
    let retry_after_s = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
    NotOpened { reason: wrong_status(status), retry_after_ms: retry_after_s.map(|s| s.saturating_mul(1000)) }
}

fn wrong_status(status: u16) -> String {
    match status {
        429 | 503 => format!("it is too busy now (HTTP status {status}): try again in a few seconds"),
        403 => {
            "it lets nobody in (HTTP status 403): a new box has to be claimed first, with `posthouse claim`".to_owned()
        }
        421 => "it does not go by that name (HTTP status 421)".to_owned(),
        _ => format!("it answered with HTTP status {status}: is it a Posthouse server?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_server_is_asked_again_when_it_said() {
        let mut headers = HeaderMap::new();
        assert_eq!(refused_with(503, &headers).retry_after_ms, None);
        headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let refused = refused_with(503, &headers);
        assert_eq!(refused.retry_after_ms, Some(7_000));
        assert!(refused.reason.contains("too busy"), "{refused:?}");
        headers.insert(RETRY_AFTER, "Fri, 31 Dec 1999 23:59:59 GMT".parse().unwrap());
        assert_eq!(refused_with(429, &headers).retry_after_ms, None);
    }
}
