//! `attend`: has what is being tried watched, before each start of the server, behind `pick`.
//!
//! Apart from it, because `pick` may be killed wherever it is: what it has counted by then would be tried without a watcher.

use crate::control;
use crate::kept::Kept;
use crate::paths::Paths;

/// Has the watcher started, where something is tried. One that watches already goes on.
///
/// # Errors
/// When nobody knows whether something is tried, or the service manager does not start it.
pub fn run(paths: &Paths) -> anyhow::Result<()> {
    if Kept::read(paths)?.state.trial.is_some() { control::start(paths, control::TRIAL) } else { Ok(()) }
}
