//! Taking connections from the kernel, and turning them away.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::admission::NoPlace;

/// After an accept that failed for want of descriptors or memory the next one waits this long, instead of spinning,
/// or until a connection ends. Newcomers wait in the kernel's queue meanwhile.
const RETRY: Duration = Duration::from_millis(100);

/// It is over when nothing has failed for so long: until then each connection that ends lets one in, and the next
/// one fails.
const RECOVERED_AFTER: Duration = Duration::from_secs(1);

/// Whoever is turned away is told to come back after so many seconds, each after another number, so that they
/// don't all come at once.
const RETRY_AFTER_S: std::ops::RangeInclusive<u64> = 2..=9;

/// How long somebody who is turned away has to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// So many at once are given that time; further ones are cut off.
const FAREWELLS_MAX: usize = 256;

/// Accepts connections, and says once when that fails and once when it works again.
pub(super) struct Accepting {
    /// When it failed last, until it is over.
    failed: Option<Instant>,
    farewells: Arc<Semaphore>,
}

impl Accepting {
    pub fn new() -> Self {
        Self { failed: None, farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)) }
    }

    /// The next connection. Safe to drop before it is ready.
    pub async fn next(&mut self, listener: &TcpListener) -> (TcpStream, SocketAddr) {
        loop {
            match listener.accept().await {
                Ok(accepted) => {
                    if self.failed.is_some_and(|failed| failed.elapsed() >= RECOVERED_AFTER) {
                        tracing::info!("connections are accepted again");
                        self.failed = None;
                    }
                    return accepted;
                }
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    if self.failed.is_none() {
                        tracing::warn!(%error, "no connection can be accepted: newcomers wait");
                    }
                    self.failed = Some(Instant::now());
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Tells a client to come back later: better a clear answer than a long wait. Gives what is left to do.
    pub fn turn_away(&self, stream: TcpStream, reason: NoPlace) -> Option<impl Future<Output = ()> + Send + 'static> {
        let status = match reason {
            NoPlace::Full | NoPlace::Busy => "503 Service Unavailable",
            NoPlace::Careless => "429 Too Many Requests",
        };
        let (least, most) = (*RETRY_AFTER_S.start(), *RETRY_AFTER_S.end());
        let retry_after_s = least + getrandom::u64().unwrap_or_default() % (most - least + 1);
        let answer = format!(
            "HTTP/1.1 {status}\r\nretry-after: {retry_after_s}\r\ncontent-length: 0\r\ncache-control: no-store\r\n\
             connection: close\r\n\r\n"
        );
        // A new socket has room for this; a client that left needs no answer.
        stream.try_write(answer.as_bytes()).ok()?;
        let place = Arc::clone(&self.farewells).try_acquire_owned().ok()?;
        Some(async move {
            farewell(stream).await;
            drop(place);
        })
    }
}

/// Errors of a connection that ended before it was accepted (accept(2)).
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
        || error.raw_os_error() == Some(Errno::EPROTO as i32)
}

/// Lets somebody who is turned away read the answer: a socket that is closed over unread bytes is reset, which
/// can cost the other side what it was told.
async fn farewell(mut stream: TcpStream) {
    let drain = async {
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // It is over either way.
    let _ = tokio::time::timeout(FAREWELL, drain).await;
}
