//! The second transport: events and the close as server-sent events, requests by POST.
//!
//! The stream is the connection: opening it opens a session, and the session ends with it. Its first event
//! tells the client the secret that names the session in each POST; nothing else knows it, so that no other page
//! and no log can speak for the client.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use posthouse_protocol::{Cursor, Epoch, Resume, limits};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::WRITE_TIMEOUT;
use super::transport::{Ended, Received, Transport};

/// Pieces that wait for the HTTP side; it has a buffer of its own.
const PIECES_LEN_MAX: usize = 4;

/// Events are gathered up to this many bytes, or until there is no more.
const PIECE_LEN: usize = 4 * 1024;

/// A request and where its answer goes.
struct Post {
    frame: Utf8Bytes,
    answer: oneshot::Sender<Utf8Bytes>,
}

/// The open streams, by their secrets. Clones share them.
#[derive(Clone, Default)]
pub struct Streams {
    by_secret: Arc<Mutex<HashMap<String, mpsc::Sender<Post>>>>,
}

/// Why a posted request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostError {
    /// No stream has this secret.
    NoStream,
    /// The stream ended before the answer: it may have been carried out or not.
    Ended,
}

impl Streams {
    /// Hands a request to its session and waits for the answer.
    ///
    /// # Errors
    /// Where there is no session, or none any more.
    pub async fn post(&self, secret: &str, frame: Utf8Bytes) -> Result<Utf8Bytes, PostError> {
        let stream = self.lock().get(secret).cloned().ok_or(PostError::NoStream)?;
        let (answer, answered) = oneshot::channel();
        stream.send(Post { frame, answer }).await.map_err(|_| PostError::Ended)?;
        answered.await.map_err(|_| PostError::Ended)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, mpsc::Sender<Post>>> {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.by_secret.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The HTTP body of an event stream.
pub struct EventBody {
    pieces: mpsc::Receiver<Bytes>,
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// A client by event stream.
pub(super) struct EventStream {
    secret: String,
    epoch: Epoch,
    streams: Streams,
    posts: mpsc::Receiver<Post>,
    pieces: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
    /// Whether events have ids: a browser comes back with the last one, as if it had everything up to there.
    has_ids: bool,
}

impl EventStream {
    /// Opens a stream whose ids are of this epoch, and gives its body.
    pub fn open(streams: &Streams, epoch: Epoch) -> (Self, EventBody) {
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("the kernel has random numbers once user space runs");
        let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        // As many as may be under way: a POST past them waits, as a frame does in the socket.
        let (post, posts) = mpsc::channel(limits::REQUESTS_IN_FLIGHT_MAX);
        let (pieces, body) = mpsc::channel(PIECES_LEN_MAX);
        streams.lock().insert(secret.clone(), post);
        let opened = serde_json::json!({ "session": secret });
        pieces.try_send(format!("event: open\ndata: {opened}\n\n").into()).expect("the channel is new");
        let streams = streams.clone();
        let stream = Self { secret, epoch, streams, posts, pieces, buffer: Vec::new(), has_ids: false };
        (stream, EventBody { pieces: body })
    }

    /// Buffers an event as the client gets it. JSON holds no line break, so that one line is enough.
    fn write(&mut self, event: &str) {
        if self.has_ids
            && let Some(cursor) = cursor_of(event)
        {
            let id = format!("id: {}-{}\n", self.epoch.0, cursor.0);
            self.buffer.extend_from_slice(id.as_bytes());
        }
        for part in ["data: ", event, "\n\n"] {
            self.buffer.extend_from_slice(part.as_bytes());
        }
    }
}

impl Transport for EventStream {
    /// The POST that asked.
    type Reply = oneshot::Sender<Utf8Bytes>;

    const IS_TWO_WAY: bool = false;

    async fn next(&mut self) -> Result<Received<Self::Reply>, Ended> {
        tokio::select! {
            post = self.posts.recv() => match post {
                Some(Post { frame, answer }) => Ok(Received::Frame(frame, answer)),
                None => Err(Ended::Gone),
            },
            () = self.pieces.closed() => Err(Ended::Gone),
        }
    }

    async fn answer(&mut self, reply: Self::Reply, frame: Utf8Bytes) -> Result<(), Ended> {
        // Whoever asked may have hung up.
        let _ = reply.send(frame);
        Ok(())
    }

    fn caught_up(&mut self) {
        self.has_ids = true;
    }

    async fn feed(&mut self, event: Utf8Bytes) -> Result<(), Ended> {
        self.write(&event);
        if self.buffer.len() >= PIECE_LEN { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.buffer));
        match tokio::time::timeout(WRITE_TIMEOUT, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::Gone),
        }
    }

    /// A comment: nobody answers it, but it keeps routers from forgetting the connection.
    async fn ping(&mut self) -> Result<(), Ended> {
        self.buffer.extend_from_slice(b": alive\n\n");
        self.flush().await
    }

    async fn close(&mut self, code: u16, reason: &'static str) {
        let data = serde_json::json!({ "code": code, "reason": reason });
        self.buffer.extend_from_slice(format!("event: close\ndata: {data}\n\n").as_bytes());
        // It is over either way.
        let _ = self.flush().await;
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.secret);
    }
}

/// The place of a durable event among all; events that are not durable have none.
fn cursor_of(event: &str) -> Option<Cursor> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default)]
        cursor: Option<Cursor>,
    }
    serde_json::from_str::<Head>(event).ok()?.cursor
}

