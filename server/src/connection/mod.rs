//! One client's connection: a transport on one side, the session and the router on the other.
//!
//! Owns the transport, its time-outs and its close codes. Knows WebSocket and event streams and nothing of chat.
//! The listener starts it; it ends with its transport and takes nothing else down.

mod bell;
mod event_stream;
mod transport;
mod websocket;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use posthouse_protocol::{ErrorBody, Event, Push, Restarting, Resume, Token, close, limits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::admission::Visitor;
use crate::clock::now;
use crate::router::{Outbox, Outcome, Router, Verdict, Wire, outbox};
use crate::session::{Action, Running, Session};
use crate::shutdown::{self, Shutdown};
use bell::Bell;
use event_stream::EventStream;
pub use event_stream::{EventBody, PostError, Streams, resume_from};
use transport::{Ended, Received, Transport};
use websocket::WebSocket;
pub use websocket::config;

/// A client that takes no bytes for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// What the HTTP request said that opened a session, for a `connect` that says nothing of it.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// Where the client stands.
    pub resume: Option<Resume>,
    /// The token of a browser that has logged in.
    pub cookie: Option<Token>,
    /// What everybody but the probe of a release on trial is told: it was let in for that one alone.
    pub closed_to_others: Option<ErrorBody>,
}

/// Serves one client by WebSocket until it or the server goes.
pub fn serve_websocket<S>(
    stream: WebSocketStream<S>,
    opening: Opening,
    visitor: Arc<Visitor>,
    router: Router,
    stopping: Shutdown,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    serve(WebSocket::new(stream), opening, visitor, router, stopping)
}

/// Opens an event stream: its body, and what serves the client behind it until it or the server goes.
pub fn serve_events(
    streams: &Streams,
    opening: Opening,
    visitor: Arc<Visitor>,
    router: Router,
    stopping: Shutdown,
) -> (EventBody, impl Future<Output = ()> + Send + 'static) {
    let (stream, body) = EventStream::open(streams, router.epoch());
    (body, serve(stream, opening, visitor, router, stopping))
}

/// Not an async function: that would keep its arguments beside what is made of them, for as long as the connection lasts.
fn serve<T: Transport>(
    transport: T,
    opening: Opening,
    visitor: Arc<Visitor>,
    router: Router,
    mut stopping: Shutdown,
) -> impl Future<Output = ()> + Send {
    let (sender, outbox) = outbox();
    let Opening { resume, cookie, closed_to_others } = opening;
    let origin = router.next_origin();
    let wire = Wire { origin, visitor: Arc::clone(&visitor), resume, cookie, closed_to_others, outbox: sender };
    visitor.opened_session();
    let arrived = now();
    let mut connection = Connection {
        transport,
        session: Session::new(arrived).with_patience(arrived, visitor.patience()),
        router,
        wire,
        visitor,
        outbox,
        running: FuturesUnordered::new(),
        silence: Duration::ZERO,
        has_asked: false,
    };
    async move {
        let mut cut_off = pin!(cut_off(stopping.clone()));
        let rare = Bell::new();
        let ended = tokio::select! {
            ended = connection.run(&mut stopping) => ended,
            () = poll_fn(|context| rare.poll(context, |context| cut_off.as_mut().poll(context))) => Err(Ended::Gone),
        };
        let is_stopping = matches!(ended, Err(Ended::Close(close::RESTARTING, _)));
        // Also where `connect` was still under way: it may have come half way.
        connection.router.disconnect(connection.wire.origin);
        let lossy_dropped = connection.outbox.lossy_dropped();
        if lossy_dropped > 0 {
            tracing::debug!(lossy_dropped, "a connection was too slow for all of its lossy events");
        }
        if let Err(Ended::Close(code, reason)) = ended {
            let goodbye = Box::pin(connection.transport.close(code, reason));
            if is_stopping {
                // It is over either way, and others wait.
                let _ = tokio::time::timeout(shutdown::GOODBYE, goodbye).await;
            } else {
                goodbye.await;
            }
        }
    }
}

/// Ends when nobody waits any longer for a client that takes no bytes.
async fn cut_off(mut stopping: Shutdown) {
    stopping.requested().await;
    tokio::time::sleep(shutdown::TELL + shutdown::GOODBYE).await;
}

type Completion<R> = BoxFuture<'static, (Running, R, Outcome)>;

struct Connection<T: Transport> {
    transport: T,
    session: Session,
    router: Router,
    wire: Wire,
    visitor: Arc<Visitor>,
    outbox: Outbox,
    running: FuturesUnordered<Completion<T::Reply>>,
    /// For how long this side has listened in vain. While it does not listen nobody is silent.
    silence: Duration,
    /// Whether the first request, which is free, has come.
    has_asked: bool,
}

/// What a connection waited for.
enum Turn<R> {
    Received(Result<Received<R>, Ended>),
    Outcome(Running, R, Outcome),
    Event(Result<Utf8Bytes, Verdict>),
    Alarm,
    Stop,
}

