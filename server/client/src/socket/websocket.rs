//! The WebSocket.

use futures_util::{SinkExt, StreamExt};
use posthouse_protocol::{SUBPROTOCOL_JSON, limits};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::dial::{Stream, dial};
use super::{NotOpened, closed, refused_with, wrong_status};
use crate::ServerUrl;

/// Room for the longest list of conversations; every other answer fits into [`limits::FRAME_LEN_MAX`].
const FRAME_LEN_MAX: usize = limits::HISTORY_LIMIT_MAX as usize * limits::FRAME_LEN_MAX;

pub struct WebSocket {
    stream: WebSocketStream<Stream>,
}

impl WebSocket {
    pub async fn open(server: &ServerUrl) -> Result<Self, NotOpened> {
        let mut request = server.websocket().into_client_request().map_err(|error| error.to_string())?;
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL_JSON));
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(16 * 1024)
            .max_message_size(Some(FRAME_LEN_MAX))
            .max_frame_size(Some(FRAME_LEN_MAX));
        let connected = client_async_with_config(request, dial(server).await?, Some(config)).await;
        let (stream, _) = connected.map_err(|error| match error {
            Error::Http(response) => refused_with(response.status().as_u16(), response.headers()),
            other => explain(&other).into(),
        })?;
        Ok(Self { stream })
    }

    pub async fn send(&mut self, text: Utf8Bytes) -> Result<(), String> {
        self.stream.send(Message::Text(text)).await.map_err(|error| explain(&error))
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
        let _ = self.stream.close(None).await;
    }
}

fn explain(error: &Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::Http(response) => wrong_status(response.status().as_u16()),
        other => other.to_string(),
    }
}
