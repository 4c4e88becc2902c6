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

/// The sockets that systemd passes, or one bound to `address` where it passes none.
pub fn listeners(address: SocketAddr) -> anyhow::Result<Vec<TcpListener>> {
    let passed = manager::passed_listeners()?;
    if !passed.is_empty() {
        return Ok(passed);
    }
    let listener = bind(address).with_context(|| format!("cannot listen on {address} (--listen names another)"))?;
    Ok(vec![listener])
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
