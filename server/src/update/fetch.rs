//! HTTPS to the update URL: one GET at a time, of a part of a file, with bounds on everything that the other side could stretch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HOST, HeaderMap, IF_RANGE, LOCATION, RANGE,
    USER_AGENT,
};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::clock;

/// How long a connection, and how long an answer's head may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Some of a body has to come within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest head of an answer, in bytes.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// So often a request is sent elsewhere.
const REDIRECTS_MAX: usize = 5;

/// What comes from the update URL, and what keeps it from coming. For people.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The settings.
    #[error("the update URL can't be used: {0}")]
    Url(String),
    /// The settings.
    #[error("the authority of the update URL can't be used: {0}")]
    Authority(String),
    /// The network.
    #[error("{host} can't be reached: {reason}")]
    Unreachable {
        /// Whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// A certificate that nobody vouches for.
    #[error("{host} is not trusted: {reason}")]
    Untrusted {
        /// Whom.
        host: String,
        /// Why.
        reason: String,
    },
    /// An answer that gives nothing.
    #[error("{url} answers with HTTP status {status}")]
    Status {
        /// Asked for.
        url: Uri,
        /// Answered.
        status: u16,
    },
    /// A way round.
    #[error("{0}")]
    Redirect(String),
    /// It broke off.
    #[error("the download broke off: {0}")]
    Broken(String),
    /// It is another file than before.
    #[error("the file at the update URL has changed meanwhile")]
    Changed,
    /// It is no bundle for this box.
    #[error("what the update URL has is not for this box: {0}")]
    NotForUs(String),
}

/// Makes requests.
#[derive(Clone)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
}

/// What came.
pub struct Got {
    /// Where its body begins in the file.
    pub start: u64,
    /// How long the file is, if that was said.
    pub total: Option<u64>,
    /// The server's name for these very bytes, where it is a strong one.
    pub etag: Option<String>,
    body: Incoming,
}

/// A part of a file.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// Its first byte.
    pub from: u64,
    /// Its last one.
    pub to: Option<u64>,
    /// Only if these are still the bytes; else the whole file.
    pub of: Option<&'a str>,
}

impl Fetcher {
    /// Trusts these authorities (PEM), or else the public ones.
    ///
    /// # Errors
    /// Where there is none among them.
    pub fn new(authority: Option<&str>) -> Result<Self, FetchError> {
        let mut roots = RootCertStore::empty();
        match authority {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                let odd = |error: &dyn std::fmt::Display| FetchError::Authority(error.to_string());
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    roots.add(certificate.map_err(|error| odd(&error))?).map_err(|error| odd(&error))?;
                }
                if roots.is_empty() {
                    return Err(odd(&"there is no certificate in it (PEM)"));
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| FetchError::Authority(error.to_string()))?;
        Ok(Self { tls: Arc::new(config.with_root_certificates(roots).with_no_client_auth()) })
    }

    /// A part of the file there, or from its beginning where the server gives no parts or has other bytes now.
    pub async fn get(&self, url: &Uri, part: Part<'_>) -> Result<Got, FetchError> {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask(&url, &part).await?;
            let status = response.status();
            match status {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Got::of(response, &url, part.from),
                // What there is was longer, once.
                StatusCode::RANGE_NOT_SATISFIABLE => return Err(FetchError::Changed),
                status if status.is_redirection() => url = elsewhere(&url, response.headers())?,
                status => return Err(FetchError::Status { url, status: status.as_u16() }),
            }
        }
        Err(FetchError::Redirect(format!("the update URL sends on more than {REDIRECTS_MAX} times")))
    }

    async fn ask(&self, url: &Uri, part: &Part<'_>) -> Result<Response<Incoming>, FetchError> {
        let host = url.host().unwrap_or_default().to_owned();
        let unreachable = |reason: String| FetchError::Unreachable { host: host.clone(), reason };
        let exchange = async {
            let stream = self.connect(&host, url.port_u16().unwrap_or(443)).await?;
            let handshake = http1::Builder::new().max_buf_size(HEAD_LEN_MAX).handshake(TokioIo::new(stream)).await;
            let (mut http, connection) = handshake.map_err(|error| unreachable(error.to_string()))?;
            // It ends with the body; a failure is the body's.
            tokio::spawn(connection);
            let to = part.to.map(|to| to.to_string()).unwrap_or_default();
            let authority = url.authority().map(hyper::http::uri::Authority::as_str).unwrap_or_default();
            let mut request = Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
                .header(HOST, authority)
                .header(USER_AGENT, "posthouse")
                .header(ACCEPT_ENCODING, "identity")
                .header(RANGE, format!("bytes={}-{to}", part.from));
            if let Some(etag) = part.of {
                request = request.header(IF_RANGE, etag);
            }
            let request = request.body(Empty::<Bytes>::new()).map_err(|error| FetchError::Url(error.to_string()))?;
            http.send_request(request).await.map_err(|error| unreachable(error.to_string()))
        };
        let late = |_| Err(unreachable(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())));
        tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(late)
    }

    async fn connect(&self, host: &str, port: u16) -> Result<tokio_rustls::client::TlsStream<TcpStream>, FetchError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| FetchError::Url(error.to_string()))?;
        let unreachable = |error: std::io::Error| {
            let host = host.to_owned();
            FetchError::Unreachable { host, reason: error.to_string() }
        };
        let stream = TcpStream::connect((bare, port)).await.map_err(unreachable)?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.map_err(|error| {
            if error.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>()) {
                return unreachable(error);
            }
            let clock = if clock::is_synchronised() { "" } else { " (no time server has set this box's clock)" };
            FetchError::Untrusted { host: host.to_owned(), reason: format!("{error}{clock}") }
        })
    }
}

