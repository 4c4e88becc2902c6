//! The frames around methods and events.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::event::Pushed;
use crate::{ErrorBody, ErrorCode, Method, Push, RequestId, strict};

/// A request as a client writes it: `{"id": 1, "method": "send", "params": {…}}`.
#[derive(Debug, Serialize)]
pub struct Request<'a, M: Method> {
    /// The answer will carry it.
    pub id: RequestId,
    method: &'static str,
    params: &'a M::Params,
}

impl<'a, M: Method> Request<'a, M> {
    /// A request for the method `M`.
    pub fn new(id: RequestId, params: &'a M::Params) -> Self {
        Self { id, method: M::NAME, params }
    }
}

/// A request as the server reads it, its parameters still unparsed.
#[derive(Debug, Deserialize)]
pub struct RequestHead<'a> {
    /// To be repeated in the answer.
    pub id: RequestId,
    /// Which method.
    #[serde(borrow)]
    pub method: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

impl<'a> RequestHead<'a> {
    /// Reads the envelope of a request.
    pub fn parse(frame: &'a str) -> Result<Self, ErrorBody> {
        strict::from_str(frame)
            .map_err(|error| ErrorBody::new(ErrorCode::BadRequest, format!("the frame is not a request: {error}")))
    }

    /// Reads the parameters of the method `M`. Missing parameters count as `{}`.
    pub fn params<M: Method>(&self) -> Result<M::Params, ErrorBody> {
        strict::from_str(self.params.map_or("{}", RawValue::get))
            .map_err(|error| ErrorBody::new(ErrorCode::InvalidParams, format!("{}: {error}", M::NAME)))
    }
}

/// What the server writes: an answer or an event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Outgoing<'a, R: Serialize> {
    /// The request was carried out.
    Result {
        /// The request's.
        id: RequestId,
        /// As the method says.
        result: &'a R,
    },
    /// The request was refused and changed nothing.
    Error {
        /// The request's; `null` where none could be read.
        id: Option<RequestId>,
        /// Why.
        error: &'a ErrorBody,
    },
}

/// What a client reads.
#[derive(Debug)]
pub enum Incoming {
    /// The answer to one of its requests.
    Answer {
        /// The request's; `None` where the server could not read one.
        id: Option<RequestId>,
        /// The unparsed result, or the error.
        outcome: Result<Box<RawValue>, ErrorBody>,
    },
    /// Said unasked.
    Event(Pushed),
}

#[derive(Deserialize)]
struct IncomingFields {
    #[serde(default)]
    id: Option<RequestId>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<ErrorBody>,
    #[serde(default)]
    event: Option<serde::de::IgnoredAny>,
}

impl Incoming {
    /// Reads a frame from the server.
    pub fn parse(frame: &str) -> Result<Self, serde_json::Error> {
        let fields: IncomingFields = serde_json::from_str(frame)?;
        if fields.event.is_some() {
            return Push::parse(frame).map(Self::Event);
        }
        let outcome = match (fields.result, fields.error) {
            (Some(result), None) => Ok(result),
            (None, Some(error)) => Err(error),
            _ => return Err(serde::de::Error::custom("neither result nor error nor event")),
        };
        Ok(Self::Answer { id: fields.id, outcome })
    }
}

/// Reads the result of the method `M` from an answer.
impl Incoming {
    /// Parses `result` as the method `M` declares it.
    pub fn result<M: Method>(result: &RawValue) -> Result<M::Result, serde_json::Error>
    where
        M::Result: DeserializeOwned,
    {
        serde_json::from_str(result.get())
    }
}
