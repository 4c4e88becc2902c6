//! A person at a terminal: the `posthouse` command with its own settings folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::until;
use crate::{Log, binaries};

/// Someone's settings folder.
pub struct Terminal {
    config_dir: PathBuf,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Said {
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// The output of a command that succeeded without complaint.
    ///
    /// # Panics
    /// When it did not.
    pub fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:?}");
        self.out
    }

    /// Asserts that it failed with one clear line and this status; returns the line.
    ///
    /// # Panics
    /// When it did not.
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        if code == 1 {
            assert_eq!(self.err.lines().count(), 1, "{self:?}");
            assert!(self.err.starts_with("posthouse: "), "{self:?}");
        }
        self.err
    }
}

impl Terminal {
    /// One whose settings are in `config_dir`.
    pub fn new(config_dir: PathBuf) -> Self {
        Self { config_dir }
    }

    /// Where its log-in is kept.
    pub fn login_file(&self) -> PathBuf {
        self.config_dir.join("login.json")
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with_input(arguments, "")
    }

    /// Runs a command to its end, with this on its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Said {
        let running = self.start(arguments, input);
        running.ended()
    }

    /// Starts a command.
    pub fn start(&self, arguments: &[&str], input: &str) -> Running {
        let mut command = Command::new(binaries::client());
        command.args(arguments);
        Running::start(command, &self.config_dir, input)
    }
}

/// A command that runs. Dropping it kills it.
pub struct Running {
    child: Child,
    /// Standard output.
    pub out: Log,
    /// Standard error.
    pub err: Log,
}

impl Running {
    /// Starts a `posthouse` command line with settings in `config_dir` and in no other place.
    pub fn start(mut command: Command, config_dir: &Path, input: &str) -> Self {
        command.env("POSTHOUSE_CONFIG_DIR", config_dir).env("TZ", "UTC").env_remove("POSTHOUSE_ADMIN_SOCKET");
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().expect("the posthouse program starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        // A command that reads nothing may be gone already.
        let _ = stdin.write_all(input.as_bytes());
        let out = Log::follow(child.stdout.take().expect("it is piped"));
        let err = Log::follow(child.stderr.take().expect("it is piped"));
        Self { child, out, err }
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) {
        let id = Pid::from_raw(self.child.id().try_into().expect("process ids are positive"));
        kill(id, Signal::SIGINT).expect("the process is this test's own and not reaped yet");
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Said {
        let status = until("end of the command", || self.child.try_wait().expect("it is this test's child"));
        Said { code: status.code(), out: self.out.whole_text(), err: self.err.whole_text() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
