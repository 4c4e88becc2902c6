//! A release on trial, as the box's updater tries it: a secret beside the server, and the probe.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Server, Site, binaries};

/// What the probe logs in with.
pub const SECRET: &str = "5ec2e75ec2e75ec2e75ec2e75ec2e75e";

/// What the probe said.
#[derive(Debug)]
pub struct Verdict {
    /// Its exit code.
    pub code: i32,
    /// `passed`, `failed` or `inconclusive`.
    pub verdict: String,
    /// Why.
    pub reason: String,
}

/// Where the secret of this site's trials is.
pub fn secret_file(site: &Site) -> PathBuf {
    site.path("probe-secret")
}

/// Adds to a server's command line that it is on trial.
pub fn on_trial(site: &Site, mut command: Command) -> Command {
    std::fs::write(secret_file(site), format!("{SECRET}\n")).expect("written");
    command.arg("--probe-secret").arg(secret_file(site));
    command
}

/// Starts a server on trial on this site.
///
/// # Panics
/// When it does not start.
pub fn start(site: &Site) -> Server {
    Server::start(on_trial(site, site.command()), site.admin_socket()).expect("the server starts")
}

/// Tries a server with this secret, by HTTPS where there is an authority.
pub fn probe(server: &Server, secret: &Path, authority: Option<&Path>, timeout_s: u32) -> Verdict {
    let mut command = Command::new(binaries::probe());
    command.arg("--probe-secret").arg(secret).args(["--http", &server.address().to_string()]);
    if let Some(authority) = authority {
        command.arg("--authority").arg(authority).args(["--https", &server.secure_address().to_string()]);
    }
    verdict(command.args(["--timeout", &timeout_s.to_string()]))
}

/// Runs the probe.
pub fn verdict(command: &mut Command) -> Verdict {
    let output = command.output().expect("the probe starts");
    let said: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    let text = |name: &str| said[name].as_str().expect("a text").to_owned();
    Verdict { code: output.status.code().expect("no signal"), verdict: text("verdict"), reason: text("reason") }
}

impl Verdict {
    /// Asserts that the server passed.
    #[track_caller]
    pub fn passed(&self) {
        assert_eq!((self.code, self.verdict.as_str()), (0, "passed"), "{self:?}");
    }

    /// Asserts that the server failed, for a reason with these words.
    #[track_caller]
    pub fn failed(&self, words: &str) {
        assert_eq!((self.code, self.verdict.as_str()), (1, "failed"), "{self:?}");
        assert!(self.reason.contains(words), "{self:?}");
    }
}
