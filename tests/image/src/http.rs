//! One question to the box's door, as a browser would ask it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// QEMU takes the connection before anybody in the guest does.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// What the box answers at a door; nothing where nobody answers.
pub async fn get(door: SocketAddr, path: &str) -> Option<Answer> {
    let ask = async {
        let mut stream = TcpStream::connect(door).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: posthouse.local\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        parse(&String::from_utf8_lossy(&answer))
    };
    tokio::time::timeout(ANSWER_LIMIT, ask).await.ok()?
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_answer_is_read_and_anything_else_is_none() {
        let answer = parse("HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nwhy").expect("an answer");
        assert_eq!((answer.status, answer.body.as_str()), (503, "why"));
        for other in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 2\r\n\r\n", "SSH-2.0\r\n\r\n"] {
            assert!(parse(other).is_none(), "{other:?}");
        }
    }
}
