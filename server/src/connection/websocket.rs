//! A WebSocket as frames in and out, with the buffers and the close codes that a small box needs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::poll_immediate;
use futures_util::{SinkExt, StreamExt};
use posthouse_protocol::{close, limits};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message, Utf8Bytes};

use super::WRITE_TIMEOUT;
use super::bell::Bell;
use super::transport::{Ended, Received, Transport};

/// Allocated at once for each connection, and filled with zeros before each read: 512 bytes hold a request
/// of the usual length. For a longer one the buffer grows as far as it needs.
const READ_BUFFER_LEN: usize = 512;

/// Written out when this much waits, or on flush.
const WRITE_BUFFER_LEN: usize = 4 * 1024;

/// Past it a write fails, and with it the connection. Two frames of the longest kind.
const WRITE_BUFFER_LEN_MAX: usize = 2 * limits::FRAME_LEN_MAX;

/// How long the other side has to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Buffers and bounds of every WebSocket.
pub fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_LEN)
        .write_buffer_size(WRITE_BUFFER_LEN)
        .max_write_buffer_size(WRITE_BUFFER_LEN_MAX)
        .max_message_size(Some(limits::FRAME_LEN_MAX))
        .max_frame_size(Some(limits::FRAME_LEN_MAX))
}

/// A WebSocket of ours.
pub(super) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    bell: Arc<Bell>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    pub fn new(stream: WebSocketStream<S>) -> Self {
        Self { stream, bell: Bell::new() }
    }

    /// Takes what the other side still sends and throws it away: after a frame that broke the rules its
    /// rest may be on its way, and a socket that is closed over unread bytes resets the connection, which
    /// can cost the other side the close frame.
    async fn drain(&mut self) -> std::io::Result<()> {
        let raw = self.stream.get_mut();
        raw.shutdown().await?;
        let mut rest = vec![0; READ_BUFFER_LEN];
        while raw.read(&mut rest).await? > 0 {}
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Transport for WebSocket<S> {
    /// Answers carry their `id`; all of them go one way.
    type Reply = ();

    const IS_TWO_WAY: bool = true;

    async fn next(&mut self) -> Result<Received<()>, Ended> {
        let Self { stream, bell } = self;
        let received = poll_fn(|context| bell.poll(context, |context| stream.poll_next_unpin(context)));
        match received.await {
            Some(Ok(Message::Text(text))) => Ok(Received::Frame(text, ())),
            Some(Ok(Message::Binary(_))) => Err(Ended::Close(close::UNSUPPORTED, "this subprotocol speaks text")),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(Received::Alive),
            Some(Ok(Message::Close(_))) => {
                // The answer to its goodbye waits to be written (RFC 6455 §5.5.1).
                self.flush().await?;
                Err(Ended::Gone)
            }
            None => Err(Ended::Gone),
            Some(Err(error)) => Err(ended_by(&error)),
        }
    }

    async fn answer(&mut self, (): (), frame: Utf8Bytes) -> Result<(), Ended> {
        self.feed(frame).await?;
        self.flush().await
    }

    async fn feed(&mut self, event: Utf8Bytes) -> Result<(), Ended> {
        in_time(self.stream.feed(Message::Text(event))).await
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        in_time(self.stream.flush()).await
    }

    async fn ping(&mut self) -> Result<(), Ended> {
        in_time(self.stream.send(Message::Ping(Bytes::new()))).await
    }

    /// Waits a little for the other side, so that the code arrives before the socket goes.
    async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        // A slow reader takes as long for this as for any other write.
        if in_time(self.stream.close(Some(frame))).await.is_err() {
            return;
        }
        let goodbye = async {
            while let Some(Ok(message)) = self.stream.next().await {
                if message.is_close() {
                    return Ok(());
                }
            }
            self.drain().await
        };
        // It is over either way; a peer that is gone has nothing to be told.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

async fn in_time(write: impl Future<Output = Result<(), Error>>) -> Result<(), Ended> {
    let mut write = pin!(write);
    // Nearly every write is done at once; only one that has to wait needs a timer.
    let written = match poll_immediate(&mut write).await {
        Some(written) => written,
        None => tokio::time::timeout(WRITE_TIMEOUT, write).await.map_err(|_| Ended::Gone)?,
    };
    written.map_err(|_| Ended::Gone)
}

fn ended_by(error: &Error) -> Ended {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Ended::Close(close::TOO_BIG, "the frame is too long"),
        Error::Utf8(_) => Ended::Close(close::INVALID_UTF8, "the text is not UTF-8"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Ended::Gone,
        Error::Protocol(_) => Ended::Close(close::PROTOCOL_ERROR, "the frame violates RFC 6455"),
        _ => Ended::Gone,
    }
}
