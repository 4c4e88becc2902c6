//! Server-sent events and POST.
//!
//! The stream and the requests take a connection each. Requests go one after the other, so that they arrive in
//! their order.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use posthouse_protocol::{Incoming as Frame, limits};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::lines::EventLines;
use super::verifier::Trust;
use super::{NotOpened, closed, refused_with, wrong_status};
use crate::ServerUrl;
use crate::alive::{Heard, SIGN_OF_LIFE};

/// Room for the longest list of conversations; every other frame fits into [`limits::FRAME_LEN_MAX`].
const FRAME_LEN_MAX: usize = limits::HISTORY_LIMIT_MAX as usize * limits::FRAME_LEN_MAX;

/// How long an answer that is under way when the server closes may take.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request may wait for its answer, and the answer for its next piece. Its connection may be dead while the stream
/// lives. The longest work, a password's hash behind all that may wait for theirs, takes some ten seconds of a box under load.
const POST_TIMEOUT: Duration = Duration::from_secs(60);

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

pub struct EventStream {
    body: Incoming,
    lines: EventLines,
    /// Frames that came and were not asked for yet.
    frames: VecDeque<Utf8Bytes>,
    /// Where requests wait for their turn; `None` once the server has closed.
    requests: Option<mpsc::Sender<Utf8Bytes>>,
    answers: mpsc::Receiver<Result<Utf8Bytes, String>>,
    /// Why the server closed, once it did.
    end: Option<String>,
    poster: Poster,
}

/// Posts requests of one session.
#[derive(Clone)]
struct Poster {
    http: Http,
    url: String,
    session: String,
    heard: Heard,
}

#[derive(Deserialize)]
struct Opened {
    session: String,
}

#[derive(Deserialize)]
struct Closed {
    code: u16,
    #[serde(default)]
    reason: String,
}

impl EventStream {
    pub async fn open(server: &ServerUrl, heard: Heard) -> Result<Self, NotOpened> {
        let (trust, connector) = connector(server)?;
        let http: Http = Client::builder(TokioExecutor::new()).build(connector);
        let request = Request::get(server.events()).header(ACCEPT, "text/event-stream").body(Full::default());
        let request = request.map_err(|error| error.to_string())?;
        let response = http.request(request).await.map_err(|error| trust.explain(explain(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(refused_with(response.status().as_u16(), response.headers()));
        }
        let (mut body, mut lines) = (response.into_body(), EventLines::default());
        let (opened, frames) = loop {
            let mut events = piece(&mut body, &mut lines, &heard).await?.into_iter();
            if let Some(opened) = events.next() {
                break (opened, events.map(|event| event.data.into()).collect());
            }
        };
        let Opened { session } =
            serde_json::from_str(&opened.data).map_err(|_| "it is not a Posthouse server".to_owned())?;
        let (requests, queue) = mpsc::channel(limits::REQUESTS_IN_FLIGHT_MAX);
        let (answer, answers) = mpsc::channel(limits::REQUESTS_IN_FLIGHT_MAX);
        let poster = Poster { http, url: server.rpc(), session, heard };
        tokio::spawn(poster.clone().post_all(queue, answer));
        Ok(Self { body, lines, frames, requests: Some(requests), answers, end: None, poster })
    }

    /// Posts beside the requests, of which one may take long. What comes of it is heard or not.
    pub fn ping(&self, text: Utf8Bytes) {
        let poster = self.poster.clone();
        tokio::spawn(async move { drop(tokio::time::timeout(SIGN_OF_LIFE, poster.post(text)).await) });
    }

    pub async fn send(&mut self, text: Utf8Bytes) -> Result<(), String> {
        match &self.requests {
            Some(requests) if requests.send(text).await.is_ok() => Ok(()),
            _ => Err(self.end.clone().unwrap_or_else(|| "requests don't get through".to_owned())),
        }
    }

    pub async fn next(&mut self) -> Result<Utf8Bytes, String> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Ok(frame);
            }
            if let Some(end) = &self.end {
                // The answer to what is under way comes by another connection than the close, maybe behind it.
                self.requests = None;
                let last = tokio::time::timeout(LAST_ANSWER_TIMEOUT, self.answers.recv()).await;
                return last.ok().flatten().and_then(Result::ok).ok_or_else(|| end.clone());
            }
            tokio::select! {
                // An answer that failed may have done so because of what the stream says.
                biased;
                events = piece(&mut self.body, &mut self.lines, &self.poster.heard) => match events {
                    Ok(events) => self.take(events),
                    Err(end) => self.end = Some(end),
                },
                Some(answer) = self.answers.recv() => match answer {
                    Ok(frame) => return Ok(frame),
                    Err(reason) => self.end = Some(reason),
                },
            }
        }
    }

    fn take(&mut self, events: Vec<super::lines::StreamEvent>) {
        for event in events {
            match event.name.as_str() {
                "" => self.frames.push_back(event.data.into()),
                "close" => {
                    let said = serde_json::from_str(&event.data);
                    self.end = Some(said.map_or(event.data, |Closed { code, reason }| closed(code, &reason)));
                }
                // An event of later versions.
                _ => {}
            }
        }
    }
}

