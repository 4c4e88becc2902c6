//! Networks, and other people's programs that look for boxes on them. The boxes are servers in hosts of their own (`discovery-test`), or
//! a machine that is emulated (tests/image).

pub mod lan;
pub mod peers;
pub mod query;

use std::process::Command;

use anyhow::Context;

/// What `ip netns` and Avahi write lies in memory and is nobody else's. To be called in a new namespace of mounts.
pub fn prepare() -> anyhow::Result<()> {
    for words in ["mount -t tmpfs tmpfs /run", "mkdir /run/netns", "ip link set lo up"] {
        let mut words = words.split(' ');
        let status = Command::new(words.next().unwrap_or_default()).args(words).status().context("preparing /run")?;
        anyhow::ensure!(status.success(), "/run could not be prepared: it takes root or user namespaces");
    }
    Ok(())
}
