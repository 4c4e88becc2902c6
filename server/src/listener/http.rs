//! One HTTP connection's requests, and where each goes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use hyper_tungstenite::HyperWebsocket;
use posthouse_protocol::appliance::PlainHttp;
use posthouse_protocol::{
    EVENTS_PATH, ErrorBody, ErrorCode, NoRoute, RPC_PATH, Route, SUBPROTOCOL_JSON, WEBSOCKET_PATH,
};
use tokio::sync::mpsc;

use super::{Carrier, Gate, House, Visit, hosts, posted};
use crate::admission::Visitor;
use crate::connection::{self, EventBody, Opening};
use crate::router::Router;
use crate::{cookie, page};

/// A whole answer, or one that goes on.
pub(super) type Body = Either<Full<Bytes>, EventBody>;

/// Keeps nginx, where somebody has put one in front, from holding events back.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Where programs find what is wrong with a request in a frame.
const API_PATHS: &str = "/api/";

/// The last event that a browser got before it lost its stream (WHATWG HTML, §9.2.4).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What came out of a request that opened a WebSocket.
pub(super) type Upgraded = (HyperWebsocket, Opening, Router);

/// What answers the requests of one connection.
pub(super) struct Door {
    gate: Gate,
    visitor: Arc<Visitor>,
    carrier: Carrier,
    /// The address that the client has come to.
    at: IpAddr,
    upgrade: mpsc::Sender<Upgraded>,
    /// Whether a request is under way, or an event stream.
    pub is_answering: AtomicBool,
}

impl Door {
    /// A door, and where a WebSocket comes out if one goes in.
    pub fn new(gate: Gate, visitor: Visitor, carrier: Carrier, at: IpAddr) -> (Self, mpsc::Receiver<Upgraded>) {
        let (upgrade, upgraded) = mpsc::channel(1);
        let visitor = Arc::new(visitor);
        (Self { gate, visitor, carrier, at, upgrade, is_answering: AtomicBool::new(false) }, upgraded)
    }

    /// Who stands at this door.
    pub fn visitor(&self) -> Arc<Visitor> {
        Arc::clone(&self.visitor)
    }

