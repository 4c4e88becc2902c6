//! One client's connection: a WebSocket on one side, the session and the router on the other.
//!
//! Owns the socket, its time-outs and its close codes. Knows WebSocket and nothing of chat. The
//! listener starts it; it ends with its socket and takes nothing else down.

mod websocket;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use posthouse_protocol::{Event, Push, Restarting, close, limits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::router::{Outbox, Outcome, Router, Verdict, Wire, outbox};
use crate::session::{Action, Running, Session};
use crate::shutdown::Shutdown;
pub use websocket::config;
use websocket::{Frame, Socket};

/// A client that takes no bytes for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// The widest delay that a restart asks of a client, so that all of them come back spread out.
const RESTART_JITTER_MS_MAX: u64 = 1_000;

type Completion = BoxFuture<'static, (Running, Outcome)>;

/// Serves one client until it or the server goes.
pub async fn serve<S>(stream: WebSocketStream<S>, router: Router, mut stopping: Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sender, outbox) = outbox();
    let wire = Wire { origin: router.next_origin(), outbox: sender };
    let origin = wire.origin;
    let mut connection = Connection {
        socket: Socket::new(stream, WRITE_TIMEOUT),
        session: Session::new(Instant::now()),
        router: router.clone(),
        wire,
        outbox,
        running: FuturesUnordered::new(),
        heard: Instant::now(),
    };
    let ended = connection.run(&mut stopping).await;
    // Also where `connect` was still under way: it may have come half way.
    router.disconnect(origin);
    if let Err(Ended::Close(code, reason)) = ended {
        connection.socket.close(code, reason).await;
    }
}

/// Why a connection is over.
enum Ended {
    /// The other side left, or its network did.
    Gone,
    /// This side closes, with code and reason.
    Close(u16, &'static str),
}

struct Connection<S> {
    socket: Socket<S>,
    session: Session,
    router: Router,
    wire: Wire,
    outbox: Outbox,
    running: FuturesUnordered<Completion>,
    /// When the client was last heard of.
    heard: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(&mut self, stopping: &mut Shutdown) -> Result<std::convert::Infallible, Ended> {
        let idle = Duration::from_secs(limits::PING_INTERVAL_S);
        let mut ping_due = tokio::time::interval_at(tokio::time::Instant::now() + idle, idle);
        loop {
            let deadline = self.session.deadline().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            // Past the limit the client's next request waits in the kernel's buffers: backpressure.
            let may_read = self.running.len() < limits::REQUESTS_IN_FLIGHT_MAX;
            // The answer to `connect` comes before the first event.
            let is_connected = self.session.account().is_some();
            tokio::select! {
                frame = self.socket.next(), if may_read => self.on_frame(frame?).await?,
                Some((running, outcome)) = self.running.next() => self.on_outcome(running, outcome).await?,
                event = self.outbox.next(), if is_connected => self.on_event(event).await?,
                _ = ping_due.tick() => self.on_idle(idle).await?,
                () = tokio::time::sleep_until(deadline.into()) => self.on_deadline()?,
                () = stopping.requested() => return self.on_stop().await,
            }
        }
    }

    async fn on_frame(&mut self, frame: Frame) -> Result<(), Ended> {
        self.heard = Instant::now();
        let Frame::Text(text) = frame else { return Ok(()) };
        match self.session.on_frame(&text) {
            Action::Reply(frame) => self.socket.send(frame.into()).await,
            Action::Close(code, reason) => Err(Ended::Close(code, reason)),
            Action::Run(running, call) => {
                let completion = self.router.begin(&self.wire, call).await;
                self.running.push(Box::pin(async move { (running, completion.await) }));
                Ok(())
            }
        }
    }

    async fn on_outcome(&mut self, running: Running, outcome: Outcome) -> Result<(), Ended> {
        let (frame, then) = self.session.on_outcome(running, outcome);
        self.socket.send(frame.into()).await?;
        match then {
            Some(Action::Close(code, reason)) => Err(Ended::Close(code, reason)),
            _ => Ok(()),
        }
    }

    /// Writes all events that wait, then flushes once.
    async fn on_event(&mut self, event: Result<Utf8Bytes, Verdict>) -> Result<(), Ended> {
        let mut frame = event.map_err(|(code, reason)| Ended::Close(code, reason))?;
        loop {
            self.socket.feed(frame).await?;
            match self.outbox.next_now() {
                Some(next) => frame = next,
                None => return self.socket.flush().await,
            }
        }
    }

    async fn on_idle(&mut self, idle: Duration) -> Result<(), Ended> {
        let silence = self.heard.elapsed();
        if silence >= 2 * idle {
            return Err(Ended::Close(close::IDLE, "nothing was heard of the client"));
        }
        if silence >= idle / 2 { self.socket.ping().await } else { Ok(()) }
    }

    fn on_deadline(&mut self) -> Result<(), Ended> {
        match self.session.on_deadline(Instant::now()) {
            Some(Action::Close(code, reason)) => Err(Ended::Close(code, reason)),
            _ => Ok(()),
        }
    }

    /// Answers what is under way, says when to come back, and closes.
    async fn on_stop(&mut self) -> Result<std::convert::Infallible, Ended> {
        while let Some((running, outcome)) = self.running.next().await {
            self.on_outcome(running, outcome).await?;
        }
        let retry_ms = getrandom::u64().unwrap_or_default() % RESTART_JITTER_MS_MAX;
        let event = Push { cursor: None, event: Event::Restarting(Restarting { retry_ms }) };
        let frame = serde_json::to_string(&event).expect("events have string keys");
        self.socket.send(frame.into()).await?;
        Err(Ended::Close(close::RESTARTING, "the server is restarting"))
    }
}
