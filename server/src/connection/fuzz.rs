//! Requests and WebSocket frames, sound and damaged, against one connection with everything behind it.
//!
//! As long as the frames are sound, each text gets one answer that the protocol has a type for, or the close that
//! PROTOCOL.md names. Where they no longer are, the connection may end, with a code of the list. Whatever came before,
//! the next request still works, the connection ends with its client, and what was acknowledged is there and nothing else.

use arbitrary::{Arbitrary, Unstructured};
use futures_util::{FutureExt, StreamExt};
use posthouse_protocol::{ErrorCode, Incoming, Pushed, close, limits};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Opening, config, serve_websocket};
use crate::fuzzing::{ANNA, Acknowledged, BEN, Change, Site, bytes, changes, damaged, example, fuzz, runtime, several};

/// What lies in each direction at most: more than any input comes to.
const PIPE_LEN: usize = 16 * 1024 * 1024;

/// A connection whose client has gone is gone, too, after this time of the virtual clock.
const END: std::time::Duration = std::time::Duration::from_secs(60);

/// What a client sends.
#[derive(Debug, Arbitrary)]
enum Piece {
    /// A request as PROTOCOL.md shows it.
    Sound { example: u8 },
    /// One that is damaged, in a sound frame.
    Text {
        example: u8,
        #[arbitrary(with = changes)]
        changes: Vec<Change>,
    },
    /// A sound request in two frames.
    Fragments { example: u8, at: u16 },
    /// A ping with this payload.
    Ping(#[arbitrary(with = bytes::<125>)] Vec<u8>),
    /// A binary message.
    Binary(#[arbitrary(with = bytes::<64>)] Vec<u8>),
    /// A frame that is damaged itself.
    Frame {
        example: u8,
        #[arbitrary(with = changes)]
        changes: Vec<Change>,
    },
    /// Anything.
    Noise(#[arbitrary(with = bytes::<200>)] Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Input {
    connects_first: bool,
    #[arbitrary(with = |random: &mut Unstructured<'_>| several(random, 1..=12))]
    pieces: Vec<Piece>,
}

#[test]
fn whatever_a_client_sends_it_gets_typed_answers_and_nothing_acknowledged_is_lost() {
    fuzz(|input: &Input| runtime().block_on(Client::run(input)));
}

struct Client {
    site: Site,
    socket: WebSocketStream<DuplexStream>,
    served: JoinHandle<()>,
    next_id: u64,
    /// Whether all frames were sound so far, so that each text has its answer.
    is_sound: bool,
    /// The code, once the server has closed.
    closed: Option<u16>,
    acknowledged: Acknowledged,
}

/// What came back on one piece.
#[derive(Default)]
struct Heard {
    answers: Vec<Value>,
    pongs: Vec<Vec<u8>>,
}

impl Client {
    async fn run(input: &Input) {
        let site = Site::start();
        let (socket, served) = open(&site).await;
        let acknowledged = Acknowledged::default();
        let mut client = Self { site, socket, served, next_id: 1, is_sound: true, closed: None, acknowledged };
        if input.connects_first {
            let connected = client.ask("connect", json!({ "token": ANNA })).await;
            assert!(connected["result"]["cursor"].is_string(), "{connected}");
        }
        for piece in &input.pieces {
            client.send(piece).await;
            if client.closed.is_some() {
                break;
            }
        }
        client.end().await;
    }

    async fn send(&mut self, piece: &Piece) {
        match piece {
            Piece::Sound { example } => {
                let (text, id) = self.example(*example);
                let heard = self.write(&frame(TEXT, text.as_bytes())).await;
                self.check_sound(&heard, &text, id);
            }
            Piece::Fragments { example, at } => {
                let (text, id) = self.example(*example);
                let (first, second) = text.as_bytes().split_at(usize::from(*at) % text.len());
                let mut frames = frame(TEXT & !FINAL, first);
                frames.extend(frame(CONTINUATION, second));
                let heard = self.write(&frames).await;
                self.check_sound(&heard, &text, id);
            }
            Piece::Text { example, changes } => {
                let text = damaged(self.example(*example).0.as_bytes(), changes);
                let heard = self.write(&frame(TEXT, &text)).await;
                self.check_text(&heard, &text);
            }
            Piece::Ping(payload) => {
                let heard = self.write(&frame(PING, payload)).await;
                assert!(!self.is_sound || heard.pongs == [payload.clone()], "each ping has its pong");
            }
            Piece::Binary(payload) => {
                self.write(&frame(BINARY, payload)).await;
                assert!(!self.is_sound || self.closed == Some(close::UNSUPPORTED), "{:?}", self.closed);
            }
            Piece::Frame { example, changes } => {
                let bytes = damaged(&frame(TEXT, self.example(*example).0.as_bytes()), changes);
                self.is_sound = false;
                self.write(&bytes).await;
            }
            Piece::Noise(bytes) => {
                self.is_sound = false;
                self.write(bytes).await;
            }
        }
    }

    fn check_sound(&mut self, heard: &Heard, text: &str, id: u64) {
        if !self.is_sound {
            return;
        }
        let [answer] = heard.answers.as_slice() else { panic!("{text}: {:?}", heard.answers) };
        assert_eq!(answer["id"], id, "{text}");
        let code = answer["error"]["code"].as_str();
        assert!(!code.is_some_and(|code| ["bad_request", "unknown_method"].contains(&code)), "{text}: {answer}");
        self.acknowledged.remember(text.as_bytes(), answer);
    }

    fn check_text(&mut self, heard: &Heard, text: &[u8]) {
        if !self.is_sound {
            return;
        }
        let shown = String::from_utf8_lossy(text);
        if text.len() > limits::FRAME_LEN_MAX {
            assert_eq!(self.closed, Some(close::TOO_BIG), "{} bytes", text.len());
        } else if std::str::from_utf8(text).is_err() {
            assert_eq!(self.closed, Some(close::INVALID_UTF8), "{shown}");
        } else {
            let [answer] = heard.answers.as_slice() else { panic!("{shown}: {:?}", heard.answers) };
            let is_rejected = answer["error"]["code"] == "token_invalid";
            let has_left = shown.contains("logout") || shown.contains("revoke");
            let closed = (is_rejected || has_left && self.closed.is_some()).then_some(close::REAUTHENTICATE);
            assert_eq!(self.closed, closed, "{shown}");
            self.acknowledged.remember(text, answer);
        }
    }

    /// The connection ends, and somebody else looks what there is.
    async fn end(mut self) {
        if self.is_sound && self.closed.is_none() {
            let pong = self.ask("ping", json!({})).await;
            assert_eq!(pong["result"], json!({}), "{pong}");
        }
        drop(self.socket);
        let ended = tokio::time::timeout(END, self.served).await.expect("it ends with its client");
        ended.expect("no task panics");
        let (socket, served) = open(&self.site).await;
        let acknowledged = std::mem::take(&mut self.acknowledged);
        let was_sound = self.is_sound;
        let mut ben = Self { socket, served, next_id: 1, is_sound: true, closed: None, ..self };
        let connected = ben.ask("connect", json!({ "token": BEN })).await;
        assert!(connected["result"]["cursor"].is_string(), "{connected}");
        acknowledged.check(&ben.site.messages().await, was_sound);
    }

    /// A request of the document, with an `id` of its own.
    fn example(&mut self, number: u8) -> (String, u64) {
        let id = self.next_id;
        self.next_id += 1;
        (example(number, id), id)
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let request = json!({ "id": id, "method": method, "params": params }).to_string();
        let mut heard = self.write(&frame(TEXT, request.as_bytes())).await;
        let answer = heard.answers.pop().unwrap_or_else(|| panic!("{request} has no answer: {:?}", self.closed));
        assert_eq!(answer["id"], id);
        answer
    }

    /// Sends bytes and takes what comes back.
    async fn write(&mut self, bytes: &[u8]) -> Heard {
        // It has gone where the server has closed.
        let _ = self.socket.get_mut().write_all(bytes).await;
        self.site.settle().await;
        let mut heard = Heard::default();
        while let Some(next) = self.socket.next().now_or_never() {
            match next {
                Some(Ok(Message::Text(text))) => self.on_frame(&text, &mut heard),
                Some(Ok(Message::Pong(payload))) => heard.pongs.push(payload.to_vec()),
                Some(Ok(Message::Ping(_))) => {}
                Some(Ok(Message::Close(Some(goodbye)))) => self.on_close(goodbye.code.into()),
                Some(Err(error)) if self.is_sound => panic!("{error}"),
                Some(Ok(other)) => panic!("{other:?} is nothing that this server sends"),
                None | Some(Err(_)) => {
                    self.closed = self.closed.or(Some(0));
                    break;
                }
            }
        }
        heard
    }

    fn on_frame(&mut self, text: &str, heard: &mut Heard) {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        match Incoming::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")) {
            Incoming::Event(Pushed::Known(_)) => {}
            Incoming::Event(unknown) => panic!("{unknown:?}"),
            Incoming::Answer { outcome, .. } => {
                let unavailable = outcome.is_err_and(|error| error.code == ErrorCode::Unavailable);
                assert!(!unavailable, "nothing here stops or fails: {text}");
                if !self.is_sound {
                    self.acknowledged.remember(b"", &value);
                }
                heard.answers.push(value);
            }
        }
    }

    fn on_close(&mut self, code: u16) {
        let violations = [close::PROTOCOL_ERROR, close::UNSUPPORTED, close::INVALID_UTF8, close::TOO_BIG];
        let ours = violations.contains(&code) || code == close::REAUTHENTICATE;
        // Who is said goodbye to gets the own code back.
        assert!(ours || !self.is_sound, "closed with {code}");
        self.closed = Some(code);
    }
}

async fn open(site: &Site) -> (WebSocketStream<DuplexStream>, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(PIPE_LEN);
    let server = WebSocketStream::from_raw_socket(server, Role::Server, Some(config())).await;
    let (visitor, router, stopping) = (site.visitor().into(), site.router.clone(), site.stopping.clone());
    let served = tokio::spawn(serve_websocket(server, Opening::default(), visitor, router, stopping));
    (WebSocketStream::from_raw_socket(client, Role::Client, None).await, served)
}

/// First bytes of frames (RFC 6455 §5.2).
const FINAL: u8 = 0x80;
const CONTINUATION: u8 = FINAL;
const TEXT: u8 = FINAL | 1;
const BINARY: u8 = FINAL | 2;
const PING: u8 = FINAL | 9;

/// A frame as a client writes it, with the mask of RFC 6455's examples.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const IS_MASKED: u8 = 0x80;
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(IS_MASKED | u8::try_from(len).expect("below 126")),
        len @ 126..=0xffff => {
            frame.push(IS_MASKED | 126);
            frame.extend(u16::try_from(len).expect("below 2^16").to_be_bytes());
        }
        len => {
            frame.push(IS_MASKED | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
