//! A box: the real server in a host, with a data folder that outlives it.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use posthouse_e2e::wait::until;
use posthouse_e2e::{Log, binaries};
use tempfile::TempDir;

use crate::lan::Host;

/// Where the server listens in each box.
pub const PORT: u16 = 8080;

/// And where for TLS, if it has an authority.
pub const SECURE_PORT: u16 = 8443;

/// A box that may run.
pub struct Server<'a> {
    host: &'a Host,
    data: TempDir,
    authority: Option<PathBuf>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    log: Log,
}

impl<'a> Server<'a> {
    /// Starts a box that wants to be called `name`, and waits until it serves.
    pub fn start(host: &'a Host, name: &str) -> Self {
        let mut server = Self::off(host, name);
        server.on();
        server
    }

    /// One that is switched off still.
    pub fn off(host: &'a Host, name: &str) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let settings = serde_json::json!({ "host_name": name });
        std::fs::write(data.path().join("settings.json"), settings.to_string()).expect("writing settings");
        Self { host, data, authority: None, running: None }
    }

    /// Has it ask for certificates at this socket, whether or not somebody answers.
    pub fn ask_for_certificates(&mut self, socket: &Path) {
        self.authority = Some(socket.to_owned());
    }

    /// Starts it; returns when it began to serve.
    pub fn on(&mut self) -> Instant {
        self.begin();
        let log = &self.running.as_ref().expect("it was just started").log;
        log.find(|line| line.contains(" serving ").then_some(())).expect("the server serves");
        Instant::now()
    }

    /// Starts it without waiting.
    pub fn begin(&mut self) {
        let mut command = self.host.command(binaries::server());
        command.arg("--data-dir").arg(self.data.path().join("data"));
        command.arg("--settings").arg(self.data.path().join("settings.json"));
        command.args(["--discovery", "--listen", &format!("[::]:{PORT}")]);
        if let Some(socket) = &self.authority {
            command.args(["--listen-tls", &format!("[::]:{SECURE_PORT}")]).arg("--ca-socket").arg(socket);
        }
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the server starts");
        let log = Log::follow(child.stderr.take().expect("it is piped"));
        self.running = Some(Running { child, log });
    }

    /// Ends it as the service manager does.
    pub fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
        let mut running = self.running.take().expect("it runs");
        assert!(running.child.wait().expect("it is this process's child").success(), "the server failed");
    }

    /// `ip netns exec` becomes the program that it starts.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.running().child.id()).expect("process ids are small");
        kill(Pid::from_raw(id), signal).expect("the server is there");
    }

    pub fn log(&self) -> &Log {
        &self.running().log
    }

    /// The name that it has now, by its log.
    pub fn name(&self) -> String {
        // What it answers may be heard before what it logs.
        until("name in the server's log", || {
            let text = self.log().text();
            let last = text.lines().rfind(|line| line.contains("announcing the box on the network name="))?;
            let name = last.split("name=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a name stands there");
            Some(name.trim_end_matches('.').to_owned())
        })
    }

    /// Its process's resident memory, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running().child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Whether it answers to HTTP, from inside the box.
    pub fn serves(&self) -> bool {
        self.host.inside(|| {
            let address = ([127, 0, 0, 1], PORT).into();
            std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok()
        })
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            // It may have ended by itself.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}
