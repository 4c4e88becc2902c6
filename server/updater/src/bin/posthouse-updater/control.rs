//! The service manager, by its command.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::paths::Paths;

/// The server's unit.
pub const SERVER: &str = "posthoused.service";

/// Watches a trial.
pub const TRIAL: &str = "posthouse-trial.service";

/// Does what the server asks for.
pub const UPDATE: &str = "posthouse-update.service";

/// Probes the server from outside.
pub const PROBE: &str = "posthouse-probe.service";

/// A service manager that does not answer for so long is not waited for any more.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// What the service manager says of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerUnit {
    /// Its main process.
    pub pid: Option<u32>,
    /// Whether it has said that it is ready.
    pub is_ready: bool,
}

/// Has the server started anew, without waiting for it.
pub fn restart_server(paths: &Paths) -> anyhow::Result<()> {
    call(paths, &["restart", "--no-block", SERVER]).map(drop)
}

/// Has a unit started, without waiting for it.
pub fn start(paths: &Paths, unit: &str) -> anyhow::Result<()> {
    call(paths, &["start", "--no-block", unit]).map(drop)
}

/// Starts a unit; what is returned ends when the unit has done its work.
pub fn start_waiting(paths: &Paths, unit: &str) -> std::io::Result<Child> {
    Command::new(&paths.control).args(["start", unit]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()
}

/// How the server is.
pub fn server(paths: &Paths) -> anyhow::Result<ServerUnit> {
    let said = call(paths, &["show", "--property=MainPID", "--property=ActiveState", SERVER])?;
    let property = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let pid = property("MainPID").and_then(|pid| pid.parse().ok()).filter(|pid| *pid != 0);
    Ok(ServerUnit { pid, is_ready: property("ActiveState") == Some("active") })
}

fn call(paths: &Paths, arguments: &[&str]) -> anyhow::Result<String> {
    let program = paths.control.display();
    let mut child = Command::new(&paths.control)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let deadline = Instant::now() + ANSWERS_WITHIN;
    // What it prints fits into the pipe.
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("{program} {} did not end within {ANSWERS_WITHIN:?}", arguments.join(" "));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{program} {} ended with {}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
