//! The listener: accepts connections, speaks HTTP, and hands upgraded sockets to the connection.
//!
//! Owns the listening sockets and the limits on what comes in through them. Knows the path of the
//! WebSocket; every other request goes to the handler that it was given. The server's composition
//! starts it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_tungstenite::HyperWebsocket;
use hyper_util::rt::{TokioIo, TokioTimer};
use posthouse_protocol::SUBPROTOCOL_JSON;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::connection;
use crate::page;
use crate::router::Router;
use crate::shutdown::Shutdown;

/// Connections at once. 500 people with several devices each, and as many again while a whole site
/// reconnects; each needs a descriptor and some 10 KB.
const CONNECTIONS_MAX: usize = 15_000;

/// A request head must arrive within this time (slow loris).
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest request head and read buffer, in bytes.
const HEADER_LEN_MAX: usize = 16 * 1024;

/// After a failed accept (no descriptors left, say) the next one waits this long, instead of spinning.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// How long connections have to say goodbye when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection that was accepted before the server stops may take to ask and be answered. One
/// that never asks (browsers open some in advance) holds the stop up no longer than this.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_millis(500);

/// Answers every request but the WebSocket's.
pub type Handler = Arc<dyn Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync>;

/// What every connection needs.
#[derive(Clone)]
pub struct Gate {
    router: Option<Router>,
    handler: Handler,
    stopping: Shutdown,
    places: Arc<Semaphore>,
}

impl Gate {
    /// One gate is shared by all listening sockets. Without a router there is no WebSocket.
    pub fn new(router: Option<Router>, handler: Handler, stopping: Shutdown) -> Self {
        Self { router, handler, stopping, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

/// Accepts until the server stops, then waits for the connections to end.
pub async fn serve(listener: TcpListener, gate: Gate) {
    let mut stopping = gate.stopping.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            stream = accept(&listener) => match Arc::clone(&gate.places).try_acquire_owned() {
                Ok(place) => { connections.spawn(serve_stream(stream, place, gate.clone())); }
                Err(_) => turn_away(&stream),
            },
            Some(_) = connections.join_next() => {}
            () = stopping.requested() => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!(left = connections.len(), "connections did not end in time");
    }
}

/// Tells a client that the house is full: better a clear answer than a long wait.
fn turn_away(stream: &TcpStream) {
    // A new socket has room for this; a client that left needs no answer.
    let _ = stream.try_write(
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
}

/// The next connection.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_stream(stream: TcpStream, _place: OwnedSemaphorePermit, gate: Gate) {
    // A chat's frames are small and each is to leave at once.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (upgrade, mut upgraded) = tokio::sync::mpsc::channel(1);
    let service = service_fn(|mut request: Request<Incoming>| {
        let response = respond(&mut request, &gate, &upgrade);
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let http = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_LEN_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut http = std::pin::pin!(http);
    let mut stopping = gate.stopping.clone();
    let result = tokio::select! {
        result = &mut http => result,
        () = stopping.requested() => match tokio::time::timeout(LAST_REQUEST_TIMEOUT, http).await {
            Ok(result) => result,
            Err(_) => return,
        },
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended early");
        return;
    }
    if let (Ok(websocket), Some(router)) = (upgraded.try_recv(), gate.router) {
        serve_websocket(websocket, router, gate.stopping).await;
    }
}

async fn serve_websocket(websocket: HyperWebsocket, router: Router, stopping: Shutdown) {
    match websocket.await {
        Ok(stream) => connection::serve(stream, router, stopping).await,
        Err(error) => tracing::debug!(%error, "an upgrade failed"),
    }
}

fn respond(
    request: &mut Request<Incoming>,
    gate: &Gate,
    upgrade: &tokio::sync::mpsc::Sender<HyperWebsocket>,
) -> Response<Full<Bytes>> {
    if request.uri().path() != "/ws" || gate.router.is_none() {
        return (gate.handler)(request);
    }
    if request.method() != Method::GET || !hyper_tungstenite::is_upgrade_request(request) {
        return page::text(StatusCode::UPGRADE_REQUIRED, "this address speaks WebSocket");
    }
    let asked_for = request.headers().get(SEC_WEBSOCKET_PROTOCOL).cloned();
    if !asked_for.as_ref().is_none_or(names_our_subprotocol) {
        return page::text(StatusCode::BAD_REQUEST, "unknown WebSocket subprotocol: use posthouse.v1.json");
    }
    match hyper_tungstenite::upgrade(request, Some(connection::config())) {
        Ok((mut response, websocket)) => {
            if asked_for.is_some() {
                let chosen = HeaderValue::from_static(SUBPROTOCOL_JSON);
                response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, chosen);
            }
            // The channel has room: an upgraded connection sees no second request.
            let _ = upgrade.try_send(websocket);
            response
        }
        Err(error) => page::text(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

fn names_our_subprotocol(header: &HeaderValue) -> bool {
    header.to_str().is_ok_and(|names| names.split(',').any(|name| name.trim() == SUBPROTOCOL_JSON))
}
