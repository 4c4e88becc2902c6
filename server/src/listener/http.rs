//! One HTTP connection's requests, and where each goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_tungstenite::HyperWebsocket;
use posthouse_protocol::{EVENTS_PATH, RPC_PATH, SUBPROTOCOL_JSON, WEBSOCKET_PATH};
use tokio::sync::mpsc;

use super::{Carrier, Gate, posted};
use crate::admission::Visitor;
use crate::connection::{self, EventBody};
use crate::page;
use crate::router::Router;

/// A whole answer, or one that goes on.
pub(super) type Body = Either<Full<Bytes>, EventBody>;

/// Keeps nginx, where somebody has put one in front, from holding events back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The last event that a browser got before it lost its stream (WHATWG HTML, §9.2.4).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

type Upgraded = (HyperWebsocket, Router);

/// What answers the requests of one connection.
pub(super) struct Door {
    gate: Gate,
    visitor: Arc<Visitor>,
    carrier: Carrier,
    upgrade: mpsc::Sender<Upgraded>,
    /// Whether a request is under way, or an event stream.
    pub is_answering: AtomicBool,
}

impl Door {
    /// A door, and where a WebSocket comes out if one goes in.
    pub fn new(gate: Gate, visitor: Visitor, carrier: Carrier) -> (Self, mpsc::Receiver<Upgraded>) {
        let (upgrade, upgraded) = mpsc::channel(1);
        let visitor = Arc::new(visitor);
        (Self { gate, visitor, carrier, upgrade, is_answering: AtomicBool::new(false) }, upgraded)
    }

    /// Who stands at this door.
    pub fn visitor(&self) -> Arc<Visitor> {
        Arc::clone(&self.visitor)
    }

    /// Answers one request.
    pub async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let Some(router) = &self.gate.router else { return whole((self.gate.handler)(&request)) };
        let opens_session = match request.uri().path() {
            WEBSOCKET_PATH => Self::websocket,
            EVENTS_PATH => Self::events,
            RPC_PATH => {
                self.is_answering.store(true, Ordering::Relaxed);
                let answer = self.posted(request).await;
                self.is_answering.store(false, Ordering::Relaxed);
                return whole(answer);
            }
            _ => {
                self.visitor.served();
                return whole((self.gate.handler)(&request));
            }
        };
        match refuse_foreign(&request, self.carrier) {
            None => opens_session(self, &mut request, router.clone()),
            Some(refused) => whole(refused),
        }
    }

    async fn posted(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if let Some(refused) = refuse_foreign(&request, self.carrier) {
            return refused;
        }
        match posted::answer(request, &self.gate.streams).await {
            Ok(answer) => {
                self.visitor.served();
                answer
            }
            Err(refused) => refused,
        }
    }

    fn websocket(&self, request: &mut Request<Incoming>, router: Router) -> Response<Body> {
        if request.method() != Method::GET || !hyper_tungstenite::is_upgrade_request(request) {
            return whole(page::text(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket"));
        }
        let asked_for = request.headers().get(SEC_WEBSOCKET_PROTOCOL).cloned();
        if !asked_for.as_ref().is_none_or(names_our_subprotocol) {
            let line = "unknown WebSocket subprotocol: use posthouse.v1.json";
            return whole(page::text(StatusCode::BAD_REQUEST, line));
        }
        match hyper_tungstenite::upgrade(request, Some(connection::config())) {
            Ok((mut response, websocket)) => {
                if asked_for.is_some() {
                    let chosen = HeaderValue::from_static(SUBPROTOCOL_JSON);
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
                }
                // The channel has room: an upgraded connection sees no second request.
                let _ = self.upgrade.try_send((websocket, router));
                whole(response)
            }
            Err(error) => whole(page::text(StatusCode::BAD_REQUEST, &error.to_string())),
        }
    }

    fn events(&self, request: &mut Request<Incoming>, router: Router) -> Response<Body> {
        if request.method() != Method::GET {
            return whole(page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET"));
        }
        self.is_answering.store(true, Ordering::Relaxed);
        let stopping = self.gate.stopping.clone();
        let resume = request.headers().get(LAST_EVENT_ID).and_then(|id| connection::resume_from(id.to_str().ok()?));
        let (body, session) = connection::serve_events(&self.gate.streams, resume, self.visitor(), router, stopping);
        // It ends with its body, which this connection holds.
        tokio::spawn(session);
        let mut response = Response::new(Either::Right(body));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        response
    }
}

fn whole(response: Response<Full<Bytes>>) -> Response<Body> {
    response.map(Either::Left)
}

/// A page of another site must not speak to this server through its visitor's browser. A browser says whose page
/// asks (RFC 6454); other programs say nothing.
fn refuse_foreign(request: &Request<Incoming>, carrier: Carrier) -> Option<Response<Full<Bytes>>> {
    let origin = request.headers().get(ORIGIN)?;
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if is_ours(origin.to_str().unwrap_or_default(), carrier, host.unwrap_or_default()) {
        return None;
    }
    Some(posted::refusal(StatusCode::FORBIDDEN, "this page belongs to another site"))
}

/// Whether the page came from the host that is asked now. A page that others could have changed on its way has no say in what
/// they can't read; where this server speaks plainly, a proxy in front of it may have spoken TLS.
fn is_ours(origin: &str, carrier: Carrier, host: &str) -> bool {
    let authority = match (origin.strip_prefix("https://"), carrier) {
        (None, Carrier::Plain) => origin.strip_prefix("http://"),
        (authority, _) => authority,
    };
    !host.is_empty() && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn names_our_subprotocol(header: &HeaderValue) -> bool {
    header.to_str().is_ok_and(|names| names.split(',').any(|name| name.trim() == SUBPROTOCOL_JSON))
}

#[cfg(test)]
mod tests {
    use super::{Carrier, is_ours};

    #[test]
    fn only_a_page_of_this_host_may_ask() {
        for (origin, host) in [
            ("http://posthouse.local", "posthouse.local"),
            ("https://Posthouse.local:8443", "posthouse.local:8443"),
            ("http://[fe80::1]:8080", "[fe80::1]:8080"),
        ] {
            assert!(is_ours(origin, Carrier::Plain, host), "{origin} at {host}");
            assert_eq!(is_ours(origin, Carrier::Secure, host), origin.starts_with("https"), "{origin} at {host}");
        }
        for (origin, host) in [
            ("http://evil.example", "posthouse.local"),
            ("http://posthouse.local.evil.example", "posthouse.local"),
            ("http://posthouse.local:81", "posthouse.local"),
            ("null", "posthouse.local"),
            ("", "posthouse.local"),
            ("http://", ""),
            ("file://posthouse.local", "posthouse.local"),
        ] {
            assert!(!is_ours(origin, Carrier::Plain, host), "{origin} at {host}");
        }
    }
}
