//! The program under load as a process of its own: its core, its address, what it costs.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::dialect::Dialect;

/// Names the folder of `posthoused`; by default it lies beside this program.
const FOLDER_VARIABLE: &str = "POSTHOUSE_BIN_DIR";

/// A program that serves by then or never will.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a process is asked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A server or a relay. Dropping it kills it.
pub struct Process {
    child: Child,
    address: SocketAddr,
    dialect: Dialect,
}

/// What a process has used since its start.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Time on a core, of all threads, in user space and in the kernel (`/proc/PID/stat`, to 10 ms).
    pub cpu: Duration,
    /// Resident memory in bytes (`VmRSS` of `/proc/PID/status`).
    pub resident: u64,
    /// Bytes that it gave to files to be written (`wchar` of `/proc/PID/io`; sockets don't count). Its neighbour
    /// `write_bytes` counts whole folios, of 64 KiB and more where the file system has large ones, for each 4 KiB.
    pub written: u64,
}

impl Process {
    /// Starts `posthoused` on a data folder and waits until it listens.
    ///
    /// # Errors
    /// Where it does not, with what it wrote last.
    pub fn server(data_dir: &Path, cores: &str) -> anyhow::Result<Self> {
        let folder = std::env::var_os(FOLDER_VARIABLE).map_or_else(own_folder, |folder| Ok(PathBuf::from(folder)))?;
        let mut command = on_cores(cores, &folder.join("posthoused"));
        command.arg("--data-dir").arg(data_dir).args(["--listen", "127.0.0.1:0"]);
        // A load is more than an account may ask for; the check itself stays.
        command.args(["--requests-per-s", "1000000"]);
        for variable in ["JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "RUST_LOG", "STATE_DIRECTORY"] {
            command.env_remove(variable);
        }
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().context("posthoused")?;
        let lines = follow(child.stderr.take().context("it is piped")?);
        Self::when_serving(child, Dialect::Server, &lines, |line| {
            let rest = line.split_once("serving ")?.1.split_once("addresses=[")?.1;
            rest.split([',', ']']).next()?.trim().parse().ok()
        })
    }

    /// Starts the bare relay.
    ///
    /// # Errors
    /// Where it does not serve.
    pub fn relay(cores: &str) -> anyhow::Result<Self> {
        let mut command = on_cores(cores, &own_folder()?.join("posthouse-load-relay"));
        let mut child = command.stdout(Stdio::piped()).spawn().context("posthouse-load-relay")?;
        let lines = follow(child.stdout.take().context("it is piped")?);
        Self::when_serving(child, Dialect::Relay, &lines, |line| line.strip_prefix("relay serving ")?.parse().ok())
    }

    fn when_serving(
        child: Child,
        dialect: Dialect,
        lines: &mpsc::Receiver<String>,
        address_in: impl Fn(&str) -> Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        // From here on the process has an owner, who kills it if this fails.
        let mut process = Self { child, address: ([127, 0, 0, 1], 0).into(), dialect };
        let mut last = String::new();
        while let Ok(line) = lines.recv_timeout(START_TIMEOUT) {
            if let Some(address) = address_in(&line) {
                process.address = address;
                return Ok(process);
            }
            last = line;
        }
        bail!("{dialect:?} does not serve; the last that it wrote: {last}")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What it has used until now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let read = |name: &str| -> anyhow::Result<String> {
            let path = format!("/proc/{}/{name}", self.child.id());
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        Ok(Usage {
            cpu: cpu_in(&read("stat")?)?,
            resident: number_after(&read("status")?, "VmRSS:")? * 1024,
            written: number_after(&read("io")?, "wchar:")?,
        })
    }

    /// Kills it, as a power cut does to a process.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it as a service manager does.
    ///
    /// # Errors
    /// Where it does not end well.
    pub fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGTERM)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "{:?} ended with {status}", self.dialect);
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        bail!("{:?} did not stop", self.dialect)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the programs are built, also for a test, which lies in `deps` there.
fn own_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program lies in a folder")?;
    let built = if folder.ends_with("deps") { folder.parent().context("deps lies in a folder")? } else { folder };
    Ok(built.to_owned())
}

/// A command that has all its threads on these cores (a list as taskset takes it).
fn on_cores(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", cores]).arg(program);
    command
}

/// The lines of a stream, until its end. What nobody takes any more is thrown away, or the program would wait.
fn follow(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if line.contains("ERROR") {
                eprintln!("  | {line}");
            }
            let _ = sender.send(line);
        }
    });
    receiver
}

/// `utime` and `stime`, the 14th and 15th field; the second one, the name, may have blanks in it.
fn cpu_in(stat: &str) -> anyhow::Result<Duration> {
    let rest = stat.rsplit_once(')').context("stat has a name in brackets")?.1;
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the clock ticks")?;
    Ok(Duration::from_millis(ticks * 1000 / u64::try_from(per_second)?))
}

fn number_after(text: &str, label: &str) -> anyhow::Result<u64> {
    let rest = text.split_once(label).with_context(|| format!("no {label:?}"))?.1;
    Ok(rest.split_whitespace().next().context("a number follows")?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 150 9 9 20 0 5 0 1 1 1";
        assert_eq!(cpu_in(stat).expect("a line of stat"), Duration::from_secs(4));
    }

    #[test]
    fn the_bytes_written_are_not_those_read() {
        let io = "rchar: 1\nwchar: 4096\nread_bytes: 3\nwrite_bytes: 65536\ncancelled_write_bytes: 5\n";
        assert_eq!(number_after(io, "wchar:").expect("a number"), 4096);
        assert!(number_after(io, "\nbytes:").is_err());
    }
}
