//! Questions to the box's door, as a browser would ask them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::network::BOX_ADDRESS;

/// QEMU takes the connection before anybody in the guest does.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

pub struct Answer {
    pub status: u16,
    /// Status line and headers.
    head: String,
    pub body: String,
}

impl Answer {
    /// A header's value; names are in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &str| line.split_once(": ").is_some_and(|(found, _)| found.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| named(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }
}

/// What the box answers at a door; nothing where nobody answers.
pub async fn get(door: SocketAddr, path: &str) -> Option<Answer> {
    ask(door, None, &format!("GET {path} HTTP/1.1\r\n"), "").await
}

/// The same of a form that somebody at this address, or at any of this machine's, has filled in.
pub async fn post_form(door: SocketAddr, from: Option<IpAddr>, path: &str, form: &[(&str, &str)]) -> Option<Answer> {
    let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", value.replace(' ', "+"))).collect();
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    ask(door, from, &format!("POST {path} HTTP/1.1\r\n{kind}"), &pairs.join("&")).await
}

/// Sends a head without its end, and a body.
pub async fn ask(door: SocketAddr, from: Option<IpAddr>, head: &str, body: &str) -> Option<Answer> {
    let exchange = async {
        let mut stream = connect(door, from).await.ok()?;
        // Its address is the one name that a box has whatever it is called.
        let len = body.len();
        let rest = format!("Host: {BOX_ADDRESS}\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n{body}");
        stream.write_all(format!("{head}{rest}").as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        parse(&String::from_utf8_lossy(&answer))
    };
    tokio::time::timeout(ANSWER_LIMIT, exchange).await.ok()?
}

async fn connect(door: SocketAddr, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(door).await };
    let socket = if door.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind((from, 0).into())?;
    socket.connect(door).await
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_is_read_and_anything_else_is_none() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nwhy").expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (503, "why"));
        assert_eq!((answer.header("a"), answer.header("b")), (Some("b"), None));
        for other in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 2\r\n\r\n", "SSH-2.0\r\n\r\n"] {
            assert!(parse(other).is_none(), "{other:?}");
        }
    }
}
