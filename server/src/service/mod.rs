//! The service manager's side of the server: sockets that it holds, what it wants to know, when it says
//! stop.
//!
//! With the feature `systemd` this is libsystemd's protocol; without it, and when another program started
//! the process, the same calls bind an address and tell nobody. The composition calls it.

#[cfg_attr(feature = "systemd", path = "systemd.rs")]
#[cfg_attr(not(feature = "systemd"), path = "none.rs")]
mod manager;
#[cfg(feature = "systemd")]
mod watchdog;

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use manager::{ready, stopping};

/// Connections that wait to be accepted, where this process makes the socket: as many as clients may
/// come back at once. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// What systemd calls the sockets for HTTPS (FileDescriptorName=); every other one is for plain HTTP.
#[cfg_attr(not(feature = "systemd"), expect(dead_code, reason = "only systemd passes sockets"))]
const SECURE_NAME: &str = "https";

/// The listening sockets.
#[derive(Default)]
pub struct Listeners {
    /// For plain HTTP.
    pub plain: Vec<TcpListener>,
    /// For HTTPS.
    pub secure: Vec<TcpListener>,
}

/// The sockets that systemd passes, or, where it passes none, one bound to `plain` and one to `secure`, if that is asked for.
pub fn listeners(plain: SocketAddr, secure: Option<SocketAddr>) -> anyhow::Result<Listeners> {
    let passed = manager::passed_listeners()?;
    if !passed.plain.is_empty() || !passed.secure.is_empty() {
        return Ok(passed);
    }
    let bound =
        |address, option| bind(address).with_context(|| format!("cannot listen on {address} ({option} names another)"));
    let secure = secure.map(|address| bound(address, "--listen-tls")).transpose()?;
    Ok(Listeners { plain: vec![bound(plain, "--listen")?], secure: secure.into_iter().collect() })
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The signals that ask for a stop. From its making on they no longer end the process by themselves.
pub struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    /// To be made before anybody can see that the server serves: who asks for a stop then gets a clean one.
    pub fn catch() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("cannot catch the signals that ask for a stop");
        Ok(Self { terminate: catch(SignalKind::terminate())?, interrupt: catch(SignalKind::interrupt())? })
    }

    /// Waits for SIGTERM or SIGINT and names it.
    pub async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
