//! A running QEMU: started with its console in a file, ended by cutting its power. Owns the process; knows nothing of
//! what runs in it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::process::{Child, Command};

/// How often a condition is looked at while it is waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// What a kernel that gave up writes; `panic` alone stands on every command line.
const PANIC: &str = "Kernel panic";

pub struct Machine {
    process: Child,
    started: Instant,
    /// Everything that the machine wrote on its serial console.
    pub log: PathBuf,
}

impl Machine {
    /// Starts QEMU with the given arguments and its serial console in `log`.
    pub fn start(arguments: &[String], log: &Path) -> anyhow::Result<Self> {
        let errors = File::create(log.with_extension("qemu.log")).context("making QEMU's log")?;
        // What an earlier machine said is not this one's word.
        File::create(log).with_context(|| format!("making {}", log.display()))?;
        let process = Command::new("qemu-system-aarch64")
            .args(arguments)
            .args(["-display", "none", "-monitor", "none", "-no-reboot"])
            .args(["-serial", &format!("file:{}", log.display())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .context("starting qemu-system-aarch64: is it installed?")?;
        Ok(Self { process, started: Instant::now(), log: log.to_owned() })
    }

    pub fn running_for(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the console says so far; a byte that is no UTF-8 is shown as such.
    pub fn console(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Looks again and again until `probe` finds what it looks for. Ends early when the machine stops or its kernel panics.
    pub async fn wait_for<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut probe: impl AsyncFnMut(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        loop {
            let console = self.console();
            if let Some(found) = probe(&console).await {
                return Ok(found);
            }
            if let Some(line) = console.lines().find(|line| line.contains(PANIC)) {
                bail!("waiting for {what}: {line}");
            }
            if let Some(status) = self.exited()? {
                let said = std::fs::read_to_string(self.log.with_extension("qemu.log")).unwrap_or_default();
                bail!("waiting for {what}: QEMU ended ({status}) {}", said.trim());
            }
            if began.elapsed() > limit {
                bail!("waiting for {what}: nothing within {} s", limit.as_secs());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until the guest has gone down by itself, and QEMU with it, which never reboots.
    pub async fn wait_for_end(&mut self, limit: Duration) -> anyhow::Result<()> {
        let ended = tokio::time::timeout(limit, self.process.wait()).await;
        let status = ended.with_context(|| format!("the box is not down after {} s", limit.as_secs()))?;
        let status = status.context("waiting for QEMU")?;
        ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }

    /// Pulls the plug: the guest gets no chance to write anything more. One that is down already has none to pull.
    pub async fn cut_power(mut self) -> anyhow::Result<()> {
        if self.exited()?.is_some() {
            return Ok(());
        }
        self.process.kill().await.context("killing QEMU")
    }

    fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.process.try_wait().context("asking after QEMU")
    }
}
