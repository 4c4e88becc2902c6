//! What outlives a power cut beside the messages, and what an image must not bring along: the box's identity, secrets, log.

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::dist::{Disk, Dist};
use crate::selftest::Selftest;

/// Place, mode and owner of what lies on the data partition.
const KEPT: [(&str, &str, &str); 8] = [
    ("/var/lib/iwd", "700", "root"),
    ("/var/lib/posthouse", "700", "posthouse"),
    ("/var/lib/posthouse-ca", "700", "posthouse-ca"),
    ("/var/lib/posthouse-updater", "711", "root"),
    ("/var/lib/systemd/random-seed", "600", "root"),
    ("/var/lib/systemd/network", "755", "systemd-network"),
    ("/var/lib/systemd/timesync/clock", "644", "systemd-timesync"),
    ("/var/log/journal", "2755", "root"),
];

/// The mount points by which it lies there.
const MOUNTS: [&str; 6] = [
    "/var/lib/iwd",
    "/var/lib/posthouse",
    "/var/lib/posthouse-ca",
    "/var/lib/posthouse-updater",
    "/var/lib/systemd",
    "/var/log/journal",
];

/// SystemMaxUse= of journald, and a file of room for what it is just writing.
const LOG_KB_MAX: u64 = (32 + 4) * 1024;

/// From here on one more boot can make a log full: after a power cut each leaves a file of 4 MiB, and part of another.
const LOG_KB_FULL: u64 = (32 - 8) * 1024;

/// Folders that are empty in an image, and files that have no content or are not there at all.
const EMPTY_IN_IMAGE: [&str; 10] = [
    "/data",
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/var/lib/iwd",
    "/var/lib/posthouse",
    "/var/lib/posthouse-ca",
    "/var/lib/posthouse-updater",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/timesync",
    "/var/log/journal",
];

/// All of it lies on the data partition, readable by whom it should be, and the log is bounded.
pub fn assert_kept(report: &Selftest, data: &str) -> anyhow::Result<()> {
    for place in MOUNTS {
        let mount = report.mounts.iter().find(|[_, mounted, ..]| mounted == place);
        let device = mount.map(|[device, ..]| device.as_str());
        ensure!(device == Some(data), "{place} lies on {device:?}, not on {data}");
        let options = mount.map(|[.., options]| options.as_str()).unwrap_or_default();
        for option in ["nosuid", "nodev"] {
            ensure!(options.split(',').any(|found| found == option), "{place} is mounted {options}, without {option}");
        }
    }
    for (place, mode, owner) in KEPT {
        let found = report.kept.iter().find(|[found, ..]| found == place);
        let [_, found_mode, found_owner] = found.with_context(|| format!("{place} is not on the box"))?;
        ensure!(
            (found_mode.as_str(), found_owner.as_str()) == (mode, owner),
            "{place} is {found_owner}'s with mode {found_mode}, not {owner}'s with mode {mode}"
        );
    }
    let log_kb = report.number("log_kb")?;
    ensure!(log_kb <= LOG_KB_MAX, "the log takes {log_kb} KiB, more than {LOG_KB_MAX}");
    Ok(())
}

/// The data partition takes the rest of the card.
pub fn assert_grown(dist: &Dist, report: &Selftest, card_bytes: u64) -> anyhow::Result<()> {
    let wanted_kib = (card_bytes - dist.data_start_bytes()?) / 1024;
    let found_kib = report.blocks.get("vda4");
    ensure!(found_kib == Some(&wanted_kib), "p4 has {found_kib:?} KiB, not the {wanted_kib} to the card's end");
    Ok(())
}

/// After one more boot the log has one boot more, less one or two of the oldest where it was full, and what the one before it said can
/// be read.
pub fn assert_log_goes_on(report: &Selftest, before: &Selftest) -> anyhow::Result<()> {
    let (was, is) = (before.number("log_boots")?, report.number("log_boots")?);
    let boots_lost_max = if before.number("log_kb")? < LOG_KB_FULL { 0 } else { 2 };
    ensure!(is <= was + 1 && is + boots_lost_max > was, "the log had {was} boots and has {is} after one more");
    ensure!(!report.text("log_previous")?.is_empty(), "the log has nothing of the boot before this one");
    Ok(())
}

/// The clock, which began years ago, was set to the last known time before the server came up: people's messages stay in order.
pub fn assert_time_goes_on(report: &Selftest, before: &Selftest) -> anyhow::Result<()> {
    let (was, is) = (before.number("clock_serving")?, report.number("clock_serving")?);
    ensure!(is >= was, "the server came up at {was} s by the clock, and after a power cut at {is} s");
    let began = report.number("clock_began")?;
    ensure!(
        began < was,
        "the clock began at {began} s, not behind the {was} s of the boot before: nothing had to set it"
    );
    Ok(())
}

