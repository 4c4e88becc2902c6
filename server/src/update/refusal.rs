//! Why something about updates is not done, and how programs are told.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use posthouse_protocol::{ErrorBody, ErrorCode};

use super::fetch::FetchError;
use super::upload;
use crate::page;

/// Why.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What the router says: no valid token, a disabled account, too many requests.
    #[error("{0}")]
    Caller(ErrorBody),
    /// A role that does not suffice.
    #[error("only {0} may do that")]
    Role(&'static str),
    /// A developer's server, or a machine that is kept up to date by other means.
    #[error("this server has no updater: it is not updated this way")]
    NoUpdater,
    /// Not a request that could be carried out.
    #[error("{0}")]
    Odd(String),
    /// A body of another kind.
    #[error("the content type is {0}")]
    MediaType(&'static str),
    /// A body that could not be read.
    #[error("{message}")]
    Unread {
        /// What says so to programs.
        status: StatusCode,
        /// And to people.
        message: &'static str,
    },
    /// Nothing here goes by that path or hash.
    #[error("{0}")]
    NotFound(&'static str),
    /// Not now.
    #[error("{0}")]
    Conflict(String),
    /// A piece of a bundle that does not belong where the bundle ends so far.
    #[error("{have} bytes of it are here: go on from there")]
    Offset {
        /// So many.
        have: u64,
    },
    /// More than any bundle has.
    #[error("a bundle has at most {0} bytes")]
    TooLong(u64),
    /// The card is full.
    #[error(
        "there is no room on the box: this needs {needed} bytes and {free} are free, of which {kept} are kept for messages"
    )]
    NoRoom {
        /// For what is still to come.
        needed: u64,
        /// At present.
        free: u64,
        /// Of these, not for updates.
        kept: u64,
    },
    /// The update URL, or what came from it.
    #[error("{0}")]
    Source(#[from] FetchError),
    /// The server stops in the midst of it.
    #[error("the server is stopping: go on when it is back")]
    Stopping,
    /// The inbox.
    #[error("the box cannot keep it: {0}")]
    Io(#[from] std::io::Error),
}

impl Refused {
    /// As an answer to a request.
    pub fn response(&self) -> Response<Full<Bytes>> {
        let (status, code) = self.status();
        let error = match self {
            Self::Caller(error) => error.clone(),
            other => ErrorBody::new(code, other.to_string()),
        };
        let mut response = page::error(status, &error);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Self::Offset { have } = self {
            upload::say(&mut response, *have, false);
        }
        response
    }

    fn status(&self) -> (StatusCode, ErrorCode) {
        match self {
            Self::Caller(error) => (caller_status(error.code), error.code),
            Self::Role(_) => (StatusCode::FORBIDDEN, ErrorCode::Forbidden),
            Self::NoUpdater | Self::NotFound(_) => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
            Self::Odd(_) => (StatusCode::BAD_REQUEST, ErrorCode::InvalidParams),
            Self::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::BadRequest),
            Self::Unread { status, .. } => (*status, ErrorCode::BadRequest),
            Self::Conflict(_) | Self::Offset { .. } => (StatusCode::CONFLICT, ErrorCode::Conflict),
            Self::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::LimitReached),
            Self::NoRoom { .. } => (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::StorageFull),
            Self::Source(_) => (StatusCode::BAD_GATEWAY, ErrorCode::Conflict),
            Self::Stopping | Self::Io(_) => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
        }
    }
}

fn caller_status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::TokenInvalid | ErrorCode::NotConnected => StatusCode::UNAUTHORIZED,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Overloaded | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::FORBIDDEN,
    }
}
