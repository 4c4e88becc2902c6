//! One connection to a server: calls and their answers, and events.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use posthouse_protocol::{Empty, ErrorBody, Incoming, Method, Ping, Push, Pushed, Request, RequestId, limits};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::ServerUrl;
use crate::alive::{Heard, Verdict, Watch, silent};
use crate::socket::{NotOpened, Socket, Transport};

/// Events that may wait for the program; past it the connection is read no further.
const EVENTS_LEN_MAX: usize = 1024;

/// A server closes a connection of which it heard nothing for twice as long.
const PING_INTERVAL: Duration = Duration::from_secs(limits::PING_INTERVAL_S);

/// Names the pings, for whose answers nobody waits. Calls are named from 1 on.
const PING: RequestId = RequestId(0);

/// Why a call did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The server can't be reached.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// Which server.
        server: String,
        /// What the network said.
        reason: String,
        /// How long the server asks to wait before the next try, in milliseconds, where it is too busy.
        retry_after_ms: Option<u64>,
    },
    /// The server refused the call; nothing has changed.
    #[error("{}", .0.message)]
    Refused(ErrorBody),
    /// The connection ended before the answer came: the call may have been carried out or not.
    #[error("the connection to the server ended: {0}")]
    Disconnected(String),
    /// The server's answer was not understood.
    #[error("the server's answer was not understood: {0}")]
    Answer(String),
}

impl ClientError {
    /// How long the server asks to wait before the next try, in milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Unreachable { retry_after_ms, .. } => *retry_after_ms,
            Self::Refused(error) => error.retry_after_ms,
            Self::Disconnected(_) | Self::Answer(_) => None,
        }
    }
}

/// A connection; clones share it. It ends when all clones are dropped.
#[derive(Clone)]
pub struct Client {
    calls: mpsc::Sender<Call>,
    next_id: Arc<AtomicU64>,
    /// Why the connection ended.
    reason: Arc<OnceLock<String>>,
}

/// What the server says unasked, in its order. `None` from [`Events::next`] means that the connection
/// has ended.
pub struct Events {
    receiver: mpsc::Receiver<Pushed>,
}

impl Events {
    /// The next event that this version knows.
    pub async fn next(&mut self) -> Option<Push> {
        loop {
            if let Pushed::Known(push) = self.next_of_any_kind().await? {
                return Some(push);
            }
        }
    }

    /// The next event, also one of a later version: its cursor counts.
    pub async fn next_of_any_kind(&mut self) -> Option<Pushed> {
        self.receiver.recv().await
    }
}

pub(crate) type Answer = Result<Box<serde_json::value::RawValue>, ClientError>;

/// A request on its way to the socket.
pub(crate) struct Call {
    id: RequestId,
    pub frame: Utf8Bytes,
    pub answer: oneshot::Sender<Answer>,
}

impl Client {
    /// Opens a connection. Log in or connect next.
    ///
    /// # Errors
    /// `Unreachable`.
    pub async fn open(server: &ServerUrl) -> Result<(Self, Events), ClientError> {
        Self::open_by(server, Transport::default()).await
    }

    /// The same by a transport of the caller's choice.
    ///
    /// # Errors
    /// `Unreachable`.
    pub async fn open_by(server: &ServerUrl, transport: Transport) -> Result<(Self, Events), ClientError> {
        let unreachable = |NotOpened { reason, retry_after_ms }| ClientError::Unreachable {
            server: server.to_string(),
            reason,
            retry_after_ms,
        };
        let heard = Heard::new();
        let socket = Socket::open(server, transport, heard.clone()).await.map_err(unreachable)?;
        Ok(Self::on(socket, heard))
    }

    fn on(socket: Socket, heard: Heard) -> (Self, Events) {
        let (client, receiver, calls, events) = Self::over();
        let (pending, watch) = (HashMap::new(), Watch::new(heard));
        let ping_due = (!socket.shows_itself()).then(|| Instant::now() + PING_INTERVAL);
        let driver = Driver { socket, pending, events, watch, ping_due, reason: Arc::clone(&client.reason) };
        tokio::spawn(driver.run(calls));
        (client, receiver)
    }

    /// A connection over whatever takes its calls and gives its events.
    pub(crate) fn over() -> (Self, Events, mpsc::Receiver<Call>, mpsc::Sender<Pushed>) {
        let (calls, calls_receiver) = mpsc::channel(limits::REQUESTS_IN_FLIGHT_MAX);
        let (events, receiver) = mpsc::channel(EVENTS_LEN_MAX);
        let client = Self { calls, next_id: Arc::new(AtomicU64::new(1)), reason: Arc::new(OnceLock::new()) };
        (client, Events { receiver }, calls_receiver, events)
    }

    /// Calls the method `M` and waits for its answer.
    ///
    /// # Errors
    /// `Refused` when the server says no; `Disconnected` when the outcome is unknown.
    pub async fn call<M: Method>(&self, params: &M::Params) -> Result<M::Result, ClientError> {
        self.begin::<M>(params).await
    }