/// Opens connections to a server that is known, and says where one is not.
fn connector(server: &ServerUrl) -> Result<(Trust, HttpsConnector<HttpConnector>), String> {
    let mut connector = HttpConnector::new();
    // Frames are small and each is to leave at once: no Nagle.
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let trust = Trust::of(server)?;
    let secured = HttpsConnectorBuilder::new().with_tls_config(trust.config()).https_or_http().enable_http1();
    Ok((trust, secured.wrap_connector(connector)))
}

/// The events of the stream's next piece. Safe to drop before it is ready.
async fn piece(
    body: &mut Incoming,
    lines: &mut EventLines,
    heard: &Heard,
) -> Result<Vec<super::lines::StreamEvent>, String> {
    let gone = || "the network or the server went away".to_owned();
    let frame = body.frame().await.ok_or_else(gone)?.map_err(|_| gone())?;
    heard.mark();
    let Some(bytes) = frame.data_ref() else { return Ok(Vec::new()) };
    lines.take(bytes, FRAME_LEN_MAX).map_err(|_| "it sent an endless line".to_owned())
}

impl Poster {
    /// Posts requests one after the other until one fails or there are no more.
    async fn post_all(self, mut requests: mpsc::Receiver<Utf8Bytes>, answers: mpsc::Sender<Result<Utf8Bytes, String>>) {
        while let Some(frame) = requests.recv().await {
            let answer = self.post(frame).await;
            let failed = answer.is_err();
            if answers.send(answer).await.is_err() || failed {
                return;
            }
        }
    }

    async fn post(&self, frame: Utf8Bytes) -> Result<Utf8Bytes, String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", self.session))
            .body(Full::new(Bytes::from(frame)))
            .map_err(|error| error.to_string())?;
        let response = in_time(self.http.request(request)).await?.map_err(|error| explain(&error))?;
        self.heard.mark();
        let status = response.status();
        let (mut body, mut bytes) = (Limited::new(response.into_body(), FRAME_LEN_MAX), Vec::new());
        while let Some(piece) = in_time(body.frame()).await? {
            self.heard.mark();
            bytes.extend_from_slice(piece.map_err(|error| error.to_string())?.data_ref().map_or(&[], |data| data));
        }
        let text = Utf8Bytes::try_from(bytes).map_err(|_| "an answer is no text".to_owned())?;
        if status == StatusCode::OK {
            return Ok(text);
        }
        Err(match Frame::parse(&text) {
            Ok(Frame::Answer { outcome: Err(error), .. }) => error.message,
            _ => wrong_status(status.as_u16()),
        })
    }
}

async fn in_time<T>(part: impl Future<Output = T>) -> Result<T, String> {
    let late = |_| format!("no answer within {} s", POST_TIMEOUT.as_secs());
    tokio::time::timeout(POST_TIMEOUT, part).await.map_err(late)
}

fn explain(error: &hyper_util::client::legacy::Error) -> String {
    // The innermost says it best: "connection refused" rather than "client error".
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
