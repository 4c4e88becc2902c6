//! The service manager's side of the server: sockets that it holds, what it wants to know, when it says
//! stop. With the feature `systemd` this is libsystemd's protocol; without it, and when another program
//! started the process, the same calls bind an address and tell nobody.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::store::Store;

/// Connections that wait to be accepted, where this process makes the socket: as many as clients may
/// come back at once. The kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// The sockets that systemd passes, or one bound to `address` where it passes none.
pub async fn listeners(address: SocketAddr) -> anyhow::Result<Vec<TcpListener>> {
    let passed = passed_listeners()?;
    if !passed.is_empty() {
        return Ok(passed);
    }
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
    let bind = |socket: tokio::net::TcpSocket| {
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let listener = socket.and_then(bind).with_context(|| format!("cannot listen on {address}"))?;
    Ok(vec![listener])
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

#[cfg(feature = "systemd")]
mod systemd_service {
    //! libsystemd.

    use std::time::Duration;

    use systemd::daemon;

    use super::{Context, Store, TcpListener};

    pub fn passed_listeners() -> anyhow::Result<Vec<TcpListener>> {
        let passed = daemon::listen_fds().context("cannot read the sockets that systemd passes")?;
        let adopt = |descriptor| -> anyhow::Result<TcpListener> {
            let listener = daemon::tcp_listener(descriptor).context("systemd passed a socket that is not TCP")?;
            listener.set_nonblocking(true)?;
            Ok(TcpListener::from_std(listener)?)
        };
        passed.iter().map(adopt).collect()
    }

    pub fn ready(store: Store) {
        notify(&[(daemon::STATE_READY, "1"), (daemon::STATE_STATUS, "serving")]);
        let watchdog_us = daemon::watchdog_enabled().unwrap_or(0);
        if watchdog_us > 0 {
            tokio::spawn(feed_watchdog(store, Duration::from_micros(watchdog_us) / 3));
        }
    }

    pub fn stopping() {
        notify(&[(daemon::STATE_STOPPING, "1"), (daemon::STATE_STATUS, "stopping")]);
    }

    /// Says "alive" as long as the runtime turns and the store takes commands; ends with the process.
    async fn feed_watchdog(store: Store, every: Duration) {
        let mut due = tokio::time::interval(every);
        while store.is_serving() {
            due.tick().await;
            notify(&[(daemon::STATE_WATCHDOG, "1")]);
        }
    }

    fn notify(state: &[(&str, &str)]) {
        if let Err(error) = daemon::notify(state.iter()) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

#[cfg(not(feature = "systemd"))]
mod systemd_service {
    //! No service manager.

    use super::{Store, TcpListener};

    // The same signature as with systemd, where it can fail.
    #[expect(clippy::unnecessary_wraps)]
    pub fn passed_listeners() -> anyhow::Result<Vec<TcpListener>> {
        Ok(Vec::new())
    }

    pub fn ready(_store: Store) {}

    pub fn stopping() {}
}

use systemd_service::passed_listeners;
pub use systemd_service::{ready, stopping};
