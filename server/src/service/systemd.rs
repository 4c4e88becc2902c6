//! systemd, through libsystemd.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use systemd::daemon;
use tokio::net::TcpListener;

use super::{Listeners, SECURE_NAME, watchdog};

/// The listening sockets that systemd holds for this service.
pub fn passed_listeners() -> anyhow::Result<Listeners> {
    let passed = daemon::listen_fds_with_names().context("cannot read the sockets that systemd passes")?;
    let adopt = |descriptor| -> anyhow::Result<TcpListener> {
        let listener = daemon::tcp_listener(descriptor).context("systemd passed a socket that is not TCP")?;
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    };
    let mut listeners = Listeners::default();
    for (descriptor, name) in passed.iter() {
        let is_secure = name.to_bytes() == SECURE_NAME.as_bytes();
        let of_its_kind = if is_secure { &mut listeners.secure } else { &mut listeners.plain };
        of_its_kind.push(adopt(descriptor)?);
    }
    Ok(listeners)
}

/// The server serves on `address`, and `status` says what; from here on the watchdog wants to hear of it.
pub fn ready(status: &str, address: Option<SocketAddr>) {
    notify(&[(daemon::STATE_READY, "1"), (daemon::STATE_STATUS, status)]);
    let watchdog_us = daemon::watchdog_enabled().unwrap_or(0);
    if let (Some(address), true) = (address, watchdog_us > 0) {
        let timeout = Duration::from_micros(watchdog_us);
        watchdog::start(address, timeout, || notify(&[(daemon::STATE_WATCHDOG, "1")]));
    }
}

/// The server begins to stop.
pub fn stopping() {
    notify(&[(daemon::STATE_STOPPING, "1"), (daemon::STATE_STATUS, "stopping")]);
}

fn notify(state: &[(&str, &str)]) {
    if let Err(error) = daemon::notify(state.iter()) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
