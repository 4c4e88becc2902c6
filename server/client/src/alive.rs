//! Whether the server is still there.
//!
//! A network that goes away tells nobody: a laptop that slept, a plug that was pulled. Owns when a silent server is asked
//! for a sign of life, and when it is given up. Reads the clock and nothing else; the connection's driver asks and gives up.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use posthouse_protocol::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A server that nobody asked anything may be silent for as long as it lets its clients be.
const IDLE: Duration = Duration::from_secs(limits::PING_INTERVAL_S);

/// A server whose answer is awaited is asked sooner. It answers the ping at once also while it is long at work on another request.
const AWAITED: Duration = Duration::from_secs(5);

/// For how long nothing at all may come once it was asked. A server on the local network answers within this time or is not there.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// When bytes came last; clones share it.
#[derive(Clone)]
pub(crate) struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Bytes came.
    pub fn mark(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done about a silence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Listen on.
    Listen,
    /// Ask for a sign of life.
    Ask,
    /// Nobody is there.
    Gone,
}

/// How long a server has been silent.
pub(crate) struct Watch {
    heard: Heard,
    /// The last sign of life that `silence` knows of.
    known: Instant,
    /// For how long this side has listened in vain. While it does not listen nobody is silent.
    silence: Duration,
    /// How long the silence was when the server was asked.
    asked: Option<Duration>,
}

impl Watch {
    pub fn new(heard: Heard) -> Self {
        let known = heard.last();
        Self { heard, known, silence: Duration::ZERO, asked: None }
    }

    /// This side has listened since then.
    pub fn listened(&mut self, since: Instant) {
        let (now, last) = (Instant::now(), self.heard.last());
        if last == self.known {
            self.silence += now - since;
            return;
        }
        (self.known, self.silence, self.asked) = (last, now - last.max(since), None);
    }

    /// From here on an answer is awaited, and none was before.
    pub fn awaits(&mut self) {
        (self.silence, self.asked) = (Duration::ZERO, None);
    }

    /// How much longer to listen before [`Watch::verdict`] is worth a look.
    pub fn patience(&self, is_awaiting: bool) -> Duration {
        self.silence_max(is_awaiting).saturating_sub(self.silence)
    }

    pub fn verdict(&mut self, is_awaiting: bool) -> Verdict {
        if self.silence < self.silence_max(is_awaiting) {
            return Verdict::Listen;
        }
        if self.asked.is_some() {
            return Verdict::Gone;
        }
        self.asked = Some(self.silence);
        Verdict::Ask
    }

    fn silence_max(&self, is_awaiting: bool) -> Duration {
        match self.asked {
            Some(before) => before + SIGN_OF_LIFE,
            None if is_awaiting => AWAITED,
            None => IDLE,
        }
    }
}

/// Why a connection ends whose server says nothing any more.
pub(crate) fn silent() -> String {
    format!("nothing was heard of the server, for {} s after it was asked", SIGN_OF_LIFE.as_secs())
}

/// A stream of bytes that tells when some came.
pub(crate) struct Overheard<S> {
    pub stream: S,
    pub heard: Heard,
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.heard.mark();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
