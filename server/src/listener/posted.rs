//! A request of the second transport: one frame in the body of a POST, its answer in the response.
//!
//! What is wrong with the HTTP around a frame is answered with a status of 400 and above and a frame that has no
//! `id`; what a session answers has status 200.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use posthouse_protocol::{ErrorBody, ErrorCode, Outgoing, limits};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::connection::{PostError, Streams};
use crate::page;

/// A request body must arrive within this time (slow loris).
const BODY_TIMEOUT: Duration = Duration::from_secs(limits::HTTP_READ_TIMEOUT_S);

/// The answer that a session gave, or else what is wrong.
pub(super) async fn answer(
    request: Request<Incoming>,
    streams: &Streams,
) -> Result<Response<Full<Bytes>>, Response<Full<Bytes>>> {
    if request.method() != Method::POST {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "only POST"));
    }
    if !request.headers().get(CONTENT_TYPE).is_some_and(is_json) {
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type is application/json"));
    }
    let Some(secret) = request.headers().get(AUTHORIZATION).and_then(bearer) else {
        return Err(no_stream("the header Authorization: Bearer names the session"));
    };
    let frame = frame(request.into_body()).await?;
    match streams.post(&secret, frame).await {
        Ok(answer) => Ok(page::json_text(StatusCode::OK, answer.as_str().to_owned())),
        Err(PostError::NoStream) => Err(no_stream("there is no such session: open /api/v1/events")),
        Err(PostError::Ended) => {
            let error = ErrorBody::new(ErrorCode::Unavailable, "the session ended before the answer");
            Err(error_page(StatusCode::SERVICE_UNAVAILABLE, &error))
        }
    }
}

/// A frame without an `id` that says what is wrong with a request.
pub(super) fn refusal(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    error_page(status, &ErrorBody::new(ErrorCode::BadRequest, message))
}

async fn frame(body: Incoming) -> Result<Utf8Bytes, Response<Full<Bytes>>> {
    let whole = Limited::new(body, limits::FRAME_LEN_MAX).collect();
    let collected = tokio::time::timeout(BODY_TIMEOUT, whole).await;
    let collected = collected.map_err(|_| refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))?;
    let bytes = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => refusal(StatusCode::PAYLOAD_TOO_LARGE, "the frame is too long"),
        None => refusal(StatusCode::BAD_REQUEST, "the body did not come whole"),
    })?;
    Utf8Bytes::try_from(bytes.to_bytes()).map_err(|_| refusal(StatusCode::BAD_REQUEST, "the text is not UTF-8"))
}

fn no_stream(message: &str) -> Response<Full<Bytes>> {
    let mut response = error_page(StatusCode::UNAUTHORIZED, &ErrorBody::new(ErrorCode::NotConnected, message));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn error_page(status: StatusCode, error: &ErrorBody) -> Response<Full<Bytes>> {
    let frame: Outgoing<'_, serde_json::Value> = Outgoing::Error { id: None, error };
    page::json_text(status, serde_json::to_string(&frame).expect("frames have string keys"))
}

fn is_json(header: &HeaderValue) -> bool {
    let essence = header.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn bearer(header: &HeaderValue) -> Option<String> {
    let (scheme, secret) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned())
}
