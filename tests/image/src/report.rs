//! What a passed test says: one table for people, and one mark in the manifest for the builder.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::dist::{Dist, run};
use crate::rig::Boot;
use crate::selftest::Selftest;

/// What the idle box may use at most, and the server of it: 90 and 15 million bytes. The aim is 60 for the box.
const IDLE_KB_MAX: u64 = 90_000_000 / 1024;
const SERVER_KB_MAX: u64 = 15_000_000 / 1024;

/// An appliance leaves the memory to its work.
pub fn assert_lean(report: &Selftest) -> anyhow::Result<()> {
    for (name, used, most) in [
        ("the idle box", used_kb(report)?, IDLE_KB_MAX),
        ("the idle server", report.number("server_rss_kb")?, SERVER_KB_MAX),
    ] {
        ensure!(used <= most, "{name} uses {} of memory, more than {}", mib(used), mib(most));
    }
    Ok(())
}

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
/// vm.min_free_kbytes) and the part of its file cache that it would not give up. Free pages in the lists of single processors count
/// as free, which `MemAvailable` leaves out.
fn used_kb(report: &Selftest) -> anyhow::Result<u64> {
    let free_kb = report.number("memory_available_kb")? + report.number("memory_in_cpu_lists_kb")?;
    Ok(report.number("memory_total_kb")?.saturating_sub(free_kb))
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn mib(kb: u64) -> String {
    format!("{}.{} MiB", kb / 1024, kb % 1024 * 10 / 1024)
}

#[cfg(test)]
mod tests {
    use super::assert_lean;
    use crate::selftest::Selftest;

    #[test]
    fn memory_past_the_budget_is_named() {
        let check = |available_kb: u64, server_kb: u64| {
            let lines = [
                "memory_total_kb=2018928".to_owned(),
                format!("memory_available_kb={available_kb}"),
                "memory_in_cpu_lists_kb=20000".to_owned(),
                format!("server_rss_kb={server_kb}"),
                "end=1".to_owned(),
            ];
            let console = lines.map(|line| format!("posthouse-selftest: {line}\n")).concat();
            assert_lean(&Selftest::read(&console).expect("a whole report")).map_err(|error| error.to_string())
        };
        assert_eq!(check(1_920_000, 5_300), Ok(()));
        let error = check(1_900_000, 5_300).expect_err("97 MiB");
        assert_eq!(error, "the idle box uses 96.6 MiB of memory, more than 85.8 MiB");
        assert!(check(1_920_000, 16_000).expect_err("15.6 MiB").starts_with("the idle server"));
    }
}