    /// Answers one request.
    pub async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        let Some(house) = &self.gate.house else { return self.handled(request).await };
        if let Some(refused) = self.refuse_stranger(&request, house) {
            return whole(refused);
        }
        if let Some(refused) = self.refuse_elsewhere(&request) {
            return whole(refused);
        }
        let opens_session = match request.uri().path() {
            WEBSOCKET_PATH => Self::websocket,
            EVENTS_PATH => Self::events,
            RPC_PATH => {
                self.is_answering.store(true, Ordering::Relaxed);
                let answer = self.posted(request, house).await;
                self.is_answering.store(false, Ordering::Relaxed);
                return whole(answer);
            }
            _ => return self.handled(request).await,
        };
        match self.refuse_session(house) {
            None => opens_session(self, &mut request, house.router.clone(), None),
            // The probe of a release on trial comes in where nobody else does; the router tells them apart.
            Some(refused) if self.may_be_probe(house) && request.uri().path() == WEBSOCKET_PATH => {
                self.websocket(&mut request, house.router.clone(), Some(refused))
            }
            Some(refused) => whole(page::error(StatusCode::FORBIDDEN, &refused)),
        }
    }

    async fn handled(&self, request: Request<Incoming>) -> Response<Body> {
        self.visitor.served();
        self.is_answering.store(true, Ordering::Relaxed);
        let visit = Visit { visitor: self.visitor(), carrier: self.carrier };
        let answer = (self.gate.handler)(request, visit).await;
        self.is_answering.store(false, Ordering::Relaxed);
        whole(answer)
    }

    async fn posted(&self, request: Request<Incoming>, house: &House) -> Response<Full<Bytes>> {
        if let Some(refused) = self.refuse_session(house) {
            return page::error(StatusCode::FORBIDDEN, &refused);
        }
        match posted::answer(request, &self.gate.streams).await {
            Ok(answer) => {
                self.visitor.served();
                answer
            }
            Err(refused) => refused,
        }
    }

    fn websocket(
        &self,
        request: &mut Request<Incoming>,
        router: Router,
        closed_to_others: Option<ErrorBody>,
    ) -> Response<Body> {
        if !hyper_tungstenite::is_upgrade_request(request) {
            return whole(page::text(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket"));
        }
        let asked_for = request.headers().get(SEC_WEBSOCKET_PROTOCOL).cloned();
        if !asked_for.as_ref().is_none_or(names_our_subprotocol) {
            let line = "unknown WebSocket subprotocol: use posthouse.v1.json";
            return whole(page::text(StatusCode::BAD_REQUEST, line));
        }
        let cookie = cookie::token(request.headers(), self.carrier);
        let opening = Opening { resume: None, cookie, closed_to_others };
        match hyper_tungstenite::upgrade(request, Some(connection::config())) {
            Ok((mut response, websocket)) => {
                if asked_for.is_some() {
                    let chosen = HeaderValue::from_static(SUBPROTOCOL_JSON);
                    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
                }
                // The channel has room: an upgraded connection sees no second request.
                let _ = self.upgrade.try_send((websocket, opening, router));
                whole(response)
            }
            Err(error) => whole(page::text(StatusCode::BAD_REQUEST, &error.to_string())),
        }
    }

    fn events(
        &self,
        request: &mut Request<Incoming>,
        router: Router,
        closed_to_others: Option<ErrorBody>,
    ) -> Response<Body> {
        self.is_answering.store(true, Ordering::Relaxed);
        let stopping = self.gate.stopping.clone();
        let resume = request.headers().get(LAST_EVENT_ID).and_then(|id| connection::resume_from(id.to_str().ok()?));
        let cookie = cookie::token(request.headers(), self.carrier);
        let opening = Opening { resume, cookie, closed_to_others };
        let (body, session) = connection::serve_events(&self.gate.streams, opening, self.visitor(), router, stopping);
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

    /// A page of another site must not speak to this server through its visitor's browser. A browser says whose page
    /// asks (RFC 6454) unless that only wants to see one of ours; other programs say nothing.
    fn refuse_stranger(&self, request: &Request<Incoming>, house: &House) -> Option<Response<Full<Bytes>>> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !hosts::is_ours(host, &house.names.borrow(), self.at) {
            let line = "this box has another name; the owner can add this one to \"names\" in posthouse.toml";
            return Some(page::text(StatusCode::MISDIRECTED_REQUEST, line));
        }
        let origin = request.headers().get(ORIGIN)?.to_str().unwrap_or_default();
        let is_to_be_seen = matches!(*request.method(), Method::GET | Method::HEAD)
            && ![WEBSOCKET_PATH, EVENTS_PATH, RPC_PATH].contains(&request.uri().path());
        if is_to_be_seen || hosts::is_same_origin(origin, host, self.carrier) {
            return None;
        }
        Some(posted::refusal(StatusCode::FORBIDDEN, ErrorCode::BadRequest, "this page belongs to another site"))
    }

    /// What is not in the list of routes is answered here, and reaches nobody.
    fn refuse_elsewhere(&self, request: &Request<Incoming>) -> Option<Response<Full<Bytes>>> {
        let path = request.uri().path();
        let nowhere = Route::of(request.method().as_str(), path).err()?;
        self.visitor.served();
        let (status, code, line, allowed) = match nowhere {
            NoRoute::Path => (StatusCode::NOT_FOUND, ErrorCode::NotFound, "not found".to_owned(), None),
            NoRoute::Method(allowed) => {
                (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::BadRequest, format!("only {allowed}"), Some(allowed))
            }
        };
        let is_for_programs = path.starts_with(API_PATHS);
        let mut response =
            if is_for_programs { posted::refusal(status, code, &line) } else { page::text(status, &line) };
        if let Some(allowed) = allowed.and_then(|allowed| HeaderValue::try_from(allowed).ok()) {
            response.headers_mut().insert(ALLOW, allowed);
        }
        Some(response)
    }

    /// Where there is no session to be had, nor any other answer than why.
    fn refuse_session(&self, house: &House) -> Option<ErrorBody> {
        if house.router.owner().borrow().is_none() {
            let message = "nobody owns this box yet: claim it first, at /claim or with `posthouse claim`";
            return Some(ErrorBody::new(ErrorCode::Unclaimed, message));
        }
        if self.carrier == Carrier::Plain && house.plain_http == PlainHttp::Refused {
            let message = "this box wants its messages protected: use https://";
            return Some(ErrorBody::new(ErrorCode::Forbidden, message));
        }
        None
    }

    fn may_be_probe(&self, house: &House) -> bool {
        house.router.admits_probe() && self.visitor.is_local()
    }
}

fn whole(response: Response<Full<Bytes>>) -> Response<Body> {
    response.map(Either::Left)
}

fn names_our_subprotocol(header: &HeaderValue) -> bool {
    header.to_str().is_ok_and(|names| names.split(',').any(|name| name.trim() == SUBPROTOCOL_JSON))
}