    /// The same in two steps: the request is made now, and goes out with the first poll of what is returned.
    pub(crate) fn begin<M: Method>(
        &self,
        params: &M::Params,
    ) -> impl Future<Output = Result<M::Result, ClientError>> + Send + use<M> {
        let id = RequestId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let frame = serde_json::to_string(&Request::<M>::new(id, params)).expect("requests have string keys");
        let (answer, receiver) = oneshot::channel();
        let gone = || ClientError::Disconnected("it was closed before".to_owned());
        let calls = self.calls.clone();
        async move {
            calls.send(Call { id, frame: frame.into(), answer }).await.map_err(|_| gone())?;
            let result = receiver.await.map_err(|_| gone())??;
            Incoming::result::<M>(&result).map_err(|error| ClientError::Answer(format!("{}: {error}", M::NAME)))
        }
    }

    /// Why the connection ended, if it has.
    pub(crate) fn reason(&self) -> ClientError {
        let reason = self.reason.get().cloned();
        ClientError::Disconnected(reason.unwrap_or_else(|| "it ended".to_owned()))
    }
}

/// Owns the socket: writes calls, hands answers to their callers and events to the program.
struct Driver {
    socket: Socket,
    pending: HashMap<RequestId, oneshot::Sender<Answer>>,
    events: mpsc::Sender<Pushed>,
    watch: Watch,
    /// When the server is to hear of this client, where nothing else shows that it is there.
    ping_due: Option<Instant>,
    reason: Arc<OnceLock<String>>,
}

/// What a driver waited for.
enum Turn {
    Call(Option<Call>),
    Text(Result<Utf8Bytes, String>),
    Alarm,
}

impl Driver {
    async fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let reason = self.drive(&mut calls).await;
        // It is set here and nowhere else.
        let _ = self.reason.set(reason.clone());
        calls.close();
        // What was queued but not written is as undecided, to its caller, as what was.
        while let Ok(call) = calls.try_recv() {
            self.pending.insert(call.id, call.answer);
        }
        for (_, answer) in self.pending.drain() {
            // A caller that gave up needs no answer.
            let _ = answer.send(Err(ClientError::Disconnected(reason.clone())));
        }
    }

    /// Runs until the connection ends, and says why it did.
    async fn drive(&mut self, calls: &mut mpsc::Receiver<Call>) -> String {
        loop {
            let done = match self.turn(calls).await {
                Turn::Call(None) => return self.leave().await,
                Turn::Call(Some(call)) => self.on_call(call).await,
                Turn::Text(Ok(text)) => {
                    self.on_text(&text).await;
                    Ok(())
                }
                Turn::Text(Err(reason)) => return reason,
                Turn::Alarm => self.on_alarm().await,
            };
            if let Err(reason) = done {
                return reason;
            }
        }
    }

    async fn turn(&mut self, calls: &mut mpsc::Receiver<Call>) -> Turn {
        let since = Instant::now();
        let alarm = since + self.watch.patience(!self.pending.is_empty());
        let alarm = tokio::time::sleep_until(self.ping_due.map_or(alarm, |due| due.min(alarm)));
        let socket = &mut self.socket;
        let either = async {
            tokio::select! {
                call = calls.recv() => Turn::Call(call),
                text = socket.next() => Turn::Text(text),
            }
        };
        let turn = tokio::select! {
            // What came while this process did not run is heard before it is missed.
            biased;
            turn = either => turn,
            () = alarm => Turn::Alarm,
        };
        self.watch.listened(since);
        turn
    }

    async fn on_call(&mut self, call: Call) -> Result<(), String> {
        if self.pending.is_empty() {
            self.watch.awaits();
        }
        self.pending.insert(call.id, call.answer);
        self.socket.send(call.frame).await
    }

    /// It is time to be heard, or the server is silent for too long, or something was heard of it that makes no text.
    async fn on_alarm(&mut self) -> Result<(), String> {
        if self.ping_due.is_some_and(|due| due <= Instant::now()) {
            self.ping_due = Some(Instant::now() + PING_INTERVAL);
            return self.socket.ping(ping()).await;
        }
        match self.watch.verdict(!self.pending.is_empty()) {
            Verdict::Listen => Ok(()),
            Verdict::Ask => self.socket.ping(ping()).await,
            Verdict::Gone => Err(silent()),
        }
    }

    async fn on_text(&mut self, text: &str) {
        match Incoming::parse(text) {
            Ok(Incoming::Answer { id: Some(id), outcome }) => {
                if let Some(answer) = self.pending.remove(&id) {
                    // A caller that gave up needs no answer.
                    let _ = answer.send(outcome.map_err(ClientError::Refused));
                }
            }
            // A program that drops its events wants none.
            Ok(Incoming::Event(event)) => drop(self.events.send(event).await),
            // Answers to no request and what is no frame at all: pass over.
            Ok(Incoming::Answer { id: None, .. }) | Err(_) => {}
        }
    }

    async fn leave(&mut self) -> String {
        self.socket.close().await;
        "it was closed here".to_owned()
    }
}

fn ping() -> Utf8Bytes {
    let frame = serde_json::to_string(&Request::<Ping>::new(PING, &Empty {}));
    frame.expect("requests have string keys").into()
}

#[cfg(test)]
mod tests;
