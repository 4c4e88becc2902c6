//! A request of the second transport: one frame in the body of a POST, its answer in the response.
//!
//! What is wrong with the HTTP around a frame is answered with a status of 400 and above and a frame that has no
//! `id`; what a session answers has status 200.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use posthouse_protocol::{ErrorBody, ErrorCode, limits};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::connection::{PostError, Streams};
use crate::{body, page};

/// The answer that a session gave, or else what is wrong.
pub(super) async fn answer(
    request: Request<Incoming>,
    streams: &Streams,
) -> Result<Response<Full<Bytes>>, Response<Full<Bytes>>> {
    if !page::is_json(request.headers()) {
        return Err(bad(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type is application/json"));
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
            Err(page::error(StatusCode::SERVICE_UNAVAILABLE, &error))
        }
    }
}

/// A frame without an `id` that says what is wrong with a request.
pub(super) fn refusal(status: StatusCode, code: ErrorCode, message: &str) -> Response<Full<Bytes>> {
    page::error(status, &ErrorBody::new(code, message))
}

async fn frame(sent: Incoming) -> Result<Utf8Bytes, Response<Full<Bytes>>> {
    let bytes = body::read(sent, limits::FRAME_LEN_MAX).await.map_err(|unread| bad(unread.status, unread.message))?;
    Utf8Bytes::try_from(bytes).map_err(|_| bad(StatusCode::BAD_REQUEST, "the text is not UTF-8"))
}

fn no_stream(message: &str) -> Response<Full<Bytes>> {
    let mut response = page::error(StatusCode::UNAUTHORIZED, &ErrorBody::new(ErrorCode::NotConnected, message));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn bad(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    refusal(status, ErrorCode::BadRequest, message)
}

fn bearer(header: &HeaderValue) -> Option<String> {
    let (scheme, secret) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned())
}
