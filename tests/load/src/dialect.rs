//! The words that a load says and hears, to the server and to the bare relay alike.
//!
//! The server's are the types of `posthouse-protocol`. The client library would need a task and two
//! channels for each of 10,000 connections and shares one core with nobody; so the load uses the same
//! WebSocket stack and the same types without it.

use std::time::Duration;

use posthouse_client::new_client_msg_id;
use posthouse_protocol::{
    Connect, ConnectParams, ConversationId, ErrorBody, Message, Method, Presence, PresenceParams, PresenceStatus,
    Receipt, ReceiptParams, Request, RequestId, Send, SendParams, Seq, Token,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Length of every message's text, in bytes.
pub const TEXT_LEN: usize = 128;

/// Who reads gathers for so long how far, and says it once: as `posthouse chat` does.
pub const RECEIPT_INTERVAL: Duration = Duration::from_millis(500);

/// The id of requests whose answer no load waits for.
const ASIDE: RequestId = RequestId(u32::MAX as u64 - 1);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `posthouse.v1.json`
    Server,
    /// See `bin/relay.rs`.
    Relay,
}

/// Who a connection is.
#[derive(Clone, Debug, serde::Serialize, Deserialize)]
pub struct Person {
    /// 0, 1, 2 … in this benchmark.
    pub number: u64,
    /// The account's name.
    pub username: String,
    /// Its device's token.
    pub token: Token,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A request was carried out.
    Answer(u64),
    /// A request was refused, in this frame.
    Refused(String),
    /// Somebody's message.
    Message {
        /// The server's conversation; 0 from the relay.
        conversation: u64,
        /// Its place in the conversation; 0 from the relay.
        seq: u64,
        /// The sender's number in its text.
        number: u64,
    },
    /// Something that no load waits for.
    Other,
}

/// The fields of all frames that a server writes.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(default)]
    id: Option<RequestId>,
    #[serde(default)]
    error: Option<ErrorBody>,
    #[serde(default)]
    event: Option<&'a str>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Dialect {
    /// The first frame of a connection; its answer has the id 0.
    pub fn hello(self, person: &Person) -> Utf8Bytes {
        match self {
            Self::Server => {
                let params = ConnectParams { token: Some(person.token.clone()), resume: None };
                json(&Request::<Connect>::new(RequestId(0), &params))
            }
            Self::Relay => format!("hello {}", person.number).into(),
        }
    }

    /// A message with a number in its text, to a conversation or, at the relay, to a person.
    pub fn message(self, id: u64, to: u64, number: u64) -> Utf8Bytes {
        match self {
            Self::Server => {
                let params = SendParams::text(ConversationId(to), new_client_msg_id(), text(number));
                json(&Request::<Send>::new(RequestId(id), &params))
            }
            Self::Relay => format!("send {id} {to} {}", text(number)).into(),
        }
    }

    /// That everything in a conversation was read up to a message; the relay knows nothing of the kind.
    pub fn read_up_to(conversation: u64, seq: u64) -> Utf8Bytes {
        let (conversation_id, read, delivered) = (ConversationId(conversation), Some(Seq(seq)), None);
        aside::<Receipt>(&ReceiptParams { conversation_id, read, delivered })
    }

    /// That a person is there, and wants to know who else is.
    pub fn online() -> Utf8Bytes {
        aside::<Presence>(&PresenceParams { status: PresenceStatus::Online })
    }

    /// The relay's message with a number in its text, to all other members of a group.
    pub fn cast(id: u64, group: u64, number: u64) -> Utf8Bytes {
        format!("cast {id} {group} {}", text(number)).into()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// What is no frame.
    pub fn read(self, frame: &str) -> anyhow::Result<Heard> {
        match self {
            Self::Server => read_server(frame),
            Self::Relay => read_relay(frame),
        }
    }
}

/// The number in a message.
///
/// # Errors
/// A message that no load wrote.
pub fn number_of(message: &Message) -> anyhow::Result<u64> {
    number_in(message.text().unwrap_or_default())
}

fn number_in(text: &str) -> anyhow::Result<u64> {
    let digits = text.split('.').next().unwrap_or_default();
    digits.parse().map_err(|_| anyhow::anyhow!("{text:?} begins with no number"))
}

/// [`TEXT_LEN`] bytes that begin with a number.
fn text(number: u64) -> String {
    format!("{number:.<TEXT_LEN$}")
}

fn aside<M: Method>(params: &M::Params) -> Utf8Bytes {
    json(&Request::<M>::new(ASIDE, params))
}

fn json(value: &impl serde::Serialize) -> Utf8Bytes {
    serde_json::to_string(value).expect("requests have string keys").into()
}

fn read_server(frame: &str) -> anyhow::Result<Heard> {
    let fields: Frame = serde_json::from_str(frame)?;
    if let (Some("message"), Some(data)) = (fields.event, fields.data) {
        let message: Message = serde_json::from_str(data.get())?;
        // What the server says itself about a group is nobody's message.
        return if message.client_msg_id.is_some() { heard(&message) } else { Ok(Heard::Other) };
    }
    Ok(match (fields.id, fields.error) {
        (_, Some(error)) => Heard::Refused(format!("{:?}: {}", error.code, error.message)),
        (Some(ASIDE), None) => Heard::Other,
        (Some(id), None) => Heard::Answer(id.0),
        (None, None) => Heard::Other,
    })
}

fn heard(message: &Message) -> anyhow::Result<Heard> {
    let number = number_of(message)?;
    Ok(Heard::Message { conversation: message.conversation_id.0, seq: message.seq.0, number })
}

fn read_relay(frame: &str) -> anyhow::Result<Heard> {
    let mut words = frame.splitn(4, ' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("ok"), Some(id), None, None) => Ok(Heard::Answer(id.parse()?)),
        (Some("send" | "cast"), Some(_), Some(_), Some(text)) => {
            Ok(Heard::Message { conversation: 0, seq: 0, number: number_in(text)? })
        }
        _ => Ok(Heard::Refused(frame.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_its_length_and_gives_its_number_back() {
        for number in [0, 7, 28_000_000, u64::MAX] {
            assert_eq!(text(number).len(), TEXT_LEN);
            assert_eq!(number_in(&text(number)).expect("a number"), number);
        }
        assert!(number_in("hello").is_err());
    }

    #[test]
    fn frames_of_both_are_told_apart() {
        let server = |frame| Dialect::Server.read(frame).expect("a frame");
        assert_eq!(server(r#"{"id":3,"result":{}}"#), Heard::Answer(3));
        assert_eq!(server(r#"{"event":"presence","data":{}}"#), Heard::Other);
        assert_eq!(server(r#"{"id":4294967294,"result":{}}"#), Heard::Other);
        let refused = server(r#"{"id":3,"error":{"code":"not_found","message":"no","retryable":false}}"#);
        assert!(matches!(refused, Heard::Refused(_)), "{refused:?}");
        assert!(Dialect::Server.read("ok").is_err());
        let relayed = Dialect::Relay.message(1, 2, 9);
        let message = Heard::Message { conversation: 0, seq: 0, number: 9 };
        assert_eq!(Dialect::Relay.read(&relayed).expect("a frame"), message);
        assert_eq!(Dialect::Relay.read("ok 4").expect("a frame"), Heard::Answer(4));
    }
}
