//! Asserts that a boot partition can boot a Pi 4: a folder of its files, or the first partition of a disk image.
//!
//! Stages call it on what they made, so that no image leaves the build that a Pi's firmware would stop at.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use thiserror::Error;

use crate::config_txt::Config;
use crate::mbr::{Mbr, MbrError};

/// The header of an arm64 Image has "ARM\x64" at this place (kernel documentation, arch/arm64/booting).
const IMAGE_MAGIC: (usize, &[u8]) = (56, b"ARM\x64");
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// The root partition's number.
const ROOT_PARTITION: usize = 2;
const SECTOR_BYTES: u64 = 512;

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("where").required(true).multiple(true)))]
pub struct Subject {
    /// The folder with the boot partition's files.
    #[arg(long, group = "where", requires = "disk_id")]
    boot: Option<PathBuf>,
    /// The disk identifier that cmdline.txt has to name.
    #[arg(long)]
    disk_id: Option<String>,
    /// A raw disk image: its first partition and its own identifier are checked.
    #[arg(long, group = "where", conflicts_with = "boot")]
    disk: Option<PathBuf>,
}

#[derive(Debug, Error)]
pub enum BootError {
    #[error("the boot partition lacks {file}, which config.txt makes the firmware load")]
    Missing { file: String },
    #[error("{file} on the boot partition is empty")]
    Empty { file: String },
    #[error("{file} is neither an arm64 Image nor gzip: the firmware can't start it")]
    NotAKernel { file: String },
    #[error("config.txt sets dtparam {parameter}, which {tree} does not know")]
    UnknownParameter { parameter: String, tree: String },
    #[error("{file} must be one line; the kernel sees only the first")]
    Lines { file: String },
    #[error("{file} has no {option}: {why}")]
    Option { file: String, option: String, why: &'static str },
    #[error("{0} has no partition {1}, which the kernel's command line takes root from")]
    NoPartition(String, usize),
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("cannot read the FAT file system of {path}: {reason}")]
    Fat { path: String, reason: String },
    #[error(transparent)]
    Mbr(#[from] MbrError),
}

pub fn check(subject: &Subject) -> Result<(), BootError> {
    match subject {
        Subject { disk: Some(disk), .. } => check_disk(disk),
        Subject { boot: Some(boot), disk_id: Some(disk_id), .. } => check_folder(boot, disk_id),
        _ => unreachable!("clap asks for --disk, or for --boot with --disk-id"),
    }
}

fn check_disk(disk: &Path) -> Result<(), BootError> {
    let mbr = Mbr::read(disk)?;
    let boot = mbr.partition(1).ok_or_else(|| BootError::NoPartition(disk.display().to_string(), 1))?;
    mbr.partition(ROOT_PARTITION).ok_or_else(|| BootError::NoPartition(disk.display().to_string(), ROOT_PARTITION))?;
    let folder = tempfile::tempdir().map_err(|source| BootError::Read { path: "a temporary folder".into(), source })?;
    copy_out(disk, u64::from(boot.start) * SECTOR_BYTES, folder.path())?;
    check_folder(folder.path(), &mbr.disk_id)
}

/// mtools reads a FAT file system inside an image without mounting it.
fn copy_out(disk: &Path, offset: u64, into: &Path) -> Result<(), BootError> {
    let failed = |reason| BootError::Fat { path: disk.display().to_string(), reason };
    let output = Command::new("mcopy")
        .args(["-s", "-n", "-i", &format!("{}@@{offset}", disk.display()), "::*"])
        .arg(into)
        .output()
        .map_err(|error| failed(format!("mcopy: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn check_folder(boot: &Path, disk_id: &str) -> Result<(), BootError> {
    let text = String::from_utf8_lossy(&read(boot, "config.txt")?).into_owned();
    let config = Config::parse(&text);
    for file in config.files() {
        read(boot, &file)?;
    }
    check_kernel(boot, &config.kernel())?;
    check_parameters(boot, &config)?;
    check_cmdline(boot, &config.cmdline(), disk_id)
}

/// Reads a file that has to be there and to hold something.
fn read(boot: &Path, file: &str) -> Result<Vec<u8>, BootError> {
    match fs::read(boot.join(file)) {
        Ok(content) if content.is_empty() => Err(BootError::Empty { file: file.to_owned() }),
        Ok(content) => Ok(content),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(BootError::Missing { file: file.to_owned() }),
        Err(source) => Err(BootError::Read { path: boot.join(file).display().to_string(), source }),
    }
}

/// An EFI application with the kernel packed inside starts under UEFI, not under the Pi's firmware.
fn check_kernel(boot: &Path, file: &str) -> Result<(), BootError> {
    let content = read(boot, file)?;
    let (at, magic) = IMAGE_MAGIC;
    if content.starts_with(GZIP_MAGIC) || content.get(at..).is_some_and(|rest| rest.starts_with(magic)) {
        return Ok(());
    }
    Err(BootError::NotAKernel { file: file.to_owned() })
}

/// The firmware drops a parameter that the tree's `__overrides__` doesn't name, with no word on any console.
fn check_parameters(boot: &Path, config: &Config) -> Result<(), BootError> {
    for tree in config.device_trees() {
        let content = read(boot, &tree)?;
        for parameter in config.tree_parameters() {
            let name = format!("\0{parameter}\0");
            if !contains(&content, b"__overrides__") || !contains(&content, name.as_bytes()) {
                return Err(BootError::UnknownParameter { parameter: parameter.to_owned(), tree });
            }
        }
    }
    Ok(())
}

fn contains(content: &[u8], wanted: &[u8]) -> bool {
    content.windows(wanted.len()).any(|window| window == wanted)
}

fn check_cmdline(boot: &Path, file: &str, disk_id: &str) -> Result<(), BootError> {
    let text = String::from_utf8_lossy(&read(boot, file)?).trim_end().to_owned();
    if text.contains('\n') {
        return Err(BootError::Lines { file: file.to_owned() });
    }
    let root = format!("root=PARTUUID={disk_id}-{ROOT_PARTITION:02}");
    let wanted = [
        (root.as_str(), "root is the second partition of this very disk"),
        ("rootwait", "the card may appear after the kernel looks for it"),
        ("panic=10", "the board has to reset after a panic"),
    ];
    for (option, why) in wanted {
        if !text.split(' ').any(|word| word == option) {
            return Err(BootError::Option { file: file.to_owned(), option: option.to_owned(), why });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "arm_64bit=1\nkernel=vmlinuz\ninitramfs initrd.img followkernel\ngpu_mem=16\ndtoverlay=disable-bt\n\
                          dtparam=watchdog=on\n";

    /// A boot partition with every file that CONFIG asks for.
    fn complete() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("temporary folder");
        let boot = folder.path();
        fs::create_dir(boot.join("overlays")).expect("overlays");
        let mut kernel = vec![0; IMAGE_MAGIC.0];
        kernel.extend_from_slice(IMAGE_MAGIC.1);
        for file in Config::parse(CONFIG).files() {
            fs::write(boot.join(file), b"__overrides__\0watchdog\0").expect("file");
        }
        fs::write(boot.join("vmlinuz"), kernel).expect("kernel");
        fs::write(boot.join("config.txt"), CONFIG).expect("config.txt");
        fs::write(boot.join("cmdline.txt"), "console=tty1 root=PARTUUID=5ca1ab1e-02 rootwait panic=10\n")
            .expect("cmdline");
        folder
    }

    fn refusal(boot: &Path) -> String {
        check_folder(boot, "5ca1ab1e").expect_err("it was taken").to_string()
    }

    #[test]
    fn a_complete_partition_is_taken() {
        let boot = complete();
        check_folder(boot.path(), "5ca1ab1e").expect("complete");
    }

    #[test]
    fn each_missing_file_is_named() {
        for file in Config::parse(CONFIG).files() {
            let boot = complete();
            fs::remove_file(boot.path().join(&file)).expect("it was there");
            assert!(refusal(boot.path()).contains(&format!("lacks {file},")), "{file} was not missed");
        }
    }

    #[test]
    fn an_empty_file_is_refused() {
        let boot = complete();
        fs::write(boot.path().join("fixup4cd.dat"), "").expect("write");
        assert!(refusal(boot.path()).contains("fixup4cd.dat on the boot partition is empty"));
    }

    #[test]
    fn an_efi_packed_kernel_is_refused() {
        let boot = complete();
        fs::write(boot.path().join("vmlinuz"), [b"MZ".as_slice(), &[0; 100]].concat()).expect("write");
        assert!(refusal(boot.path()).contains("neither an arm64 Image nor gzip"));
    }

    #[test]
    fn a_parameter_that_a_tree_does_not_know_is_refused() {
        let boot = complete();
        fs::write(boot.path().join("bcm2711-rpi-400.dtb"), "upstream tree").expect("write");
        assert!(refusal(boot.path()).contains("dtparam watchdog, which bcm2711-rpi-400.dtb does not know"));
    }

    #[test]
    fn root_has_to_be_on_this_disk() {
        for cmdline in ["root=PARTUUID=00000000-02 rootwait panic=10", "root=/dev/mmcblk0p2 rootwait panic=10"] {
            let boot = complete();
            fs::write(boot.path().join("cmdline.txt"), cmdline).expect("write");
            assert!(refusal(boot.path()).contains("no root=PARTUUID=5ca1ab1e-02"), "{cmdline} was taken");
        }
    }

    #[test]
    fn a_second_line_of_options_is_refused() {
        let boot = complete();
        fs::write(boot.path().join("cmdline.txt"), "root=PARTUUID=5ca1ab1e-02\nrootwait panic=10\n").expect("write");
        assert!(refusal(boot.path()).contains("must be one line"));
    }
}
