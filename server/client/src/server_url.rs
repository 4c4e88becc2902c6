//! A server's address as people write it.

use std::str::FromStr;

use posthouse_protocol::{EVENTS_PATH, RPC_PATH, WEBSOCKET_PATH};
use serde::{Deserialize, Serialize};

/// `http://HOST[:PORT]`; the scheme may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl {
    authority: String,
}

impl ServerUrl {
    /// Where the WebSocket is.
    pub(crate) fn websocket(&self) -> String {
        format!("ws://{}{WEBSOCKET_PATH}", self.authority)
    }

    /// Where the event stream is.
    pub(crate) fn events(&self) -> String {
        format!("http://{}{EVENTS_PATH}", self.authority)
    }

    /// Where the requests of an event stream's session go.
    pub(crate) fn rpc(&self) -> String {
        format!("http://{}{RPC_PATH}", self.authority)
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let text = text.trim();
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Err(ServerUrlError::Scheme(scheme.to_owned())),
            None => text,
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\".contains(c);
        if authority.is_empty() || authority.contains(odd) {
            return Err(ServerUrlError::Address(text.to_owned()));
        }
        Ok(Self { authority: authority.to_owned() })
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = ServerUrlError;

    fn try_from(text: String) -> Result<Self, ServerUrlError> {
        text.parse()
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.to_string()
    }
}

/// Why a text is no server's address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerUrlError {
    /// A scheme that this client doesn't speak.
    #[error("{0}:// is not supported: write http://HOST:PORT")]
    Scheme(String),
    /// Not a host with an optional port.
    #[error("{0:?} is no server address: write http://HOST:PORT")]
    Address(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for text in ["http://box.local:8080", "box.local:8080", " http://box.local:8080/ "] {
            let url: ServerUrl = text.parse().expect(text);
            assert_eq!(url.to_string(), "http://box.local:8080");
            assert_eq!(url.websocket(), "ws://box.local:8080/ws");
        }
        assert!("http://[::1]:8080".parse::<ServerUrl>().is_ok());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!("ftp://box".parse::<ServerUrl>(), Err(ServerUrlError::Scheme("ftp".to_owned())));
        for bad in ["", "http://", "http://a/b", "a b", "user@host"] {
            assert!(matches!(bad.parse::<ServerUrl>(), Err(ServerUrlError::Address(_))), "{bad}");
        }
    }
}