/// An image is nobody's: every box makes its own identity, secrets and log.
pub async fn assert_image_is_nobody_s(dist: &Dist, disk: &Disk) -> anyhow::Result<()> {
    let root = format!("{}?offset={}", disk.image.display(), dist.partition(2)?.start_bytes());
    for path in EMPTY_IN_IMAGE {
        let content = content(&root, path).await?;
        ensure!(content.is_empty(), "the image brings {path} along: {content}");
    }
    Ok(())
}

/// A file's text, or the names in a folder; empty where there is neither.
async fn content(root: &str, path: &str) -> anyhow::Result<String> {
    let listing = debugfs(root, &format!("ls -p {path}")).await?;
    if listing.contains("/./") {
        // Inode, mode, owner, group and name between slashes; unused entries have the inode 0.
        let entries = listing.lines().filter(|line| !line.starts_with("/0/"));
        let names = entries.filter_map(|line| line.split('/').nth(5));
        return Ok(names.filter(|name| !matches!(*name, "." | "..")).collect::<Vec<_>>().join(" "));
    }
    debugfs(root, &format!("cat {path}")).await
}

async fn debugfs(root: &str, request: &str) -> anyhow::Result<String> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("debugfs").env("PATH", path).args(["-R", request, root]).output().await;
    let output = output.context("starting debugfs: is e2fsprogs installed?")?;
    let said = String::from_utf8_lossy(&output.stderr);
    // It succeeds whatever happens: without root's file system every place would look empty.
    ensure!(!said.contains("Filesystem not open"), "debugfs cannot read {root}: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{KEPT, MOUNTS, assert_kept, assert_log_goes_on, assert_time_goes_on};
    use crate::selftest::Selftest;

    fn read(lines: &[String]) -> Selftest {
        let mut console: String = lines.iter().map(|line| format!("posthouse-selftest: {line}\r\n")).collect();
        console.push_str("posthouse-selftest: end=1\r\n");
        Selftest::read(&console).expect("a whole report")
    }

    fn healthy() -> Vec<String> {
        let mounts = MOUNTS.iter().map(|place| format!("mount=/dev/vda4 {place} ext4 rw,nosuid,nodev,noatime"));
        let kept = KEPT.iter().map(|(place, mode, owner)| format!("kept={place} {mode} {owner}"));
        mounts.chain(kept).chain(["log_kb=9000".to_owned()]).collect()
    }

    #[test]
    fn what_lies_elsewhere_or_is_open_to_others_is_named() {
        assert_kept(&read(&healthy()), "/dev/vda4").expect("as it should be");
        for (from, to) in [
            ("/dev/vda4 /var/lib/iwd", "tmpfs /var/lib/iwd"),
            ("kept=/var/lib/iwd 700", "kept=/var/lib/iwd 755"),
            ("kept=/var/lib/systemd/random-seed", "kept=/elsewhere"),
            ("posthouse-updater 711 root", "posthouse-updater 711 posthouse"),
            ("log_kb=9000", "log_kb=99000"),
            ("rw,nosuid,", "rw,"),
        ] {
            let changed: Vec<String> = healthy().iter().map(|line| line.replace(from, to)).collect();
            assert_kept(&read(&changed), "/dev/vda4").expect_err(to);
        }
    }

    #[test]
    fn a_clock_that_goes_back_is_named() {
        let clock =
            |began: u64, serving: u64| read(&[format!("clock_began={began}"), format!("clock_serving={serving}")]);
        let before = clock(1_800_000_000, 1_800_000_030);
        assert_time_goes_on(&clock(1_577_836_800, 1_800_000_030), &before).expect("set in time");
        assert_time_goes_on(&clock(1_577_836_800, 1_577_836_830), &before).expect_err("never set");
        assert_time_goes_on(&clock(1_577_836_800, 1_800_000_029), &before).expect_err("set too far back");
        assert_time_goes_on(&clock(1_800_000_100, 1_800_000_130), &before).expect_err("right from the start");
    }

    #[test]
    fn a_log_that_forgets_is_named() {
        let log = |boots: u32, kb: u64, previous: &str| {
            read(&[format!("log_boots={boots}"), format!("log_kb={kb}"), format!("log_previous={previous}")])
        };
        assert_log_goes_on(&log(2, 8_000, "Reached target"), &log(1, 4_000, "")).expect("one more");
        assert_log_goes_on(&log(1, 8_000, "Reached target"), &log(1, 4_000, "")).expect_err("forgotten");
        assert_log_goes_on(&log(2, 8_000, ""), &log(1, 4_000, "")).expect_err("unreadable");
        assert_log_goes_on(&log(6, 30_000, "Reached target"), &log(7, 30_000, "")).expect("the oldest went");
        assert_log_goes_on(&log(2, 8_000, "Reached target"), &log(7, 30_000, "")).expect_err("most of it went");
    }
}
