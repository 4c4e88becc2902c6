//! The yardstick: a bare tokio-tungstenite relay that acknowledges to the sender. No accounts, no store.
//!
//! Owns nothing but who is connected under which number. Speaks the few words of `Dialect::Relay`:
//! `hello N` and `send ID TO BODY` are answered with `ok …`; what was sent goes to TO as it came; `join G`
//! makes a connection a member of group `G`, and `cast ID G BODY` goes to all its other members. The
//! benchmark runs it in turns with the server, under the same load, on the same core. Its buffers are the
//! server's, so that the multiples tell what the server adds and not how it was configured.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Frames that wait for one connection; one that is further behind loses some.
const OUTBOX_LEN_MAX: usize = 256;

const BUFFER_LEN: usize = 4 * 1024;

type Outbox = mpsc::Sender<Utf8Bytes>;

#[derive(Default)]
struct Registry {
    people: Mutex<HashMap<u64, Outbox>>,
    groups: Mutex<HashMap<u64, Vec<(u64, Outbox)>>>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("relay serving {}", listener.local_addr()?);
    let registry = Arc::new(Registry::default());
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, Arc::clone(&registry)));
    }
}

async fn serve(stream: TcpStream, registry: Arc<Registry>) {
    // A connection that was cut is what several of the loads do.
    let _ = serve_websocket(stream, &registry).await;
}

async fn serve_websocket(stream: TcpStream, registry: &Registry) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(BUFFER_LEN).write_buffer_size(BUFFER_LEN);
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    let (outbox, mut waiting) = mpsc::channel(OUTBOX_LEN_MAX);
    let mut name = None;
    let result = relay(&mut socket, registry, &outbox, &mut waiting, &mut name).await;
    if let Some(name) = name {
        let mut people = registry.people.lock().unwrap_or_else(PoisonError::into_inner);
        // Its successor may be there already.
        if people.get(&name).is_some_and(|other| other.same_channel(&outbox)) {
            people.remove(&name);
        }
    }
    result
}

async fn relay(
    socket: &mut WebSocketStream<TcpStream>,
    registry: &Registry,
    outbox: &Outbox,
    waiting: &mut mpsc::Receiver<Utf8Bytes>,
    name: &mut Option<u64>,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            message = socket.next() => match message.context("the other side left")?? {
                Message::Text(text) => {
                    let answer = registry.on_text(text, outbox, name).context("not a word of the relay's")?;
                    socket.send(Message::Text(answer)).await?;
                }
                Message::Close(_) => return Ok(()),
                _ => {}
            },
            Some(frame) = waiting.recv() => {
                socket.feed(Message::Text(frame)).await?;
                while let Ok(next) = waiting.try_recv() {
                    socket.feed(Message::Text(next)).await?;
                }
                socket.flush().await?;
            }
        }
    }
}

impl Registry {
    fn on_text(&self, text: Utf8Bytes, outbox: &Outbox, name: &mut Option<u64>) -> Option<Utf8Bytes> {
        let mut words = text.splitn(4, ' ');
        match (words.next()?, words.next()?) {
            ("hello", number) => {
                let number = number.parse().ok()?;
                *name = Some(number);
                self.people.lock().unwrap_or_else(PoisonError::into_inner).insert(number, outbox.clone());
                Some("ok 0".into())
            }
            ("join", group) => {
                let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
                groups.entry(group.parse().ok()?).or_default().push(((*name)?, outbox.clone()));
                Some("ok 0".into())
            }
            ("send", id) => {
                let answer = format!("ok {id}").into();
                let to: u64 = words.next()?.parse().ok()?;
                let to = self.people.lock().unwrap_or_else(PoisonError::into_inner).get(&to).cloned();
                // Full or gone: a relay without a store has nowhere else to put it.
                let _ = to?.try_send(text);
                Some(answer)
            }
            ("cast", id) => {
                let answer = format!("ok {id}").into();
                let group: u64 = words.next()?.parse().ok()?;
                let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
                for (_, member) in groups.get(&group)?.iter().filter(|(member, _)| Some(*member) != *name) {
                    let _ = member.try_send(text.clone());
                }
                Some(answer)
            }
            _ => None,
        }
    }
}
