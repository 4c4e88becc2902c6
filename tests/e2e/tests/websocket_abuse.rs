//! Whatever comes over the socket ends at most its own connection, and with the code that RFC 6455 has for it.

use posthouse_e2e::raw::{
    BINARY, CLOSE, CONTINUATION, End, FIN, PING, PONG, RawSocket, TEXT, claim, frame, unmasked_frame,
};
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Server, Site};
use posthouse_protocol::{ConversationId, close, limits};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// First reserved bit of a frame.
const RSV1: u8 = 0x40;

/// §7.1.5: a close frame without a code.
const NO_CODE: u16 = 1005;
const NORMAL: u16 = 1000;

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_past_the_limit_closes_with_1009() {
    let mut site = TwoOthers::new().await;
    let longest = u64::try_from(limits::FRAME_LEN_MAX).expect("a usize fits");
    for len in [longest + 1, 1 << 40, u64::MAX >> 1, u64::MAX] {
        site.expect(close::TOO_BIG, &[claim(FIN | TEXT, len)]).await;
    }
    // All of it comes, and the client hears why it was closed before its bytes are refused.
    site.expect(close::TOO_BIG, &[frame(FIN | TEXT, &vec![b' '; 4 * 1024 * 1024])]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_past_the_limit_close_with_1009_and_at_the_limit_make_one_message() {
    let mut site = TwoOthers::new().await;
    let piece = vec![b' '; 1000];
    let mut endless = vec![frame(TEXT, &piece)];
    endless.extend((0..140).map(|_| frame(CONTINUATION, &piece)));
    site.expect(close::TOO_BIG, &endless).await;

    let mut socket = RawSocket::open(site.server.address()).await;
    let request = json!({ "id": 7, "method": "ping" }).to_string();
    let padded = format!("{request}{}", " ".repeat(limits::FRAME_LEN_MAX - request.len()));
    let (first, rest) = padded.as_bytes().split_at(10);
    socket.write(&frame(TEXT, first)).await.expect("taken");
    // A control frame may come between fragments.
    socket.write(&frame(FIN | PING, b"between")).await.expect("taken");
    for piece in rest.chunks(50_000) {
        socket.write(&frame(CONTINUATION, piece)).await.expect("taken");
    }
    socket.write(&frame(FIN | CONTINUATION, b"")).await.expect("taken");
    assert_eq!(within("pong", socket.read_frame()).await.expect("a pong"), (FIN | PONG, b"between".to_vec()));
    assert_eq!(socket.next_text().await, Ok(json!({ "id": 7, "result": {} })));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_not_utf8_closes_with_1007() {
    let mut site = TwoOthers::new().await;
    for bytes in [
        &b"\xff"[..],
        b"{\"id\":1,\"method\":\"p\xc3\x28\"}",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xe4\xbd",
    ] {
        site.expect(close::INVALID_UTF8, &[frame(FIN | TEXT, bytes)]).await;
    }
    // Half a character at the end of a fragment is none; at the end of a message it is.
    site.expect(close::INVALID_UTF8, &[frame(TEXT, b"\xe4\xbd"), frame(FIN | CONTINUATION, b"")]).await;
    let mut socket = RawSocket::open(site.server.address()).await;
    socket.write(&frame(TEXT, b"\"\xe4\xbd")).await.expect("taken");
    socket.write(&frame(FIN | CONTINUATION, b"\xa0\"")).await.expect("taken");
    let answer = socket.next_text().await.expect("an answer");
    assert_eq!(answer["error"]["code"], "bad_request", "a text in two halves is a text");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_violates_the_protocol_closes_with_1002() {
    let mut site = TwoOthers::new().await;
    let mut reserved: Vec<Vec<Vec<u8>>> =
        [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].iter().map(|opcode| vec![frame(FIN | opcode, b"")]).collect();
    reserved.extend([RSV1, RSV1 >> 1, RSV1 >> 2].map(|bit| vec![frame(FIN | bit | TEXT, b"{}")]));
    for frames in reserved.into_iter().chain([
        vec![unmasked_frame(FIN | TEXT, b"{}")],
        vec![unmasked_frame(FIN | PING, b"")],
        vec![frame(PING, b"fragmented")],
        vec![frame(CLOSE, b"")],
        vec![frame(FIN | PING, &[0; 126])],
        vec![frame(FIN | CONTINUATION, b"of nothing")],
        vec![frame(TEXT, b"{"), frame(FIN | TEXT, b"}")],
        vec![frame(FIN | CLOSE, b"\x03")],
    ]) {
        site.expect(close::PROTOCOL_ERROR, &frames).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_message_closes_with_1003() {
    let mut site = TwoOthers::new().await;
    site.expect(close::UNSUPPORTED, &[frame(FIN | BINARY, b"{\"id\":1,\"method\":\"ping\"}")]).await;
    site.expect(close::UNSUPPORTED, &[frame(BINARY, b"{"), frame(FIN | CONTINUATION, b"}")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_goodbye_is_answered_with_its_own_code() {
    let mut site = TwoOthers::new().await;
    site.expect(NORMAL, &[frame(FIN | CLOSE, &NORMAL.to_be_bytes())]).await;
    site.expect(4999, &[frame(FIN | CLOSE, b"\x13\x87see you")]).await;
    site.expect(NO_CODE, &[frame(FIN | CLOSE, b"")]).await;
    // Codes that must not be sent (§7.4.1), and a reason that is no text.
    site.expect(close::PROTOCOL_ERROR, &[frame(FIN | CLOSE, &1005_u16.to_be_bytes())]).await;
    site.expect(close::INVALID_UTF8, &[frame(FIN | CLOSE, b"\x03\xe8\xff")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_is_no_request_is_answered_and_the_connection_goes_on() {
    let mut site = TwoOthers::new().await;
    let mut socket = RawSocket::open(site.server.address()).await;
    let nested = "[".repeat(60_000);
    for text in [
        "",
        "null",
        "{",
        "[]",
        "[1,\"ping\"]",
        "[1,\"ping\",{}]",
        "\"",
        "{\"id\":1}",
        "{\"id\":1.5,\"method\":\"ping\"}",
        "\u{0}",
        nested.as_str(),
    ] {
        socket.write(&frame(FIN | TEXT, text.as_bytes())).await.expect("taken");
        let answer = socket.next_text().await.expect("an answer");
        assert_eq!(answer["error"]["code"], "bad_request", "{answer}");
        assert!(answer["id"].is_null(), "{answer}");
    }
    let answer = socket.call(2, "ping", json!({})).await;
    assert_eq!(answer["result"], json!({}));
    site.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_gets_status_400() {
    let mut site = TwoOthers::new().await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET /ws\r\n\r\n",
        b"GET /ws HTTP/1.1\r\nHo st: x\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        &frame(FIN | TEXT, b"{}\r\n\r\n"),
    ] {
        let answer = site.http(garbage).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{garbage:?}: {answer}");
    }
    let endless = [b"GET / HTTP/1.1\r\nX: ", "x".repeat(100_000).as_bytes()].concat();
    let answer = site.http(&endless).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    site.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_none_of_ours_is_refused_by_http() {
    let mut site = TwoOthers::new().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let subprotocol = |names: &str| {
        format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{upgrade}{key}Sec-WebSocket-Protocol: {names}\r\n\r\n")
    };
    for (request, status) in [
        ("GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), "426"),
        (format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n"), "400"),
        (format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{}{key}\r\n", upgrade.replace("13", "8")), "400"),
        (format!("POST /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{upgrade}{key}\r\n"), "405"),
        (subprotocol("chat"), "400"),
        (subprotocol("posthouse.v2.json"), "400"),
        (subprotocol("chat, posthouse.v1.json"), "101"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(), "405"),
        ("GET /etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), "404"),
    ] {
        let answer = site.http(request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    site.assert_undisturbed().await;
}

/// A server with two people on it whom the abuse must not disturb.
struct TwoOthers {
    server: Server,
    anna: Device,
    ben: Device,
    conversation: ConversationId,
    messages: u32,
    _site: Site,
}

impl TwoOthers {
    async fn new() -> Self {
        let (site, server) = Site::with_accounts(&["anna", "ben"]);
        let anna = Device::log_in(&server.url(), "anna").await;
        let ben = Device::log_in(&server.url(), "ben").await;
        let conversation = anna.direct("ben").await;
        Self { server, anna, ben, conversation, messages: 0, _site: site }
    }

    /// Sends frames on a connection of their own, logged in and not, and asserts how that connection ends.
    async fn expect(&mut self, code: u16, frames: &[Vec<u8>]) {
        for connected in [false, true] {
            let mut socket = RawSocket::open(self.server.address()).await;
            if connected {
                socket.call(1, "connect", json!({ "token": self.anna.token })).await;
            }
            for frame in frames {
                // The server has to take what it refuses, or the sender never reads why.
                socket.write(frame).await.expect("the server takes the whole frame");
            }
            let shown: Vec<_> = frames.iter().map(|frame| &frame[..frame.len().min(20)]).collect();
            assert_eq!(socket.end().await, End::Close(code), "{shown:x?}");
            self.assert_undisturbed().await;
        }
    }

    /// Sends bytes and reads the answer's head.
    async fn http(&mut self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.server.address()).await.expect("the server accepts");
        // The server may have answered and closed before it took all of it.
        let _ = stream.write_all(bytes).await;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match within("answer", stream.read_u8()).await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    /// The two others chat on, and nothing alarming is in the log.
    async fn assert_undisturbed(&mut self) {
        self.messages += 1;
        let text = format!("message {}", self.messages);
        let sent = self.anna.send(self.conversation, &text).await;
        let received = self.ben.next_message().await;
        assert_eq!((received.seq, received.text()), (sent.seq, Some(text.as_str())));
        self.server.assert_undisturbed();
    }
}
