//! A network namespace of one's own.

use anyhow::{Context, ensure};

/// Asserts that this process was started in a new one, so that what it does to the network reaches nobody else.
///
/// # Errors
/// There are devices already; the message tells to use `starter`, the script that makes the namespace.
pub fn assert_new(starter: &str) -> anyhow::Result<()> {
    let devices = std::fs::read_to_string("/proc/self/net/dev").context("listing network devices")?;
    ensure!(is_new(&devices), "this is no network namespace of its own: start it by {starter}");
    Ok(())
}

/// A new one has the loopback device alone. The first two lines are heads.
fn is_new(devices: &str) -> bool {
    devices.lines().skip(2).all(|line| line.trim_start().starts_with("lo:"))
}

#[cfg(test)]
mod tests {
    use super::is_new;

    #[test]
    fn a_namespace_with_another_device_is_not_new() {
        let heads = "Inter-|   Receive\n face |bytes\n";
        assert!(is_new(&format!("{heads}    lo:       0\n")));
        assert!(!is_new(&format!("{heads}    lo:       0\n  eth0: 12\n")));
    }
}
