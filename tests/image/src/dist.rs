//! What the image builder left in `dist/`: the manifest, and the image beside it, which is unpacked and checked here.
//! Nothing in `dist/` is ever changed by this module.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::process::Command;

pub const SECTOR_LEN: u64 = 512;

/// The fields of the manifest that the test reads.
#[derive(Deserialize)]
pub struct Manifest {
    pub base: String,
    pub kernel: Kernel,
    pub image: Image,
    pub partition_table: Table,
    pub packages: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
pub struct Kernel {
    pub sha256: String,
}

#[derive(Deserialize)]
pub struct Image {
    pub file: String,
    pub size_bytes: u64,
    pub sha256: String,
    pub raw_size_bytes: u64,
    pub raw_sha256: String,
}

#[derive(Deserialize)]
pub struct Table {
    pub partitions: Vec<Partition>,
}

/// Start and size in sectors of 512 bytes.
#[derive(Deserialize)]
pub struct Partition {
    pub number: usize,
    pub start: u64,
    pub size: u64,
}

impl Partition {
    pub fn start_bytes(&self) -> u64 {
        self.start * SECTOR_LEN
    }
}

/// A built image.
pub struct Dist {
    pub manifest_path: PathBuf,
    pub manifest: Manifest,
}

/// The unpacked image and what was copied out of its boot partition; all of it read-only to the machines.
pub struct Disk {
    pub folder: PathBuf,
    pub image: PathBuf,
    pub cmdline: String,
}

impl Dist {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read(path).with_context(|| format!("reading {} (`make image` writes it)", path.display()))?;
        let manifest =
            serde_json::from_slice(&text).with_context(|| format!("{} is not an image's manifest", path.display()))?;
        Ok(Self { manifest_path: path.to_owned(), manifest })
    }

    pub fn partition(&self, number: usize) -> anyhow::Result<&Partition> {
        let mut partitions = self.manifest.partition_table.partitions.iter();
        let found = partitions.find(|partition| partition.number == number);
        found.with_context(|| format!("the manifest names no partition {number}"))
    }

    /// Where a first boot puts the data partition, in bytes: behind p3, which is as long as p2.
    pub fn data_start_bytes(&self) -> anyhow::Result<u64> {
        let root = self.partition(2)?;
        Ok((root.start + 2 * root.size) * SECTOR_LEN)
    }

    /// Unpacks the image as it would be flashed, unless this very image lies unpacked from an earlier run, and copies the
    /// boot partition's files out of it.
    pub async fn unpack(&self, work: &Path) -> anyhow::Result<Disk> {
        let image = &self.manifest.image;
        // qemu-img reads a relative path from where the overlay lies.
        let folder = std::path::absolute(work)?.join(&image.raw_sha256[..16.min(image.raw_sha256.len())]);
        let disk = folder.join("disk.img");
        if !disk.is_file() {
            // Other images' folders are of no more use and take a gigabyte each.
            let _ = std::fs::remove_dir_all(work);
            std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            let packed = self.manifest_path.with_file_name(&image.file);
            check_hash(&packed, &image.sha256).await?;
            let partial = folder.join("disk.img.partial");
            unxz(&packed, &partial).await?;
            check_hash(&partial, &image.raw_sha256).await?;
            std::fs::rename(&partial, &disk)?;
        }
        let files = folder.join("boot");
        let _ = std::fs::remove_dir_all(&files);
        std::fs::create_dir_all(&files)?;
        let from = format!("{}@@{}", disk.display(), self.partition(1)?.start_bytes());
        run(Command::new("mcopy").args(["-s", "-n", "-Q", "-i", &from, "::"]).arg(&files)).await?;
        let cmdline =
            std::fs::read_to_string(files.join("cmdline.txt")).context("the boot partition has no cmdline.txt")?;
        Ok(Disk { folder, image: disk, cmdline: cmdline.trim().to_owned() })
    }
}

impl Disk {
    /// A file of the boot partition, as a string for a command line.
    pub fn boot_file(&self, name: &str) -> anyhow::Result<String> {
        let path = self.folder.join("boot").join(name);
        ensure!(path.is_file(), "the boot partition holds no {name}");
        Ok(path.display().to_string())
    }
}

/// Runs a program to its end; its standard error is ours.
pub async fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let status =
        command.stdin(Stdio::null()).status().await.with_context(|| format!("starting {name}: is it installed?"))?;
    ensure!(status.success(), "{name} failed: {status}");
    Ok(())
}

async fn unxz(packed: &Path, to: &Path) -> anyhow::Result<()> {
    let file = std::fs::File::create(to).with_context(|| format!("making {}", to.display()))?;
    run(Command::new("xz").args(["--decompress", "--keep", "--stdout", "--threads=0"]).arg(packed).stdout(file)).await
}

async fn check_hash(path: &Path, expected: &str) -> anyhow::Result<()> {
    let output = Command::new("sha256sum").arg("--").arg(path).output().await.context("starting sha256sum")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.split_whitespace().next().unwrap_or_default();
    ensure!(
        found == expected,
        "{} is not the file of the manifest ({found} instead of {expected}): run make image again",
        path.display()
    );
    Ok(())
}
