//! WebSocket by hand (RFC 6455), for frames that no library writes and for close codes as they come.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::wait::within;

/// Opcodes of §5.2.
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CONTINUATION: u8 = 0;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// First byte of a frame: this one is its message's last.
pub const FIN: u8 = 0x80;

/// An upgraded socket.
pub struct RawSocket {
    stream: TcpStream,
    close_reason: String,
}

/// What the server sent last.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// A close frame with this code.
    Close(u16),
    /// The end of the stream, or a reset, without a close frame.
    Cut,
}

impl RawSocket {
    /// Connects and upgrades.
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, "").await
    }

    /// The same with further headers, each with its line end.
    pub async fn open_with(address: SocketAddr, headers: &str) -> Self {
        Self::upgrade(TcpStream::connect(address).await.expect("the server accepts"), address, headers).await
    }

    /// The same, with a small receive buffer in the kernel: what such a client does not read soon waits at the
    /// server.
    pub async fn open_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        Self::upgrade(socket.connect(address).await.expect("the server accepts"), address, "").await
    }

    async fn upgrade(mut stream: TcpStream, address: SocketAddr, headers: &str) -> Self {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("the request is taken");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("answer to the upgrade", stream.read_u8()).await.expect("an answer"));
        }
        let head = String::from_utf8(head).expect("a text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // The key and its answer are the example of §1.3.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        Self { stream, close_reason: String::new() }
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the server has gone.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("room to write", self.stream.write_all(bytes)).await
    }

    /// Sends a request and returns the next answer, passing over events.
    pub async fn call(&mut self, id: u64, method: &str, params: serde_json::Value) -> serde_json::Value {
        let request = serde_json::json!({ "id": id, "method": method, "params": params }).to_string();
        self.write(&frame(FIN | TEXT, request.as_bytes())).await.expect("the request is taken");
        loop {
            let text = self.next_text().await.expect("an answer");
            if text.get("id").is_some() {
                return text;
            }
        }
    }

    /// The next text frame as JSON.
    ///
    /// # Errors
    /// How the connection ended, where none comes.
    pub async fn next_text(&mut self) -> Result<serde_json::Value, End> {
        loop {
            match within("frame", self.read_frame()).await {
                Ok((opcode, payload)) if opcode == FIN | TEXT => {
                    return Ok(serde_json::from_slice(&payload).expect("frames are JSON"));
                }
                Ok((opcode, payload)) if opcode == FIN | CLOSE => {
                    self.close_reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                    return Err(End::Close(close_code(&payload)));
                }
                Ok(_) => {}
                Err(_) => return Err(End::Cut),
            }
        }
    }

    /// Reads until the connection ends and says how.
    pub async fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.next_text().await {
                return end;
            }
        }
    }

    /// The reason in the close frame that came, for people.
    pub fn close_reason(&self) -> &str {
        &self.close_reason
    }

    /// Reads one frame of the server: its first byte and its payload.
    ///
    /// # Errors
    /// When the stream ends.
    pub async fn read_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await?;
        let second = self.stream.read_u8().await?;
        assert_eq!(second & 0x80, 0, "a server does not mask");
        let len = match second {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(len).expect("a frame fits into memory")];
        self.stream.read_exact(&mut payload).await?;
        Ok((first, payload))
    }
}

/// A frame as a client has to write it: masked. `first` is the first byte: FIN, reserved bits, opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = header(first, 0x80, payload.len().try_into().expect("a usize fits"));
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A frame without a mask, which only a server may write.
pub fn unmasked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, 0, payload.len().try_into().expect("a usize fits"));
    frame.extend(payload);
    frame
}

/// The head of a masked frame of any claimed length, with its mask and without payload.
pub fn claim(first: u8, len: u64) -> Vec<u8> {
    let mut head = header(first, 0x80, len);
    head.extend([0; 4]);
    head
}

fn header(first: u8, mask_bit: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    if let Ok(short @ 0..126) = u8::try_from(len) {
        header.push(mask_bit | short);
    } else if let Ok(medium) = u16::try_from(len) {
        header.push(mask_bit | 126);
        header.extend(medium.to_be_bytes());
    } else {
        header.push(mask_bit | 127);
        header.extend(len.to_be_bytes());
    }
    header
}

fn close_code(payload: &[u8]) -> u16 {
    // §7.1.5: 1005 stands for "no code was given".
    payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))
}
