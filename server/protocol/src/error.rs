//! The error that an answer carries in place of a result.

use serde::{Deserialize, Serialize};

/// What went wrong, for programs. New codes may come: treat an unknown one by `retryable` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// The frame is not a request: no JSON, no `id`, no `method`.
    BadRequest,
    /// There is no such method.
    UnknownMethod,
    /// The parameters are missing, of a wrong type or out of bounds.
    InvalidParams,
    /// The method needs `connect` first.
    NotConnected,
    /// `connect` was called before on this connection.
    AlreadyConnected,
    /// User name and password don't match an account.
    LoginFailed,
    /// The token is unknown, revoked or expired.
    TokenInvalid,
    /// The password is right and has to be changed before the first log-in: `password.change`.
    PasswordChangeRequired,
    /// The account is disabled; an administrator can enable it.
    AccountDisabled,
    /// Nobody owns the box yet: it has to be claimed first.
    Unclaimed,
    /// The code is not the one that stands on the box's console.
    CodeWrong,
    /// The invite is unknown, expired, used up or revoked.
    InviteInvalid,
    /// It does not exist, or it is not for this account to see.
    NotFound,
    /// The account's role does not allow it.
    Forbidden,
    /// There are as many as there may be.
    LimitReached,
    /// The name is taken already.
    AlreadyExists,
    /// The `client_msg_id` was used before for another message.
    Conflict,
    /// What lies behind this cursor is no longer kept: drop what you hold and `sync` from `"0"`.
    CursorExpired,
    /// There is no room for it on the box's card.
    StorageFull,
    /// This account or this address asks too often; the same request may succeed after `retry_after_ms`.
    RateLimited,
    /// The server is too busy; the same request may succeed later.
    Overloaded,
    /// The server is stopping, or its database fails; reconnect and try again.
    Unavailable,
}

/// The `error` of an answer: `{code, message, retryable, retry_after_ms?}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[error("{message}")]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people, in English.
    pub message: String,
    /// Whether the same request may succeed later without a change.
    pub retryable: bool,
    /// How long to wait before the next try, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// An error with the retry advice that goes with its code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let retryable = matches!(code, ErrorCode::RateLimited | ErrorCode::Overloaded | ErrorCode::Unavailable);
        Self { code, message: message.into(), retryable, retry_after_ms: None }
    }

    /// The same error, with a time to wait before the next try.
    pub fn retry_after_ms(mut self, wait_ms: u64) -> Self {
        self.retry_after_ms = Some(wait_ms);
        self
    }
}
