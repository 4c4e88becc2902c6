//! A client's end of HTTP connections, without a network: what it writes is any bytes, what it reads has to be HTTP.

use std::net::Ipv4Addr;

use futures_util::FutureExt;
use posthouse_protocol::appliance::PlainHttp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::{Carrier, Gate, House, converse};
use crate::fuzzing::Site;
use crate::names::Names;

/// What lies in each direction at most: more than any input comes to.
const PIPE_LEN: usize = 16 * 1024 * 1024;

/// A listener's gate to the site.
pub fn gate(site: &Site) -> Gate {
    let names = Names { host: "posthouse".to_owned(), extra: Vec::new(), addresses: Vec::new() };
    let house = House { router: site.router.clone(), names: watch::channel(names).1, plain_http: PlainHttp::Allowed };
    Gate::new(Some(house), site.admission.clone(), site.handler(), site.stopping.clone())
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A connection.
pub struct Line {
    client: DuplexStream,
    served: JoinHandle<()>,
}

impl Line {
    pub fn open(site: &Site, gate: &Gate) -> Self {
        let (client, server) = tokio::io::duplex(PIPE_LEN);
        let served =
            tokio::spawn(converse(server, Carrier::Plain, Ipv4Addr::LOCALHOST.into(), site.visitor(), gate.clone()));
        Self { client, served }
    }

    /// Writes bytes and reads what comes back, until nothing more does.
    pub async fn ask(&mut self, site: &mut Site, request: &[u8]) -> Vec<Answer> {
        // A server that hung up already has answered.
        let _ = self.client.write_all(request).await;
        site.settle().await;
        answers(&self.read(), request.starts_with(b"HEAD "))
    }

    /// The client goes; so does the server's end.
    pub async fn end(self) {
        drop(self.client);
        let ended = tokio::time::timeout(super::END, self.served).await.expect("it ends with its client");
        ended.expect("no task panics");
    }

    fn read(&mut self) -> Vec<u8> {
        let (mut all, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        while let Some(Ok(len @ 1..)) = self.client.read(&mut piece).now_or_never() {
            all.extend(&piece[..len]);
        }
        all
    }
}

/// One request on a connection of its own.
pub async fn ask_once(site: &mut Site, gate: &Gate, request: &[u8]) -> Answer {
    let mut line = Line::open(site, gate);
    let mut answers = line.ask(site, request).await;
    line.end().await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.remove(0)
}

/// An open event stream.
pub struct Stream {
    line: Line,
    read: Vec<u8>,
}

impl Stream {
    /// Opens one; gives its secret.
    pub async fn open(site: &mut Site, gate: &Gate) -> (Self, String) {
        let mut line = Line::open(site, gate);
        let request = b"GET /api/v1/events HTTP/1.1\r\nHost: posthouse.local\r\n\r\n";
        let answers = line.ask(site, request).await;
        let opened = String::from_utf8(answers[0].body.clone()).expect("UTF-8");
        let secret = opened.strip_prefix("event: open\ndata: {\"session\":\"").and_then(|rest| rest.split('"').next());
        let secret = secret.unwrap_or_else(|| panic!("no secret in {opened}")).to_owned();
        (Self { line, read: Vec::new() }, secret)
    }

    /// Takes what has come.
    pub fn read(&mut self) {
        let more = self.line.read();
        self.read.extend(more);
    }

    /// Whether the server has said goodbye.
    pub fn is_closed(&self) -> bool {
        self.read.windows(12).any(|window| window == b"event: close")
    }
}

/// Reads answers one behind the other; what is no HTTP panics. What follows an upgrade is left out.
fn answers(mut rest: &[u8], is_head: bool) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&rest[..end]).expect("a head in ASCII").to_ascii_lowercase();
        rest = &rest[end + 4..];
        let status = head.strip_prefix("http/1.1 ").or(head.strip_prefix("http/1.0 ")).expect("a status line");
        let status = status[..3].parse().expect("a status");
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body = match (field("content-length:"), field("transfer-encoding:")) {
            _ if is_head || status == 101 => Vec::new(),
            (Some(len), None) => {
                let (body, behind) = rest.split_at(len.parse().expect("a length"));
                rest = behind;
                body.to_vec()
            }
            (None, Some("chunked")) => unchunked(&mut rest),
            // To the end of the connection, as of old.
            (None, None) => std::mem::take(&mut rest).to_vec(),
            other => panic!("{other:?} in {head}"),
        };
        answers.push(Answer { status, body });
        if status == 101 {
            break;
        }
    }
    answers
}

/// A body in chunks (RFC 9112 §7.1), as far as it has come.
fn unchunked(rest: &mut &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let len = std::str::from_utf8(&rest[..end]).ok().and_then(|len| usize::from_str_radix(len, 16).ok());
        let len = len.expect("a chunk's length");
        body.extend(&rest[end + 2..end + 2 + len]);
        *rest = &rest[end + 2 + len + 2..];
        if len == 0 {
            break;
        }
    }
    body
}