/// What the id of a stream's event says of where the stream ended.
pub fn resume_from(id: &str) -> Option<Resume> {
    let (epoch, cursor) = id.split_once('-')?;
    Some(Resume { epoch: Epoch(epoch.parse().ok()?), cursor: Cursor(cursor.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(body: &mut EventBody) -> String {
        let piece = body.pieces.recv().await.expect("a piece");
        String::from_utf8(piece.to_vec()).expect("a text")
    }

    #[tokio::test]
    async fn events_carry_their_cursor_as_an_id_once_all_before_them_is_there_and_the_close_its_code() {
        let (mut stream, mut body) = EventStream::open(&Streams::default(), Epoch(7));
        let opened = text(&mut body).await;
        let secret = opened.strip_prefix("event: open\ndata: {\"session\":\"").expect("the secret comes first");
        assert_eq!(secret.len(), 64 + "\"}\n\n".len(), "{opened}");
        stream.feed(r#"{"event":"message","cursor":"40","data":{}}"#.into()).await.ok().expect("room");
        stream.caught_up();
        stream.feed(r#"{"event":"message","cursor":"41","data":{}}"#.into()).await.ok().expect("room");
        stream.feed(r#"{"event":"typing","data":{"cursor":"9"}}"#.into()).await.ok().expect("room");
        stream.close(4008, "slow").await;
        let rest = "data: {\"event\":\"message\",\"cursor\":\"40\",\"data\":{}}\n\n\
                    id: 7-41\ndata: {\"event\":\"message\",\"cursor\":\"41\",\"data\":{}}\n\n\
                    data: {\"event\":\"typing\",\"data\":{\"cursor\":\"9\"}}\n\n\
                    event: close\ndata: {\"code\":4008,\"reason\":\"slow\"}\n\n";
        assert_eq!(text(&mut body).await, rest);
        assert_eq!(resume_from("7-41"), Some(Resume { epoch: Epoch(7), cursor: Cursor("41".to_owned()) }));
        assert!(
            ["", "7", "41-", "x-1"].iter().all(|odd| resume_from(odd).is_none_or(|resume| resume.cursor.0.is_empty()))
        );
    }

    #[tokio::test]
    async fn a_post_finds_its_stream_only_by_its_secret_and_only_while_it_is_open() {
        let streams = Streams::default();
        let (mut stream, _body) = EventStream::open(&streams, Epoch(7));
        assert_eq!(streams.post("guess", "{}".into()).await, Err(PostError::NoStream));
        let secret = stream.secret.clone();
        let posted = tokio::spawn({
            let (streams, secret) = (streams.clone(), secret.clone());
            async move { streams.post(&secret, "question".into()).await }
        });
        let Ok(Received::Frame(frame, reply)) = stream.next().await else { panic!("a frame was posted") };
        assert_eq!(frame.as_str(), "question");
        stream.answer(reply, "answer".into()).await.ok().expect("an answer");
        assert_eq!(posted.await.expect("the task's end"), Ok("answer".into()));
        drop(stream);
        assert_eq!(streams.post(&secret, "{}".into()).await, Err(PostError::NoStream));
        assert!(streams.lock().is_empty());
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_the_stream() {
        let (mut stream, body) = EventStream::open(&Streams::default(), Epoch(7));
        drop(body);
        assert!(matches!(stream.next().await, Err(Ended::Gone)));
    }
}
