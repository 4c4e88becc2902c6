//! Identifiers as newtypes, so that one kind can't be passed for another.
//!
//! Numeric identifiers travel as JSON numbers and stay below 2^53, the largest integer that every
//! JSON reader keeps exact (RFC 8259 §6). A larger one is not read: another reader would take it for its neighbour.

use serde::de::Unexpected;
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits;

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(#[cfg_attr(test, schemars(range(max = crate::limits::NUMBER_MAX)))] pub u64);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                exact(deserializer).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

numeric_id! {
    /// A person's account on this site.
    AccountId
}
numeric_id! {
    /// A device of an account: a log-in.
    DeviceId
}
numeric_id! {
    /// An invite.
    InviteId
}
numeric_id! {
    /// A direct conversation or a group.
    ConversationId
}
numeric_id! {
    /// One message of this site.
    MessageId
}
numeric_id! {
    /// A message's place in its conversation: 1, 2, 3 … without a gap, the same for all members.
    Seq
}
numeric_id! {
    /// Names the life of a database; another value means that it was restored and cursors are void.
    Epoch
}
numeric_id! {
    /// Chosen by the client, unique among its requests that are under way; the answer carries it.
    RequestId
}
numeric_id! {
    /// One connection's session.
    SessionId
}
numeric_id! {
    /// Milliseconds since 1970-01-01T00:00:00Z by the server's clock.
    TimestampMs
}

/// Reads a number that every JSON reader keeps exact.
pub(crate) fn exact<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(deserializer)?;
    if number > limits::NUMBER_MAX {
        return Err(serde::de::Error::invalid_value(Unexpected::Unsigned(number), &"a number below 2^53"));
    }
    Ok(number)
}

/// The same where the number may be left out.
pub(crate) fn exact_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<u64>::deserialize(deserializer)?;
    number.map(|number| exact(serde::de::value::U64Deserializer::new(number))).transpose()
}

/// A place in the stream of everything an account may see. Opaque and rising: keep it, send it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Cursor(pub String);

/// Where a list goes on. Opaque: take it from a page, send it back for the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct PageToken(pub String);

/// The client's own name for a message, so that sending it again is harmless. Unique for a sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(extend("minLength" = 1, "maxLength" = limits::CLIENT_MSG_ID_LEN_MAX)))]
#[cfg_attr(test, schemars(extend("x-max-bytes" = limits::CLIENT_MSG_ID_LEN_MAX, "pattern" = r"^[^\u0000-\u001f\u007f-\u009f]*$")))]
pub struct ClientMsgId(String);

impl ClientMsgId {
    /// Accepts 1 to [`limits::CLIENT_MSG_ID_LEN_MAX`] bytes without control characters.
    pub fn new(value: impl Into<String>) -> Result<Self, ClientMsgIdError> {
        let value = value.into();
        if value.is_empty() || value.len() > limits::CLIENT_MSG_ID_LEN_MAX || value.contains(char::is_control) {
            return Err(ClientMsgIdError);
        }
        Ok(Self(value))
    }

    /// The text as the client chose it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ClientMsgId {
    type Error = ClientMsgIdError;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        Self::new(value)
    }
}

impl From<ClientMsgId> for String {
    fn from(id: ClientMsgId) -> Self {
        id.0
    }
}

/// A `client_msg_id` of a length or with a character that is not allowed.
#[derive(Debug, thiserror::Error)]
#[error("client_msg_id must be 1 to {} bytes long, without control characters", limits::CLIENT_MSG_ID_LEN_MAX)]
pub struct ClientMsgIdError;

/// What a device shows instead of a password. Secret: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A password, as a person types it. Secret: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
#[cfg_attr(test, schemars(extend("x-max-bytes" = limits::PASSWORD_LEN_MAX)))]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What an invited person types to make an account. Secret: `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct InviteCode(pub String);

impl std::fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InviteCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_some_reader_would_round_is_no_identifier() {
        let read = |text: &str| serde_json::from_str::<ConversationId>(text);
        assert_eq!(read("9007199254740991").expect("the largest"), ConversationId(limits::NUMBER_MAX));
        for bad in ["9007199254740992", "18446744073709551615", "18446744073709551616", "9e15", "-1", "\"1\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let error = read("9007199254740993").expect_err("too large").to_string();
        assert!(error.contains("a number below 2^53"), "{error}");
    }
}
