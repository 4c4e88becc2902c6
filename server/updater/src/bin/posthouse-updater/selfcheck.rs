//! A program's check of itself: run as the server's user, within limits, before it is tried; it says what it is.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, execve, geteuid, setgid, setgroups, setuid};
use posthouse_updater::Release;
use serde::Deserialize;

use crate::elf;
use crate::kept::short;
use crate::paths::Paths;

/// It prints a line and ends.
const WITHIN: Duration = Duration::from_secs(10);

/// What it may take: processor seconds, bytes of addresses (threads' stacks and arenas are reserved, not used), bytes of what it
/// prints, files, bytes of a dump.
const LIMITS: [(Resource, u64); 5] = [
    (Resource::RLIMIT_CPU, 10),
    (Resource::RLIMIT_AS, 1 << 30),
    (Resource::RLIMIT_FSIZE, 64 << 10),
    (Resource::RLIMIT_NOFILE, 64),
    (Resource::RLIMIT_CORE, 0),
];

/// What a server says of itself.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Said {
    version: String,
    arch: String,
    /// Of the databases that it writes.
    pub schema: u32,
    /// The oldest schema whose servers can read what it writes before it is confirmed.
    pub min_reader: u32,
}

/// Has a server check itself.
///
/// # Errors
/// When it can't be run here, takes too long, or says nothing of use.
pub fn run(paths: &Paths, program: &Path) -> anyhow::Result<Said> {
    let server = paths.server()?;
    let output = File::from(memfd_create(c"selfcheck", MFdFlags::MFD_CLOEXEC)?);
    let mut child = Command::new(std::env::current_exe()?)
        .args(["confined", "--uid", &server.uid.to_string(), "--gid", &server.gid.to_string()])
        .arg(program)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()?;
    let deadline = Instant::now() + WITHIN;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("its check of itself did not end within {WITHIN:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let said = read(output)?;
    if !status.success() {
        let why = elf::fault(program)?.unwrap_or_else(|| format!("{status}: {}", short(last_line(&said))));
        bail!("it does not run on this box: {why}");
    }
    serde_json::from_str(last_line(&said)).with_context(|| format!("its check says {:?}", short(last_line(&said))))
}

impl Said {
    /// Whether that is what the signers said.
    ///
    /// # Errors
    /// What differs.
    pub fn compare(&self, release: &Release) -> anyhow::Result<()> {
        let signed = Self {
            version: release.version.to_string(),
            arch: release.arch.clone(),
            schema: release.schema,
            min_reader: release.min_reader,
        };
        ensure!(*self == signed, "it says of itself {}, and was signed as {}", self.words(), signed.words());
        Ok(())
    }

    fn words(&self) -> String {
        let Self { version, arch, schema, min_reader } = self;
        format!("{:?} (arch {}, schema {schema}, min_reader {min_reader})", short(version), short(arch))
    }
}

fn read(mut output: File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing")
}

/// Becomes the program, with fewer rights and within limits.
#[derive(Debug, clap::Args)]
pub struct Confined {
    #[arg(long)]
    uid: u32,
    #[arg(long)]
    gid: u32,
    program: PathBuf,
}

impl Confined {
    /// Ends in the program.
    ///
    /// # Errors
    /// When it does not.
    pub fn run(&self) -> anyhow::Result<()> {
        if geteuid().as_raw() != self.uid {
            setgroups(&[])?;
            setgid(Gid::from_raw(self.gid))?;
            setuid(Uid::from_raw(self.uid))?;
        }
        for (resource, most) in LIMITS {
            setrlimit(resource, most, most)?;
        }
        let program = CString::new(self.program.as_os_str().as_bytes())?;
        let no_environment: [CString; 0] = [];
        // Not by a search path, nor by a shell for what the kernel does not know.
        let Err(error) = execve(&program, &[program.clone(), c"--selfcheck".to_owned()], &no_environment);
        Err(error).context("the system can't run it")
    }
}
