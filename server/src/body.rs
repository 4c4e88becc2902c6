//! The body of a request, read whole: within bounds of length and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use posthouse_protocol::limits;

/// A request body must arrive within this time (slow loris).
const TIMEOUT: Duration = Duration::from_secs(limits::HTTP_READ_TIMEOUT_S);

/// Why there is none.
#[derive(Clone, Copy, Debug)]
pub struct Unread {
    /// What says so to programs.
    pub status: StatusCode,
    /// And to people.
    pub message: &'static str,
}

/// All of it.
///
/// # Errors
/// Where it is too long, too slow, or does not come whole.
pub async fn read(body: Incoming, len_max: usize) -> Result<Bytes, Unread> {
    let unread = |status, message| Unread { status, message };
    let whole = Limited::new(body, len_max).collect();
    let collected = tokio::time::timeout(TIMEOUT, whole).await;
    let collected = collected.map_err(|_| unread(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))?;
    let bytes = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => unread(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"),
        None => unread(StatusCode::BAD_REQUEST, "the body did not come whole"),
    })?;
    Ok(bytes.to_bytes())
}
