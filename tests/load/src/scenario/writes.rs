//! What a message costs in bytes written, at a steady rate into a store of some size.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::bench::{Bench, Target};
use crate::check;
use crate::figure::Figure;
use crate::fleet;
use crate::process::Process;

/// Messages a second: one more than the article's.
const RATE: f64 = 20.0;

/// KiB written per message, with all checkpoints that fall into the time.
pub async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let plan = &bench.plan;
    let site = bench.stock.messages(plan.people, plan.conversations, plan.stored_for_writes).await?;
    let process = Process::server(&site.data_dir(), &bench.cores.server)?;
    let target = Target { process, site };
    let device = Device::of(&bench.work)?;
    let device_before = device.written()?;
    let outcome = fleet::run(&target, 2 * plan.conversations, plan.conversations, RATE, plan.writes).await?;
    let messages = outcome.acknowledged.len() as f64;
    let written = outcome.after.written.saturating_sub(outcome.before.written) as f64;
    let on_device = (device.written()? - device_before) as f64;
    let Target { process, site } = target;
    check::kill_and_read_back(process, &site, &bench.cores.all, &outcome.sent).await?;
    Ok(vec![
        Figure::new("written_per_message", "KiB/message", vec![written / 1024.0 / messages]),
        Figure::new("device_written_per_message", "KiB/message", vec![on_device / 1024.0 / messages]),
    ])
}

/// The block device below a folder: what all programs write to it.
struct Device {
    statistics: PathBuf,
}

impl Device {
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let device = std::fs::metadata(folder)?.dev();
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        Ok(Self { statistics: format!("/sys/dev/block/{major}:{minor}/stat").into() })
    }

    /// Bytes since the system's start: the seventh field, in sectors of 512 bytes whatever the device has
    /// (kernel: Documentation/block/stat.rst). 0 where the file system has no block device.
    fn written(&self) -> anyhow::Result<u64> {
        let Ok(statistics) = std::fs::read_to_string(&self.statistics) else { return Ok(0) };
        let sectors: u64 = statistics.split_whitespace().nth(6).context("a seventh field")?.parse()?;
        Ok(512 * sectors)
    }
}
