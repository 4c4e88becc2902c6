//! One session's requests by hand, by either transport: what holds for frames has to hold for both.

use std::net::SocketAddr;

use posthouse_client::Transport;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::http::RawEvents;
use crate::raw::{FIN, RawSocket, TEXT, frame};

/// The ways to a session.
pub const TRANSPORTS: [Transport; 2] = [Transport::WebSocket, Transport::EventStream];

/// A client without a library.
pub enum Wire {
    WebSocket(RawSocket),
    EventStream(RawEvents),
}

impl Wire {
    /// Opens a session.
    pub async fn open(transport: Transport, address: SocketAddr) -> Self {
        match transport {
            Transport::WebSocket => Self::WebSocket(RawSocket::open(address).await),
            Transport::EventStream => Self::EventStream(RawEvents::open(address).await),
        }
    }

    /// Sends a request and gives the frame that answers.
    pub async fn call(&mut self, id: u64, method: &str, params: Value) -> Value {
        match self {
            Self::WebSocket(socket) => socket.call(id, method, params).await,
            Self::EventStream(events) => events.call(id, method, params).await,
        }
    }

    /// Sends a frame as it is, and gives the one that answers.
    pub async fn ask(&mut self, text: &str) -> Value {
        self.ask_at_once(&[text.to_owned()]).await.remove(0)
    }

    /// Sends all of these before it reads an answer, and gives the answers as they come.
    pub async fn ask_at_once(&mut self, texts: &[String]) -> Vec<Value> {
        match self {
            Self::WebSocket(socket) => {
                let frames: Vec<u8> = texts.iter().flat_map(|text| frame(FIN | TEXT, text.as_bytes())).collect();
                socket.write(&frames).await.expect("the requests are taken");
                let mut answers = Vec::new();
                while answers.len() < texts.len() {
                    let frame = socket.next_text().await.expect("an answer to each");
                    // An event has none.
                    if frame.get("id").is_some() {
                        answers.push(frame);
                    }
                }
                answers
            }
            Self::EventStream(events) => {
                let posts: JoinSet<_> = texts.iter().map(|text| events.posting(text.as_bytes().to_vec())).collect();
                let answers = posts.join_all().await.into_iter();
                answers.map(|answer| if answer.status == 200 { answer.json() } else { json!(answer.status) }).collect()
            }
        }
    }
}
