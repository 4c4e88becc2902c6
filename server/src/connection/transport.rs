//! What a connection asks of its transport: frames in, answers and events out, a close with a code.

use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Why a connection is over.
pub(super) enum Ended {
    /// The other side left, or its network did.
    Gone,
    /// This side closes, with code and reason.
    Close(u16, &'static str),
}

/// What the client sent.
pub(super) enum Received<R> {
    /// A text, and where its answer is to go.
    Frame(Utf8Bytes, R),
    /// A sign of life.
    Alive,
}

/// One client's frames, by WebSocket or by event stream.
pub(super) trait Transport: Send {
    /// Where the answer to one frame goes.
    type Reply: Send + 'static;

    /// Whether what the client sends keeps the way to it open, too.
    const IS_TWO_WAY: bool;

    /// What comes next. Safe to drop before it is ready.
    fn next(&mut self) -> impl Future<Output = Result<Received<Self::Reply>, Ended>> + Send;

    /// Writes the answer to a frame, and flushes.
    fn answer(&mut self, reply: Self::Reply, frame: Utf8Bytes) -> impl Future<Output = Result<(), Ended>> + Send;

    /// From here on the client stands where the last event that it gets says: it has everything up to the first one.
    fn caught_up(&mut self) {}

    /// Buffers an event.
    fn feed(&mut self, event: Utf8Bytes) -> impl Future<Output = Result<(), Ended>> + Send;

    /// Writes out what is buffered.
    fn flush(&mut self) -> impl Future<Output = Result<(), Ended>> + Send;

    /// Keeps the way open, and asks for a sign of life where the transport can.
    fn ping(&mut self) -> impl Future<Output = Result<(), Ended>> + Send;

    /// Says why it is over, behind what waits to be written.
    fn close(&mut self, code: u16, reason: &'static str) -> impl Future<Output = ()> + Send;
}
