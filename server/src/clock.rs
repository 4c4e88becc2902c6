//! What time it is, whether the clock is right, and what to do where it is not.
//!
//! Nothing that the server keeps expires by the clock. It can't set it either: at the claim it leaves what the owner's browser says
//! in a file. `posthouse-box clock`, which may set it, decides for itself whether to.

use std::path::Path;
use std::time::Instant;

/// systemd-timesyncd touches it each time that it has set the clock by a server (systemd-timesyncd(8)). Asking the kernel would
/// need adjtimex(2), which the unit's sandbox rightly does not let through.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

/// Whether the clock was set by a server since the start of the machine.
pub fn is_synchronised() -> bool {
    Path::new(SYNCHRONISED).exists()
}

/// Asks for the clock to be set to so many milliseconds since 1970, unless it is right.
pub fn ask_for(file: &Path, now_ms: u64) {
    if is_synchronised() {
        return;
    }
    let unfinished = file.with_extension("new");
    let left = std::fs::write(&unfinished, format!("{now_ms}\n")).and_then(|()| std::fs::rename(&unfinished, file));
    match left {
        Ok(()) => tracing::info!(now_ms, "the clock is not set: the owner's was passed on"),
        Err(error) => tracing::warn!(%error, file = %file.display(), "the owner's clock can't be passed on"),
    }
}

/// By the runtime's clock, which a test can turn.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
