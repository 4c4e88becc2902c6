//! No service manager: nothing passes sockets and nobody is told.

use std::net::SocketAddr;

use super::Listeners;

/// None.
#[expect(clippy::unnecessary_wraps, reason = "with systemd it can fail")]
pub fn passed_listeners() -> anyhow::Result<Listeners> {
    Ok(Listeners::default())
}

/// Nobody is told.
pub fn ready(_status: &str, _address: Option<SocketAddr>) {}

/// Nobody is told.
pub fn stopping() {}