impl Got {
    fn of(response: Response<Incoming>, url: &Uri, from: u64) -> Result<Self, FetchError> {
        let headers = response.headers();
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(FetchError::Broken(format!("{url} sends its answer in an encoding that nobody asked for")));
        }
        let (start, total) = if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok()).and_then(range_of);
            range.filter(|(start, _)| *start == from).ok_or_else(|| {
                FetchError::Broken(format!("{url} answers with another part of the file than was asked for"))
            })?
        } else {
            let len = headers.get(CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
            (0, len)
        };
        let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok());
        // A weak one says nothing of the bytes (RFC 9110, §13.1.5).
        let etag = etag.filter(|etag| etag.starts_with('"')).map(str::to_owned);
        Ok(Self { start, total, etag, body: response.into_body() })
    }

    /// More of it; nothing where it has ended.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let frame = tokio::time::timeout(BODY_TIMEOUT, self.body.frame()).await;
            let late = |_| FetchError::Broken(format!("nothing came for {} s", BODY_TIMEOUT.as_secs()));
            match frame.map_err(late)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(FetchError::Broken(error.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// An update URL as somebody writes it, to the file for this machine.
///
/// # Errors
/// Where it is none.
pub fn file_url(url: &str, channel: &str) -> Result<Uri, FetchError> {
    let file = format!("{}/{channel}/{}.phb", url.trim_end_matches('/'), std::env::consts::ARCH);
    let uri: Uri = file.parse().map_err(|_| FetchError::Url(format!("{url:?} is no URL")))?;
    check_scheme(&uri).map(|()| uri)
}

fn check_scheme(url: &Uri) -> Result<(), FetchError> {
    if url.scheme_str() == Some("https") && url.host().is_some_and(|host| !host.is_empty()) {
        return Ok(());
    }
    Err(FetchError::Url(format!("{url} does not begin with https://")))
}

/// Where an answer sends us: only by TLS, whatever it says.
fn elsewhere(from: &Uri, headers: &HeaderMap) -> Result<Uri, FetchError> {
    let odd = || FetchError::Redirect("the update URL sends on to nowhere".to_owned());
    let location = headers.get(LOCATION).and_then(|to| to.to_str().ok()).ok_or_else(odd)?;
    let authority = from.authority().ok_or_else(odd)?;
    let to = if location.contains("://") {
        location.to_owned()
    } else if let Some(other) = location.strip_prefix("//") {
        format!("https://{other}")
    } else if location.starts_with('/') {
        format!("https://{authority}{location}")
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("https://{authority}{folder}/{location}")
    };
    let to: Uri = to.parse().map_err(|_| odd())?;
    let refused = |_| FetchError::Redirect(format!("the update URL sends on to {to}, which is not https"));
    check_scheme(&to).map_err(refused)?;
    Ok(to)
}

/// `bytes FIRST-LAST/TOTAL`.
fn range_of(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_followed_by_tls_only() {
        let from: Uri = "https://updates.example/posthouse/stable/aarch64.phb".parse().expect("a URL");
        let to = |location: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, location.parse().expect("a header"));
            elsewhere(&from, &headers).map(|to| to.to_string())
        };
        assert_eq!(to("https://cdn.example/a.phb").as_deref(), Ok("https://cdn.example/a.phb"));
        assert_eq!(to("/b.phb").as_deref(), Ok("https://updates.example/b.phb"));
        assert_eq!(to("c.phb").as_deref(), Ok("https://updates.example/posthouse/stable/c.phb"));
        assert_eq!(to("//cdn.example/d.phb").as_deref(), Ok("https://cdn.example/d.phb"));
        for odd in ["http://updates.example/a.phb", "ftp://updates.example/a", "file:///etc/passwd", "https://"] {
            assert!(matches!(to(odd), Err(FetchError::Redirect(_))), "{odd}");
        }
        assert!(matches!(elsewhere(&from, &HeaderMap::new()), Err(FetchError::Redirect(_))));
    }

    #[test]
    fn an_update_url_is_https() {
        let url = file_url("https://updates.example/posthouse/", "stable").expect("a URL");
        assert_eq!(url.to_string(), format!("https://updates.example/posthouse/stable/{}.phb", std::env::consts::ARCH));
        for odd in ["http://updates.example", "updates.example", "", "https://", "https://a b"] {
            assert!(matches!(file_url(odd, "stable"), Err(FetchError::Url(_))), "{odd}");
        }
    }

    #[test]
    fn an_authority_is_pem() {
        assert!(Fetcher::new(None).is_ok());
        for odd in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "hello"] {
            assert!(matches!(Fetcher::new(Some(odd)), Err(FetchError::Authority(_))), "{odd}");
        }
    }
}
