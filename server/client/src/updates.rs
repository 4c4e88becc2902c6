//! How a server is updated, over HTTP: for the owner's device, which shows its token with each request.
//!
//! Each request has a connection of its own, because the server that answers the next one may be another.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use posthouse_protocol::ErrorBody;
use posthouse_protocol::update::{ApplyParams, PostponeParams, UPDATE_PATH, UpdateHistory, UpdateStatus};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::socket::dial;
use crate::{ClientError, Login};

/// How long an answer may take: the server may ask somebody far away first.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Longest answer, in bytes.
const ANSWER_LEN_MAX: usize = 1024 * 1024;

/// Speaks to the server of a log-in.
pub struct Updates {
    login: Login,
}

/// How much of a bundle the server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// In bytes.
    pub offset: u64,
    /// Whether that is all of it.
    pub is_complete: bool,
}

/// A piece of a bundle, and where it belongs.
#[derive(Clone, Debug)]
pub struct Piece<'a> {
    /// SHA-256 of the bundle's file, as 64 hexadecimal digits.
    pub bundle: &'a str,
    /// Where it belongs, in bytes.
    pub offset: u64,
    /// How long the bundle is, in bytes.
    pub length: u64,
    /// It.
    pub bytes: Bytes,
}

struct Asked {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Updates {
    /// For this device.
    pub fn new(login: Login) -> Self {
        Self { login }
    }

    /// How updates stand.
    ///
    /// # Errors
    /// `Refused` for whoever is neither owner nor administrator.
    pub async fn status(&self) -> Result<UpdateStatus, ClientError> {
        self.read("").await
    }

    /// What has happened.
    ///
    /// # Errors
    /// As [`Updates::status`].
    pub async fn history(&self) -> Result<UpdateHistory, ClientError> {
        self.read("/history").await
    }

    /// Has the server look at its update URL.
    ///
    /// # Errors
    /// `Refused` for whoever is no owner, where no URL is set, and where that comes to nothing.
    pub async fn check(&self) -> Result<UpdateStatus, ClientError> {
        self.post("/check", &ApplyParams::default()).await
    }

    /// Has it install a bundle that it has, or what its update URL has.
    ///
    /// # Errors
    /// `Refused` for whoever is no owner, and where there is nothing to install.
    pub async fn apply(&self, bundle: Option<String>) -> Result<UpdateStatus, ClientError> {
        self.post("/apply", &ApplyParams { bundle }).await
    }

    /// Has it go back to the version before.
    ///
    /// # Errors
    /// `Refused` for whoever is no owner, and where there is none.
    pub async fn roll_back(&self) -> Result<UpdateStatus, ClientError> {
        self.post("/rollback", &ApplyParams::default()).await
    }

    /// Has it install nothing by itself for so many days.
    ///
    /// # Errors
    /// `Refused` for whoever is no owner.
    pub async fn postpone(&self, days: u32) -> Result<UpdateStatus, ClientError> {
        self.post("/postpone", &PostponeParams { days }).await
    }

    /// How much of a bundle it has.
    ///
    /// # Errors
    /// `Refused` for whoever is no owner.
    pub async fn held(&self, bundle: &str) -> Result<Held, ClientError> {
        let path = format!("/bundles/{bundle}");
        let (headers, _) = self.ask(Asked { method: Method::HEAD, path, headers: vec![], body: Bytes::new() }).await?;
        held(&headers)
    }

    /// Brings it a piece of a bundle.
    ///
    /// # Errors
    /// `Refused` where it belongs elsewhere, where there is no room, and where the bundle is not what it was to be.
    pub async fn send(&self, piece: &Piece<'_>) -> Result<Held, ClientError> {
        let is_last = piece.offset + piece.bytes.len() as u64 == piece.length;
        let headers = vec![
            ("content-type", "application/partial-upload".to_owned()),
            ("upload-offset", piece.offset.to_string()),
            ("upload-length", piece.length.to_string()),
            ("upload-complete", if is_last { "?1" } else { "?0" }.to_owned()),
        ];
        let path = format!("/bundles/{}", piece.bundle);
        let (headers, _) = self.ask(Asked { method: Method::PATCH, path, headers, body: piece.bytes.clone() }).await?;
        held(&headers)
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let asked = Asked { method: Method::GET, path: path.to_owned(), headers: vec![], body: Bytes::new() };
        understood(&self.ask(asked).await?.1)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).expect("parameters have string keys").into();
        let headers = vec![(CONTENT_TYPE.as_str(), "application/json".to_owned())];
        understood(&self.ask(Asked { method: Method::POST, path: path.to_owned(), headers, body }).await?.1)
    }

    async fn ask(&self, asked: Asked) -> Result<(HeaderMap, Bytes), ClientError> {
        let server = &self.login.server;
        let unreachable = |reason: String| {
            let server = server.to_string();
            ClientError::Unreachable { server, reason, retry_after_ms: None }
        };
        let mut request = Request::builder()
            .method(asked.method)
            .uri(format!("{UPDATE_PATH}{}", asked.path))
            .header(HOST, server.authority())
            .header(AUTHORIZATION, format!("Bearer {}", self.login.token.0));
        for (name, value) in asked.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(asked.body)).map_err(|error| ClientError::Answer(error.to_string()))?;
        let exchange = async {
            let stream = dial(server).await.map_err(unreachable)?;
            let opened = http1::handshake(TokioIo::new(stream)).await;
            let (mut http, connection) = opened.map_err(|error| unreachable(error.to_string()))?;
            // It ends with what it is for; a failure is the request's.
            tokio::spawn(connection);
            let ended = |error: hyper::Error| ClientError::Disconnected(error.to_string());
            let response = http.send_request(request).await.map_err(ended)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_LEN_MAX).collect().await;
            let body = body.map_err(|error| ClientError::Disconnected(error.to_string()))?;
            Ok((head, body.to_bytes()))
        };
        let late = |_| Err(ClientError::Disconnected(format!("no answer within {} s", TIMEOUT.as_secs())));
        let (head, body) = tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(late)?;
        if head.status.is_success() { Ok((head.headers, body)) } else { Err(refused(head.status, &body)) }
    }
}

fn understood<T: DeserializeOwned>(body: &Bytes) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Answer(error.to_string()))
}

fn refused(status: StatusCode, body: &Bytes) -> ClientError {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: ErrorBody,
    }
    match serde_json::from_slice::<Refusal>(body) {
        Ok(refusal) => ClientError::Refused(refusal.error),
        Err(_) => ClientError::Answer(format!("HTTP status {status}: can this server be updated this way?")),
    }
}

fn held(headers: &HeaderMap) -> Result<Held, ClientError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let offset = text("upload-offset").and_then(|offset| offset.parse().ok());
    let offset = offset.ok_or_else(|| ClientError::Answer("it does not say how much it has".to_owned()))?;
    Ok(Held { offset, is_complete: text("upload-complete") == Some("?1") })
}
