//! HTTP by hand (RFC 9112), for requests that no library writes and for event streams as they come.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::wait::within;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers, the headers' names in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// Sends bytes on a connection of their own and reads one answer.
pub async fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("the server accepts");
    // The server may have answered and closed before it took all of it.
    let _ = stream.write_all(request).await;
    let mut stream = BufReader::new(stream);
    if request.starts_with(b"HEAD ") {
        // Its answer says how long a body would be, and has none.
        let head = head(&mut stream).await;
        return Answer { status: status(&head), head, body: Vec::new() };
    }
    answer(&mut stream).await
}

/// A POST with these headers (each with its line end) and this body.
pub async fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> Answer {
    let len = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len}\r\n{headers}\r\n");
    ask(address, &[head.as_bytes(), body].concat()).await
}

/// The status of the answer to a request over TLS, without a look at the certificate.
pub fn status_by_tls(address: SocketAddr, request: &str) -> u16 {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &address.to_string()]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("openssl is installed (image/toolchain/packages/test)");
    child.stdin.take().expect("it is piped").write_all(request.as_bytes()).expect("the request is taken");
    let mut line = String::new();
    // The rest may have no end.
    let read = std::io::BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line);
    let _ = child.kill();
    let _ = child.wait();
    read.expect("a status line");
    status(&line)
}

/// Reads an answer whose length is given, or which ends with its connection.
pub async fn answer(stream: &mut BufReader<TcpStream>) -> Answer {
    let head = head(stream).await;
    let status = status(&head);
    let mut body = Vec::new();
    if let Some(len) = header(&head, "content-length") {
        body.resize(len.parse().expect("a length"), 0);
        within("body", stream.read_exact(&mut body)).await.expect("the whole body");
    }
    Answer { status, head, body }
}

/// An open event stream and its session.
pub struct RawEvents {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    /// Of the piece that is being read, and not taken yet.
    piece: Vec<u8>,
    /// What names the session in a POST.
    pub session: String,
    /// Status line and headers.
    pub head: String,
}

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct StreamEvent {
    /// `open`, `close`, or nothing.
    pub name: String,
    pub id: Option<String>,
    pub data: serde_json::Value,
}

impl RawEvents {
    /// Opens a stream.
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, "").await
    }

    /// The same with further headers, each with its line end.
    pub async fn open_with(address: SocketAddr, headers: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("the server accepts");
        let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.expect("the request is taken");
        let mut stream = BufReader::new(stream);
        let head = head(&mut stream).await;
        assert_eq!(status(&head), 200, "{head}");
        let mut events = Self { address, stream, piece: Vec::new(), session: String::new(), head };
        let opened = events.next().await.expect("the first event");
        assert_eq!((opened.name.as_str(), opened.id), ("open", None));
        opened.data["session"].as_str().expect("a secret").clone_into(&mut events.session);
        events
    }

    /// Posts one request on a connection of its own.
    pub async fn post(&self, body: &[u8]) -> Answer {
        self.posting(body.to_vec()).await
    }

    /// The same, for a task of its own.
    pub fn posting(&self, body: Vec<u8>) -> impl Future<Output = Answer> + Send + use<> {
        let headers = format!(
            "Content-Type: application/json\r\nAuthorization: Bearer {}\r\nConnection: close\r\n",
            self.session
        );
        let address = self.address;
        async move { post(address, "/api/v1/rpc", &headers, &body).await }
    }

    /// Calls a method and gives the frame that answers.
    pub async fn call(&self, id: u64, method: &str, params: serde_json::Value) -> serde_json::Value {
        let request = serde_json::json!({ "id": id, "method": method, "params": params });
        let answer = self.post(request.to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The next event, passing over comments; `None` at the stream's end.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        let (mut name, mut id, mut data) = (String::new(), None, None);
        loop {
            let line = within("line of the stream", self.line()).await?;
            match line.split_once(": ") {
                _ if line.is_empty() => {
                    if let Some(data) = data {
                        return Some(StreamEvent { name, id, data });
                    }
                }
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => data = Some(serde_json::from_str(value).expect("data are JSON")),
                _ => assert!(line.starts_with(':'), "neither field nor comment: {line}"),
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.piece.iter().position(|byte| *byte == b'\n') {
                let rest = self.piece.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.piece, rest);
                line.pop();
                return Some(String::from_utf8(line).expect("a text"));
            }
            let mut size = String::new();
            self.stream.read_line(&mut size).await.ok()?;
            let len = usize::from_str_radix(size.trim_end(), 16).ok().filter(|len| *len > 0)?;
            let mut chunk = vec![0; len + 2];
            self.stream.read_exact(&mut chunk).await.ok()?;
            self.piece.extend_from_slice(&chunk[..len]);
        }
    }
}

async fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut line = String::new();
        let read = within("head of an answer", stream.read_line(&mut line)).await.expect("an answer");
        assert!(read > 0, "the connection ended before the answer: {head}");
        match line.split_once(':') {
            Some((name, value)) => head.push_str(&format!("{}:{value}", name.to_ascii_lowercase())),
            None => head.push_str(&line),
        }
    }
    head
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
