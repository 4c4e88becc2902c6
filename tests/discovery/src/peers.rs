//! Other people's programs that look for boxes: Avahi's daemon with `avahi-browse`, and python-zeroconf.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use posthouse_e2e::Log;
use posthouse_e2e::wait::until;
use tempfile::TempDir;

use crate::lan::{Host, Versions};

/// Avahi's daemon wants a system bus of its own.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=BUS</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>"#;

/// The peer's own name does not matter; it offers nothing.
const AVAHI: &str = "[server]\nhost-name=watcher\nuse-ipv4=yes\nuse-ipv6=yes\n";

const ZEROCONF: &str = include_str!("browse.py");

/// Where Debian's modules are; another python may come first in PATH.
const PYTHON: &str = "/usr/bin/python3";

/// Something that watches the network and prints what it finds, a line each.
pub struct Watcher {
    children: Vec<Child>,
    log: Log,
    /// What a line begins with that tells of a box with all that there is to know, and of one that is gone.
    found: &'static str,
    lost: &'static str,
}

/// Avahi in a host. One at a time: it writes to fixed places below /run.
pub struct Avahi<'a> {
    host: &'a Host,
    folder: TempDir,
    children: Vec<Child>,
}

impl<'a> Avahi<'a> {
    /// Starts the daemon and waits until it serves.
    pub fn start(host: &'a Host) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut avahi = Self { host, folder, children: Vec::new() };
        let bus = avahi.path("bus");
        let configuration = BUS.replace("BUS", &bus);
        std::fs::write(avahi.path("bus.conf"), configuration).expect("writing the bus's configuration");
        std::fs::write(avahi.path("avahi.conf"), AVAHI).expect("writing avahi's configuration");
        let mut dbus = Command::new("dbus-daemon");
        dbus.args(["--nofork", "--nopidfile", "--config-file", &avahi.path("bus.conf")]);
        avahi.children.push(dbus.stderr(Stdio::null()).spawn().expect("dbus-daemon starts: is it installed?"));
        until("message bus", || Path::new(&bus).exists().then_some(()));
        let mut daemon = avahi.command("avahi-daemon");
        daemon.args(["--no-drop-root", "--no-chroot", "--no-rlimits", "--file", &avahi.path("avahi.conf")]);
        let mut child = daemon.stderr(Stdio::piped()).spawn().expect("avahi-daemon starts: is it installed?");
        let log = Log::follow(child.stderr.take().expect("it is piped"));
        avahi.children.push(child);
        let ready = |line: &str| line.contains("Server startup complete").then_some(());
        log.find(ready).expect("Avahi starts");
        avahi
    }

    /// `avahi-browse`, for as long as it is kept.
    pub fn watch(&self) -> Watcher {
        let mut browse = self.command("avahi-browse");
        browse.args(["--resolve", "--parsable", "_posthouse._tcp"]);
        Watcher::start(browse, "=;", "-;")
    }

    /// Everything that there is now: `avahi-browse -rtp`.
    pub fn list(&self) -> String {
        let mut browse = self.command("avahi-browse");
        let output = browse.args(["-rtp", "_posthouse._tcp"]).output().expect("avahi-browse starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.host.command(program);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", self.path("bus")));
        command
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Drop for Avahi<'_> {
    fn drop(&mut self) {
        end(&mut self.children);
    }
}

impl Watcher {
    /// python-zeroconf in a host.
    pub fn zeroconf(host: &Host, versions: Versions) -> Self {
        let mut python = host.command(PYTHON);
        python.args(["-c", ZEROCONF, if versions == Versions::V6Only { "6" } else { "4" }]);
        python.stdin(Stdio::piped());
        let watcher = Self::start(python, "+ ", "- ");
        watcher.log.find(|line| (line == "watching").then_some(())).expect("python-zeroconf starts: is it installed?");
        watcher
    }

    fn start(mut command: Command, found: &'static str, lost: &'static str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("the peer starts");
        let log = Log::follow(child.stdout.take().expect("it is piped"));
        Self { children: vec![child], log, found, lost }
    }

    /// The lines so far that tell of boxes found.
    pub fn found(&self) -> Vec<String> {
        self.lines(self.found)
    }

    /// How many boxes it has lost, counted once for each way by which it knew them.
    pub fn lost(&self) -> usize {
        self.lines(self.lost).len()
    }

    fn lines(&self, start: &str) -> Vec<String> {
        self.log.text().lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        end(&mut self.children);
    }
}

fn end(children: &mut [Child]) {
    for child in children {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}
