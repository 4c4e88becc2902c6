//! The WebSocket.

use futures_util::{SinkExt, StreamExt};
use posthouse_protocol::{SUBPROTOCOL_JSON, limits};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
#[cfg(test)]
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::dial::{Stream, dial};
use super::{NotOpened, closed, refused_with, wrong_status};
use crate::ServerUrl;
use crate::alive::{Heard, Overheard, SIGN_OF_LIFE};

/// Room for the longest list of conversations; every other answer fits into [`limits::FRAME_LEN_MAX`].
const FRAME_LEN_MAX: usize = limits::HISTORY_LIMIT_MAX as usize * limits::FRAME_LEN_MAX;

pub struct WebSocket {
    stream: WebSocketStream<Overheard<Stream>>,
}

impl WebSocket {
    pub async fn open(server: &ServerUrl, heard: Heard) -> Result<Self, NotOpened> {
        let mut request = server.websocket().into_client_request().map_err(|error| error.to_string())?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL_JSON));
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(16 * 1024)
            .max_message_size(Some(FRAME_LEN_MAX))
            .max_frame_size(Some(FRAME_LEN_MAX));
        let stream = Overheard { stream: dial(server).await?, heard };
        let connected = client_async_with_config(request, stream, Some(config)).await;
        let (stream, _) = connected.map_err(|error| match error {
            Error::Http(response) => refused_with(response.status().as_u16(), response.headers()),
            other => explain(&other).into(),
        })?;
        Ok(Self { stream })
    }

    /// One whose bytes go where the test says.
    #[cfg(test)]
    pub async fn over(stream: Stream, heard: Heard) -> Self {
        let stream = Overheard { stream, heard };
        Self { stream: WebSocketStream::from_raw_socket(stream, Role::Client, None).await }
    }

    pub async fn send(&mut self, text: Utf8Bytes) -> Result<(), String> {
        // It waits once the system's buffers are full, and nothing is read meanwhile.
        let sent = tokio::time::timeout(SIGN_OF_LIFE, self.stream.send(Message::Text(text))).await;
        let late = |_| Err(format!("the network has taken nothing for {} s", SIGN_OF_LIFE.as_secs()));
        sent.map_or_else(late, |sent| sent.map_err(|error| explain(&error)))
    }

    pub async fn next(&mut self) -> Result<Utf8Bytes, String> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Close(Some(frame)))) => return Err(closed(frame.code.into(), &frame.reason)),
                Some(Ok(Message::Close(None))) | None => return Err("the network or the server went away".to_owned()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(explain(&error)),
            }
        }
    }

    pub async fn close(&mut self) {
        // It is over either way.
        let _ = tokio::time::timeout(SIGN_OF_LIFE, self.stream.close(None)).await;
    }
}

fn explain(error: &Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::Http(response) => wrong_status(response.status().as_u16()),
        other => other.to_string(),
    }
}
