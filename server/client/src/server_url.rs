//! A server's address as people write it.

use std::str::FromStr;

use posthouse_protocol::{EVENTS_PATH, Fingerprint, RPC_PATH, WEBSOCKET_PATH};
use serde::{Deserialize, Serialize};

/// `http://HOST[:PORT]` or `https://HOST[:PORT]`; without a scheme it is the former. It may carry the fingerprint by which the
/// server is known, which is no part of its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl {
    is_secure: bool,
    authority: String,
    pin: Option<Fingerprint>,
}

impl ServerUrl {
    /// Whether others on the network can't read what is said there.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Host and port, as they were written.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The same server, which has to show that it is the one with this fingerprint.
    #[must_use]
    pub fn pinned(self, pin: Fingerprint) -> Self {
        Self { pin: Some(pin), ..self }
    }

    /// By which it is known.
    pub fn pin(&self) -> Option<Fingerprint> {
        self.pin
    }

    /// The host alone, an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.authority,
        };
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Where to connect to.
    pub(crate) fn port(&self) -> u16 {
        let port = self.authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        port.unwrap_or(if self.is_secure { 443 } else { 80 })
    }

    /// Where the WebSocket is.
    pub(crate) fn websocket(&self) -> String {
        let scheme = if self.is_secure { "wss" } else { "ws" };
        format!("{scheme}://{}{WEBSOCKET_PATH}", self.authority)
    }

    /// Where the event stream is.
    pub(crate) fn events(&self) -> String {
        format!("{self}{EVENTS_PATH}")
    }

    /// Where the requests of an event stream's session go.
    pub(crate) fn rpc(&self) -> String {
        format!("{self}{RPC_PATH}")
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(text: &str) -> Result<Self, ServerUrlError> {
        let text = text.trim();
        let (is_secure, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(ServerUrlError::Scheme(scheme.to_owned())),
            None => (false, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@\\".contains(c);
        if authority.is_empty() || authority.contains(odd) {
            return Err(ServerUrlError::Address(text.to_owned()));
        }
        Ok(Self { is_secure, authority: authority.to_owned(), pin: None })
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
    #[error("{0}:// is not supported: write https://HOST or http://HOST:PORT")]
    Scheme(String),
    /// Not a host with an optional port.
    #[error("{0:?} is no server address: write https://HOST or http://HOST:PORT")]
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
    fn host_and_port_are_told_apart() {
        for (text, host, port) in [
            ("https://box.local", "box.local", 443),
            ("box.local", "box.local", 80),
            ("https://192.0.2.1:8443", "192.0.2.1", 8443),
            ("https://[fd00::1]", "fd00::1", 443),
            ("https://[fd00::1]:8443/", "fd00::1", 8443),
        ] {
            let url: ServerUrl = text.parse().expect(text);
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert_eq!("ftp://box".parse::<ServerUrl>(), Err(ServerUrlError::Scheme("ftp".to_owned())));
        for bad in ["", "http://", "http://a/b", "a b", "user@host"] {
            assert!(matches!(bad.parse::<ServerUrl>(), Err(ServerUrlError::Address(_))), "{bad}");
        }
    }
}
