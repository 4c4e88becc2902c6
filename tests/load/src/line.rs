//! One connection of a load.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use posthouse_protocol::{Incoming, Method, Request, RequestId, SUBPROTOCOL_JSON, limits};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::dialect::{Dialect, Heard, Person};

const BUFFER_LEN: usize = 4 * 1024;

/// A connection that has said hello and was answered.
pub struct Line {
    stream: WebSocketStream<TcpStream>,
    dialect: Dialect,
}

impl Line {
    /// Connects and says who it is.
    ///
    /// # Errors
    /// The network's and the server's refusal.
    pub async fn open(address: SocketAddr, dialect: Dialect, person: &Person) -> anyhow::Result<Self> {
        let mut line = Self::open_unnamed(address, dialect).await?;
        line.send(dialect.hello(person)).await?;
        line.answered(0).await?;
        Ok(line)
    }

    /// Connects.
    ///
    /// # Errors
    /// The network's.
    pub async fn open_unnamed(address: SocketAddr, dialect: Dialect) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("the server does not take the connection")?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{address}/ws").into_client_request()?;
        if dialect == Dialect::Server {
            request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL_JSON));
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_LEN)
            .write_buffer_size(BUFFER_LEN)
            .max_message_size(Some(limits::HISTORY_LIMIT_MAX as usize * limits::FRAME_LEN_MAX));
        let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
        let (stream, _) = opened.context("the server does not open a WebSocket")?;
        Ok(Self { stream, dialect })
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// The network's.
    pub async fn send(&mut self, frame: Utf8Bytes) -> anyhow::Result<()> {
        Ok(self.stream.send(Message::Text(frame)).await?)
    }

    /// The next frame. Safe to drop before it is ready.
    ///
    /// # Errors
    /// The network's, and the server's goodbye.
    pub async fn next(&mut self) -> anyhow::Result<Heard> {
        let text = self.next_text().await?;
        self.dialect.read(&text)
    }

    /// Waits for the answer to a request, and passes over all else but refusals.
    ///
    /// # Errors
    /// Those of [`Line::next`], and a refusal.
    pub async fn answered(&mut self, id: u64) -> anyhow::Result<()> {
        loop {
            match self.next().await? {
                Heard::Answer(answered) if answered == id => return Ok(()),
                Heard::Refused(error) => bail!("refused: {error}"),
                _ => {}
            }
        }
    }

    /// Waits for a message with this number, and passes over all else but refusals and other messages.
    ///
    /// # Errors
    /// Those of [`Line::next`], and a message out of its order.
    pub async fn message(&mut self, expected: u64) -> anyhow::Result<u64> {
        loop {
            match self.next().await? {
                Heard::Message { number, seq, .. } if number == expected => return Ok(seq),
                Heard::Message { number, .. } => bail!("message {number} came where {expected} was due"),
                Heard::Refused(error) => bail!("refused: {error}"),
                Heard::Answer(_) | Heard::Other => {}
            }
        }
    }

    /// Calls a method of the server.
    ///
    /// # Errors
    /// Those of [`Line::next`], and a refusal.
    pub async fn call<M: Method>(&mut self, params: &M::Params) -> anyhow::Result<M::Result> {
        const ID: RequestId = RequestId(u32::MAX as u64);
        self.send(serde_json::to_string(&Request::<M>::new(ID, params))?.into()).await?;
        loop {
            let text = self.next_text().await?;
            if let Incoming::Answer { id: Some(ID), outcome } = Incoming::parse(&text)? {
                let result = outcome.map_err(|error| anyhow::anyhow!("{}: {}", M::NAME, error.message))?;
                return Ok(Incoming::result::<M>(&result)?);
            }
        }
    }

    /// Ends at once, without a goodbye, as when a network goes: the other side gets a reset.
    pub fn cut(self) {
        // Without it 50,000 closed connections would hold their ports for a minute.
        let _ = self.stream.get_ref().set_zero_linger();
    }

    async fn next_text(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(frame))) => bail!("the server closed the connection: {frame:?}"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the connection ended"),
            }
        }
    }
}
