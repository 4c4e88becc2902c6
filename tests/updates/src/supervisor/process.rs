//! One command of a unit as a process: how it is started, killed and found to have ended.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Event, Journal, Options};

/// Puts the sockets, which come as standard input and output, where systemd puts them: from descriptor 3 on.
const PLACE_SOCKETS: &str = r#"exec "$0" "$@" 3<&0 4<&1 </dev/null >&2"#;

/// systemd's way to say that the output can't be opened (`EXIT_STDOUT`, man systemd.exec).
const EXIT_STDOUT: &str = "echo 'cannot open the standard output' >&2; exit 209";

/// A process, or what is left of its group.
pub struct Process {
    id: Pid,
    /// Tells its end from that of others.
    pub number: u64,
    /// How it ended, once it has.
    pub ended: Option<ExitStatus>,
}

/// What a command is started with.
pub struct Start<'a> {
    pub unit: &'a str,
    pub words: &'a [String],
    pub environment: Vec<(String, String)>,
    /// The listening sockets, for a service that has them.
    pub sockets: Option<[&'a TcpListener; 2]>,
    /// Where what it prints goes, if not to the log.
    pub output: Option<PathBuf>,
    /// Folders that are made for it.
    pub folders: Vec<PathBuf>,
}

impl Process {
    /// Starts it; its end is told to `events`.
    pub fn start(start: &Start, number: u64, options: &Options, journal: &Journal, events: &Sender<Event>) -> Self {
        let words: Vec<String> = start.words.iter().map(|word| options.mapped(word)).collect();
        let mut command = command(&options.launcher, &words, start);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(options.environment.iter().cloned());
        command.envs(options.armed.variable());
        command.envs(start.environment.iter().map(|(name, value)| (name, value)));
        // Its own group stands for the unit's control group.
        let mut child = command.process_group(0).stderr(Stdio::piped()).spawn().expect("the launcher starts");
        journal.follow(start.unit, child.stderr.take().expect("it is piped"));
        let id = Pid::from_raw(child.id().try_into().expect("process ids are positive"));
        let (events, unit) = (events.clone(), start.unit.to_owned());
        std::thread::spawn(move || {
            let status = child.wait().expect("it is this thread's child");
            // Nobody listens once the supervisor is gone.
            let _ = events.send(Event::Ended { unit, number, status });
        });
        Self { id, number, ended: None }
    }

    pub fn id(&self) -> i32 {
        self.id.as_raw()
    }

    /// Signals its whole group; one that is gone is no matter.
    pub fn signal(&self, signal: Signal) {
        let _ = killpg(self.id, signal);
    }
}

fn command(launcher: &Path, words: &[String], start: &Start) -> Command {
    // systemd opens it before it makes the folders, so that it can't lie in one of them the first time.
    let output = start.output.as_ref().map(File::create).transpose();
    for folder in &start.folders {
        std::fs::create_dir_all(folder).expect("a runtime directory");
    }
    let Ok(output) = output else {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", EXIT_STDOUT]);
        return command;
    };
    let Some(sockets) = start.sockets else {
        let mut command = Command::new(launcher);
        command.args(words).stdin(Stdio::null()).stdout(output.map_or_else(Stdio::null, Stdio::from));
        return command;
    };
    let [http, https] = sockets.map(|socket| OwnedFd::from(socket.try_clone().expect("a descriptor")));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", PLACE_SOCKETS]).arg(launcher).args(words).stdin(http).stdout(https);
    command
}

/// What systemd says of an end: `$EXIT_CODE` and `$EXIT_STATUS` (man systemd.exec).
pub fn exit_words(status: ExitStatus) -> (&'static str, String) {
    match (status.code(), status.signal()) {
        (Some(code), _) => ("exited", code.to_string()),
        (None, Some(signal)) => {
            let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
            let how = if status.core_dumped() { "dumped" } else { "killed" };
            (how, name.trim_start_matches("SIG").to_owned())
        }
        (None, None) => unreachable!("a process that has ended has a code or a signal"),
    }
}
