//! What a passed test says: one table for people, and one mark in the manifest for the builder.

use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use crate::dist::{Dist, run};
use crate::selftest::Selftest;
use crate::virt::Boot;

/// Prints what was measured. Timings are QEMU's on this machine, a multiple of a Pi's.
pub fn print(dist: &Dist, first: &Boot, last: &Boot) -> anyhow::Result<()> {
    let manifest = &dist.manifest;
    let kernel = first.report.text("kernel")?;
    println!("\ntest-image: passed, base {}, kernel {kernel}, QEMU virt, 2 cores of a Cortex-A72, 2 GB", manifest.base);
    println!(
        "  two people talked; all acknowledged messages were there after each power cut; no failed unit in any boot\n"
    );
    row("", "first boot", "last boot");
    let per_boot = |name: &str, read: fn(&Boot) -> anyhow::Result<String>| -> anyhow::Result<()> {
        row(name, &read(first)?, &read(last)?);
        Ok(())
    };
    per_boot("power on to /healthz", |boot| Ok(seconds(boot.power_to_healthz)))?;
    per_boot("kernel start to serving", |boot| Ok(seconds(Duration::from_micros(boot.report.number("serving_us")?))))?;
    per_boot("idle memory, whole box", |boot| Ok(mib(used_kb(&boot.report)?)))?;
    per_boot("idle memory, posthoused", |boot| Ok(mib(boot.report.number("server_rss_kb")?)))?;
    row("packages", &manifest.packages.len().to_string(), "");
    row("image, compressed", &mib(manifest.image.size_bytes / 1024), "");
    row("image, raw", &mib(manifest.image.raw_size_bytes / 1024), "");
    Ok(())
}

/// Has the builder's own tool note that this kernel was booted, in the manifest and for images to come.
pub async fn record(dist: &Dist) -> anyhow::Result<()> {
    let tool = std::env::current_exe().context("asking for this program's place")?.with_file_name("posthouse-image");
    run(Command::new(tool).arg("boot-tested").arg("--manifest").arg(&dist.manifest_path)).await?;
    println!(
        "\ntest-image: kernel {} is marked as boot-tested in {}",
        &dist.manifest.kernel.sha256[..16],
        dist.manifest_path.display()
    );
    Ok(())
}

fn row(name: &str, first: &str, second: &str) {
    println!("  {}", format!("{name:<26}{first:>14}{second:>14}").trim_end());
}

/// What no further program could get: beside what is in use also what the kernel keeps free for itself (three times
/// vm.min_free_kbytes) and the part of its file cache that it would not give up.
fn used_kb(report: &Selftest) -> anyhow::Result<u64> {
    Ok(report.number("memory_total_kb")?.saturating_sub(report.number("memory_available_kb")?))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn mib(kb: u64) -> String {
    format!("{}.{} MiB", kb / 1024, kb % 1024 * 10 / 1024)
}