impl<T: Transport> Connection<T> {
    async fn run(&mut self, stopping: &mut Shutdown) -> Result<std::convert::Infallible, Ended> {
        let idle = Duration::from_secs(limits::PING_INTERVAL_S);
        let mut ping_due = now() + idle;
        let restart = stopping.clone();
        let mut stop = pin!(stopping.requested());
        // One timer for all that is due some time, made once: 10,000 connections have one each.
        let mut alarm = pin!(tokio::time::sleep_until(self.alarm(ping_due)));
        let rare = Bell::new();
        loop {
            // Past the limit the client's next request waits in the kernel's buffers: backpressure.
            let may_read = self.running.len() < limits::REQUESTS_IN_FLIGHT_MAX;
            // The answer to `connect` comes before the first event.
            let is_connected = self.session.account().is_some();
            let since = now();
            let turn = tokio::select! {
                received = self.transport.next(), if may_read => Turn::Received(received),
                Some((running, reply, outcome)) = self.running.next() => Turn::Outcome(running, reply, outcome),
                event = self.outbox.next(), if is_connected => Turn::Event(event),
                turn = poll_fn(|context| rare.poll(context, |context| match alarm.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Turn::Alarm),
                    Poll::Pending => stop.as_mut().poll(context).map(|()| Turn::Stop),
                })) => turn,
            };
            if may_read {
                self.silence += now() - since;
            }
            match turn {
                Turn::Received(received) => self.on_received(received?).await?,
                Turn::Outcome(running, reply, outcome) => self.on_outcome(running, reply, outcome).await?,
                Turn::Event(event) => self.on_event(event).await?,
                Turn::Alarm => {
                    self.on_deadline()?;
                    if ping_due <= now() {
                        self.on_ping_due(idle).await?;
                        ping_due += idle;
                    }
                    alarm.as_mut().reset(self.alarm(ping_due));
                }
                Turn::Stop => break,
            }
        }
        let told = tokio::time::timeout(shutdown::TELL, Box::pin(self.on_stop(restart.retry_ms()))).await;
        told.unwrap_or(Err(Ended::Close(close::RESTARTING, "the server is restarting")))
    }

    /// When something is due next. A deadline that is met meanwhile wakes the connection for nothing, once.
    fn alarm(&self, ping_due: Instant) -> tokio::time::Instant {
        self.session.deadline().map_or(ping_due, |deadline| deadline.min(ping_due)).into()
    }

    async fn on_received(&mut self, received: Received<T::Reply>) -> Result<(), Ended> {
        self.silence = Duration::ZERO;
        let Received::Frame(text, reply) = received else { return Ok(()) };
        let now = now();
        let action = match self.admit(&text, now) {
            Ok(()) => self.session.on_frame(&text),
            Err(refused) => self.session.refuse(&text, refused, now),
        };
        match action {
            Action::Reply(frame) => self.transport.answer(reply, frame.into()).await,
            Action::Close(code, reason) => Err(Ended::Close(code, reason)),
            Action::Run(running, call) => {
                let completion = self.router.begin(&self.wire, call).await;
                self.running.push(Box::pin(async move { (running, reply, completion.await) }));
                Ok(())
            }
        }
    }

    fn admit(&mut self, frame: &str, now: Instant) -> Result<(), ErrorBody> {
        let account = self.session.account();
        if account.is_none() && !self.has_asked {
            self.has_asked = true;
            return Ok(());
        }
        self.session.admit(frame, now)?;
        self.visitor.request(account, now)
    }

    async fn on_outcome(&mut self, running: Running, reply: T::Reply, outcome: Outcome) -> Result<(), Ended> {
        let (frame, then) = self.session.on_outcome(running, outcome);
        if self.session.account().is_some() {
            self.visitor.connected();
        }
        if self.session.has_caught_up() {
            self.transport.caught_up();
        }
        self.transport.answer(reply, frame.into()).await?;
        match then {
            Some(Action::Close(code, reason)) => Err(Ended::Close(code, reason)),
            _ => Ok(()),
        }
    }

    /// Writes all events that wait, then flushes once.
    async fn on_event(&mut self, event: Result<Utf8Bytes, Verdict>) -> Result<(), Ended> {
        let mut event = match event {
            Ok(event) => event,
            Err((code, reason)) => {
                if code == close::REAUTHENTICATE {
                    // Who signs oneself out gets the answer to that, too.
                    self.finish_running().await?;
                }
                return Err(Ended::Close(code, reason));
            }
        };
        loop {
            self.transport.feed(event).await?;
            match self.outbox.next_now() {
                Some(next) => event = next,
                None => return self.transport.flush().await,
            }
        }
    }

    async fn on_ping_due(&mut self, idle: Duration) -> Result<(), Ended> {
        if self.silence >= 2 * idle {
            return Err(Ended::Close(close::IDLE, "nothing was heard of the client"));
        }
        if self.silence >= idle / 2 || !T::IS_TWO_WAY { self.transport.ping().await } else { Ok(()) }
    }

    fn on_deadline(&mut self) -> Result<(), Ended> {
        match self.session.on_deadline(now()) {
            Some(Action::Close(code, reason)) => Err(Ended::Close(code, reason)),
            _ => Ok(()),
        }
    }

    /// Answers what is under way.
    async fn finish_running(&mut self) -> Result<(), Ended> {
        while let Some((running, reply, outcome)) = self.running.next().await {
            self.on_outcome(running, reply, outcome).await?;
        }
        Ok(())
    }

    /// Answers what is under way, says when to come back, and closes. The others' restart waits for it.
    async fn on_stop(&mut self, retry_ms: u64) -> Result<std::convert::Infallible, Ended> {
        self.finish_running().await?;
        let event = Push { cursor: None, event: Event::Restarting(Restarting { retry_ms }) };
        let frame = serde_json::to_string(&event).expect("events have string keys");
        self.transport.feed(frame.into()).await?;
        self.transport.flush().await?;
        Err(Ended::Close(close::RESTARTING, "the server is restarting"))
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
