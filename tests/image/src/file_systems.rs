//! The card's file systems after a power cut, judged on a copy by e2fsck.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::dist::{SECTOR_LEN, run};

/// Root, and data.
const PARTITIONS: [usize; 2] = [2, 4];

#[derive(Deserialize)]
struct Card {
    partitiontable: Table,
}

#[derive(Deserialize)]
struct Table {
    partitions: Vec<Partition>,
}

/// Start and size in sectors.
#[derive(Deserialize)]
struct Partition {
    start: u64,
    size: u64,
}

/// What e2fsck may say of a file system whose power went: it does what every mount does, and counts.
const USUAL: [&str; 6] = [
    "recovering journal",
    // Features that a mount sets in the first superblock only.
    "superblock features different from backup",
    "orphan file is clean",
    "CLEARED.",
    " blocks",
    "Clearing orphaned inode",
];

/// A power cut costs a replay of the journal, as a mount does it, and nothing else: what it leaves is without fault. The card
/// itself stays as the cut left it.
pub async fn assert_clean(card: &Path) -> anyhow::Result<()> {
    let copy = card.with_extension("copy");
    run(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(card).arg(&copy)).await?;
    let listed = Command::new("sfdisk").arg("--json").arg(&copy).output().await.context("starting sfdisk")?;
    let table: Card = serde_json::from_slice(&listed.stdout).context("sfdisk can't read the card's partition table")?;
    for number in PARTITIONS {
        let partition = table.partitiontable.partitions.get(number - 1);
        let partition = partition.with_context(|| format!("the card has no p{number}"))?;
        // e2fsck loses its way in a file that holds more than the file system.
        let alone = card.with_extension(format!("p{number}"));
        extract(&copy, partition, &alone).await?;
        judge(&alone).await.with_context(|| format!("p{number} after the power cut"))?;
        std::fs::remove_file(&alone)?;
    }
    std::fs::remove_file(&copy).context("removing the copy of the card")
}

async fn extract(copy: &Path, partition: &Partition, to: &Path) -> anyhow::Result<()> {
    let (offset, size) = (partition.start * SECTOR_LEN, partition.size * SECTOR_LEN);
    let from = format!("driver=raw,offset={offset},size={size},file.driver=file,file.filename={}", copy.display());
    run(Command::new("qemu-img").args(["convert", "-O", "raw", "--image-opts", &from]).arg(to)).await
}

async fn judge(file_system: &Path) -> anyhow::Result<()> {
    // Exit status 1 says that it corrected something.
    let corrected = e2fsck("-p", 1, file_system).await?;
    let unusual: Vec<&str> = corrected.lines().filter(|line| !USUAL.iter().any(|usual| line.contains(usual))).collect();
    ensure!(unusual.is_empty(), "e2fsck had to correct it: {}", unusual.join("; "));
    e2fsck("-fn", 0, file_system).await.map(drop)
}

/// What it says. Its exit status is 0 where it finds nothing to correct.
async fn e2fsck(option: &str, status_max: i32, file_system: &Path) -> anyhow::Result<String> {
    let mut command = Command::new("e2fsck");
    command.arg(option).arg(file_system).stdin(Stdio::null());
    let output = command.output().await.context("starting e2fsck: is it installed?")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_clean = output.status.code().is_some_and(|status| status <= status_max);
    ensure!(is_clean, "e2fsck {option}: {}: {}", output.status, said.replace('\n', "; "));
    Ok(said)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::judge;

    /// A small file system with one file.
    fn file_system() -> std::path::PathBuf {
        let file =
            std::env::temp_dir().join(format!("posthouse-fs-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::File::create(&file).and_then(|file| file.set_len(16 << 20)).expect("a file");
        let made = Command::new("/usr/sbin/mke2fs").args(["-q", "-t", "ext4"]).arg(&file).status().expect("mke2fs");
        assert!(made.success());
        file
    }

    fn damage(file: &std::path::Path, request: &str) {
        let done = Command::new("/usr/sbin/debugfs").args(["-w", "-R", request]).arg(file).output().expect("debugfs");
        assert!(done.status.success());
    }

    #[tokio::test]
    async fn a_sound_file_system_passes_and_a_damaged_one_is_named() {
        let file = file_system();
        judge(&file).await.expect("sound");
        damage(&file, "set_inode_field <2> links_count 9");
        let error = judge(&file).await.expect_err("a wrong count of links");
        assert!(format!("{error:#}").contains("e2fsck"), "{error:#}");
        std::fs::remove_file(file).expect("remove");
    }
}
