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
use tokio::signal::unix::{SignalKind, signal};

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
    let listener = bind(address).with_context(|| format!("cannot listen on {address}"))?;
    Ok(vec![listener])
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Waits for SIGTERM or SIGINT and names it.
pub async fn stop_signal() -> &'static str {
    let handlers = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    let (mut terminate, mut interrupt) = handlers.expect("signal handlers can be installed in a runtime");
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
