//! Taking ownership of a new box: whoever has read its code proves that, the box proves that it has shown it, and only then is
//! it told the owner's password.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use posthouse_protocol::claim::{
    CHALLENGE_PATH, CLAIM_PATH, ClaimAnswer, ClaimChallenge, ClaimCode, ClaimParams, ClaimProof, ClaimResult,
    PROOF_PATH,
};
use posthouse_protocol::{ErrorBody, ErrorCode, Fingerprint, Password, Username};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, UNIX_EPOCH};

use crate::socket::{dial, fingerprint_of};
use crate::{ClientError, ServerUrl};

/// How long the box may take for an answer: it hashes a password.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Longest answer, in bytes.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// A new box that has shown that the code is its own.
pub struct Claiming {
    server: ServerUrl,
    http: SendRequest<Full<Bytes>>,
    proof: ClaimProof,
}

impl Claiming {
    /// Shows the box that its code was read, without telling it, and has it show the same.
    ///
    /// # Errors
    /// `Refused` for a wrong code, or `Answer` where something else answers in the box's place.
    pub async fn begin(server: &ServerUrl, code: &str) -> Result<Self, ClientError> {
        let unreachable =
            |reason| ClientError::Unreachable { server: server.to_string(), reason, retry_after_ms: None };
        let server = &match server.pin() {
            // Whoever answers: the proofs show whether it is the box.
            None if server.is_secure() => server.clone().pinned(fingerprint_of(server).await.map_err(unreachable)?),
            _ => server.clone(),
        };
        let (mut http, seen) = open(server).await?;
        let challenge: ClaimChallenge = ask(&mut http, server, CHALLENGE_PATH, None::<&()>).await?;
        if challenge.claimed {
            return Err(ClientError::Refused(ErrorBody::new(ErrorCode::Conflict, "this box has an owner already")));
        }
        let (code, nonce) = (ClaimCode::typed(code), challenge.nonce);
        let fingerprint = seen.or(challenge.fingerprint);
        let proof = ClaimProof { proof: code.proof(fingerprint.as_ref(), &nonce), nonce };
        let answer: ClaimAnswer = ask(&mut http, server, PROOF_PATH, Some(&proof)).await?;
        if !code.is_answer(&answer.answer, fingerprint.as_ref(), &proof.nonce) {
            let reason = "this is not the box that has shown the code: somebody answers in its place".to_owned();
            return Err(ClientError::Answer(reason));
        }
        Ok(Self { server: server.clone(), http, proof })
    }

    /// The server, with the fingerprint that it has proved to be the box's.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Makes somebody its owner.
    ///
    /// # Errors
    /// `Refused` for a name or a password that can't be, and where somebody else was quicker.
    pub async fn finish(
        mut self,
        username: Username,
        password: Password,
        device: String,
    ) -> Result<ClaimResult, ClientError> {
        let ClaimProof { nonce, proof } = self.proof;
        let clock_ms = UNIX_EPOCH.elapsed().ok().and_then(|now| u64::try_from(now.as_millis()).ok());
        let params = ClaimParams { nonce, proof, username, password, device, clock_ms };
        ask(&mut self.http, &self.server, CLAIM_PATH, Some(&params)).await
    }
}

/// A connection, and the fingerprint that it has shown.
async fn open(server: &ServerUrl) -> Result<(SendRequest<Full<Bytes>>, Option<Fingerprint>), ClientError> {
    let unreachable = |reason: String| {
        let server = server.to_string();
        ClientError::Unreachable { server, reason, retry_after_ms: None }
    };
    let connect = async {
        let stream = dial(server).await?;
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())
    };
    let connected = tokio::time::timeout(TIMEOUT, connect).await;
    let connected = connected.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())));
    let (http, connection) = connected.map_err(unreachable)?;
    // It ends with what it is for; a failure is the request's.
    tokio::spawn(connection);
    Ok((http, server.pin()))
}

/// Sends JSON, if there is some, and reads the answer.
async fn ask<B: Serialize, T: DeserializeOwned>(
    http: &mut SendRequest<Full<Bytes>>,
    server: &ServerUrl,
    path: &str,
    body: Option<&B>,
) -> Result<T, ClientError> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let sent = body.map(|body| serde_json::to_vec(body).expect("parameters have string keys")).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header(HOST, server.authority());
    let request = request.header(CONTENT_TYPE, "application/json").body(Full::from(sent));
    let request = request.map_err(|error| ClientError::Answer(error.to_string()))?;
    let exchange = async {
        let ended = |error: hyper::Error| ClientError::Disconnected(error.to_string());
        // After an answer the connection takes no other request before its own task has run again.
        http.ready().await.map_err(ended)?;
        let response = http.send_request(request).await.map_err(ended)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_LEN_MAX).collect().await;
        let body = body.map_err(|error| ClientError::Disconnected(error.to_string()))?;
        Ok((status, body.to_bytes()))
    };
    let late = |_| Err(ClientError::Disconnected(format!("no answer within {} s", TIMEOUT.as_secs())));
    let (status, answer) = tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(late)?;
    if status.is_success() {
        return serde_json::from_slice(&answer).map_err(|error| ClientError::Answer(error.to_string()));
    }
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: ErrorBody,
    }
    Err(match serde_json::from_slice::<Refusal>(&answer) {
        Ok(refusal) => ClientError::Refused(refusal.error),
        Err(_) => ClientError::Answer(format!("HTTP status {status}: is it a new Posthouse server?")),
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_request_may_follow_the_other_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server: ServerUrl = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a URL");
        let answering = tokio::spawn(async move {
            let (reading, mut writing) = listener.accept().await.expect("a client").0.into_split();
            let mut lines = BufReader::new(reading).lines();
            while let Some(line) = lines.next_line().await.expect("it speaks") {
                // The end of a request's head.
                if line.is_empty() {
                    writing.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.expect("it listens");
                }
            }
        });
        let (mut http, _) = open(&server).await.expect("a connection");
        for _ in 0..10_000 {
            ask::<(), serde_json::Map<String, serde_json::Value>>(&mut http, &server, CHALLENGE_PATH, None)
                .await
                .expect("an answer");
        }
        drop(http);
        answering.await.expect("all were answered");
    }
}
