//! The listener: accepts connections, speaks HTTP, and hands what opens a session to the connection.
//!
//! Owns the listening sockets, plain ones and those where clients speak TLS first. Knows the paths of the two transports; every other request goes to the handler
//! that it was given. Who may come in is admission's to say. The server's composition starts it.

mod accepting;
#[cfg(test)]
mod fuzz;
mod hosts;
mod http;
mod posted;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use posthouse_protocol::appliance::PlainHttp;
use posthouse_protocol::limits;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admission::{Admission, Visitor};
use crate::connection::{self, Streams};
use crate::names::Names;
use crate::router::Router;
use crate::shutdown::{self, Shutdown};
use crate::tls::Handshakes;
use accepting::Accepting;
use http::{Door, Upgraded};

/// A request head must arrive within this time (slow loris).
const HEADER_TIMEOUT: Duration = Duration::from_secs(limits::HTTP_READ_TIMEOUT_S);

/// Longest request head and read buffer, in bytes.
const HEADER_LEN_MAX: usize = 16 * 1024;

/// How long a connection that was accepted before the server stops may take to ask and be answered. One
/// that never asks (browsers open some in advance) holds the stop up no longer than this.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_millis(500);

/// Answers every request that opens no session.
pub type Handler = Arc<dyn Fn(Request<Incoming>, Visit) -> BoxFuture<'static, Response<Full<Bytes>>> + Send + Sync>;

/// Who makes a request, and how.
#[derive(Clone)]
pub struct Visit {
    /// The connection's place.
    pub visitor: Arc<Visitor>,
    /// What carries it.
    pub carrier: Carrier,
}

/// What a box has that can chat.
#[derive(Clone)]
pub struct House {
    /// What sessions talk to.
    pub router: Router,
    /// What requests may be for.
    pub names: watch::Receiver<Names>,
    /// Whether sessions may be opened without TLS.
    pub plain_http: PlainHttp,
}

/// What every connection needs.
#[derive(Clone)]
pub struct Gate {
    house: Option<House>,
    admission: Admission,
    handler: Handler,
    stopping: Shutdown,
    streams: Streams,
}

impl Gate {
    /// One gate is shared by all listening sockets. Without a house there is only the handler.
    pub fn new(house: Option<House>, admission: Admission, handler: Handler, stopping: Shutdown) -> Self {
        Self { house, admission, handler, stopping, streams: Streams::default() }
    }
}

/// What carries a connection's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TCP alone: others on the network can read along.
    Plain,
    /// TLS.
    Secure,
}

/// How clients come in at a listening socket.
#[derive(Clone)]
pub enum Entrance {
    /// As they are.
    Plain,
    /// After a handshake.
    Secure(Handshakes),
}

/// Accepts until the server stops, then waits for the connections to end.
pub async fn serve(listener: TcpListener, entrance: Entrance, gate: Gate) {
    let mut stopping = gate.stopping.clone();
    let mut connections = JoinSet::new();
    let mut accepting = Accepting::new();
    loop {
        tokio::select! {
            (stream, from) = accepting.next(&listener) => match gate.admission.enter(from.ip(), Instant::now()) {
                Ok(visitor) => { connections.spawn(serve_stream(stream, entrance.clone(), visitor, gate.clone())); }
                Err(reason) => { accepting.turn_away(stream, reason).map(|farewell| connections.spawn(farewell)); }
            },
            Some(_) = connections.join_next() => {}
            () = stopping.requested() => break,
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(shutdown::DRAIN, drained).await.is_err() {
        tracing::warn!(left = connections.len(), "connections did not end in time");
    }
}

async fn serve_stream(stream: TcpStream, entrance: Entrance, visitor: Visitor, gate: Gate) {
    // A chat's frames are small and each is to leave at once.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(at) = stream.local_addr().map(|at| at.ip()) else { return };
    match entrance {
        Entrance::Plain => converse(stream, Carrier::Plain, at, visitor, gate).await,
        Entrance::Secure(handshakes) => {
            // Boxed, as in `converse`: what a handshake takes is gone after it.
            let Some(conversation) = Box::pin(secure(stream, handshakes, at, visitor, gate)).await else { return };
            conversation.await;
        }
    }
}

/// The handshake, and after it what `converse` makes.
async fn secure(
    stream: TcpStream,
    handshakes: Handshakes,
    at: IpAddr,
    visitor: Visitor,
    gate: Gate,
) -> Option<impl Future<Output = ()> + Send> {
    let mut stopping = gate.stopping.clone();
    let accepted = tokio::select! {
        accepted = handshakes.accept(stream) => accepted,
        () = stopping.requested() => return None,
    };
    // Its visitor leaves without having been served: the address pays for it.
    let stream = accepted.inspect_err(|error| tracing::debug!(%error, "a client did not get in")).ok()?;
    Some(converse(stream, Carrier::Secure, at, visitor, gate))
}

/// HTTP first and, where a WebSocket came out of it, its session, over whatever carries the bytes. Each is boxed, and nothing else
/// is held while a session goes on: one that is idle for hours keeps none of the memory that its opening took. (Not an async
/// function, which would keep its arguments.)
fn converse<S>(stream: S, carrier: Carrier, at: IpAddr, visitor: Visitor, gate: Gate) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stopping = gate.stopping.clone();
    let http = Box::pin(speak_http(stream, carrier, at, visitor, gate));
    async move {
        let Some(((websocket, opening, router), visitor)) = http.await else { return };
        let session = match websocket.await {
            Ok(stream) => Box::pin(connection::serve_websocket(stream, opening, visitor, router, stopping)),
            Err(error) => return tracing::debug!(%error, "an upgrade failed"),
        };
        session.await;
    }
}

/// Answers somebody who has come to this address, until the connection ends or a request opens a WebSocket.
async fn speak_http<S>(
    stream: S,
    carrier: Carrier,
    at: IpAddr,
    visitor: Visitor,
    gate: Gate,
) -> Option<(Upgraded, Arc<Visitor>)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut stopping = gate.stopping.clone();
    let (door, mut upgraded) = Door::new(gate, visitor, carrier, at);
    let service = service_fn(|request| {
        let answer = door.answer(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_LEN_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stopping.requested() => {
            if door.is_answering.load(Ordering::Relaxed) {
                // What is under way ends by itself: sessions hear of the stop, too.
                connection.as_mut().graceful_shutdown();
                connection.await
            } else {
                match tokio::time::timeout(LAST_REQUEST_TIMEOUT, connection).await {
                    Ok(result) => result,
                    Err(_) => return None,
                }
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended early");
        return None;
    }
    Some((upgraded.try_recv().ok()?, door.visitor()))
}
