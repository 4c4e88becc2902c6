//! The factory reset: whoever can write to the card may have everything on it erased.
//!
//! It runs before the data partition is looked at. All that it does is to take from p4 the type that says "a file system is here":
//! posthouse-disk, which comes next, then makes a new one, as at first boot, and a power cut in the midst of that only repeats it.
//! posthouse-provision notes in the new file system that the request was followed.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::kept::Kept;
use super::requests::{FACTORY_RESET, Request};
use crate::boot_partition::BootPartition;

/// What posthouse-provision reads: the request that was followed, and why one was not.
pub const FOLLOWED: &str = "reset";
/// See [`FOLLOWED`].
pub const FAILED: &str = "reset-failed";

/// The type of a partition whose file system is still to be made: posthouse-disk's word for it.
const NO_FILE_SYSTEM: u8 = 0xda;
/// The type of a partition that is not there.
const NO_PARTITION: u8 = 0;
/// Where the MBR has p4's type: entries of 16 bytes from 446 on, the type in their fifth.
const TYPE_OF_P4: usize = 446 + 3 * 16 + 4;

/// Follows a request that was not followed before.
///
/// # Errors
/// The request is there and can't be followed. Nothing was erased then.
pub fn run() -> anyhow::Result<()> {
    let card = BootPartition::open()?;
    let Some(request) = Request::find(&card, FACTORY_RESET)? else { return Ok(()) };
    let state = PathBuf::from(std::env::var_os("RUNTIME_DIRECTORY").unwrap_or_else(|| "/run/posthouse-data".into()));
    let outcome = follow(&card, &request);
    let (name, text) = match &outcome {
        Ok(false) => return Ok(()),
        Ok(true) => (FOLLOWED, request.mark()),
        Err(error) => (FAILED, format!("{error:#}")),
    };
    fs::write(state.join(name), text).context("cannot note what came of the factory reset")?;
    outcome.map(drop)
}

/// Returns false where the request was followed before.
fn follow(card: &BootPartition, request: &Request) -> anyhow::Result<bool> {
    let disk = card.disk()?;
    match type_of_data(&disk.path)? {
        // Nothing is there yet.
        NO_PARTITION | NO_FILE_SYSTEM => return Ok(true),
        _ if followed_before(&disk.data, request) => return Ok(false),
        _ => {}
    }
    eprintln!("posthouse-box: the file {} on the card asks for it: everything is erased now", request.name);
    let mut set = Command::new("sfdisk");
    set.args(["--quiet", "--no-reread", "--no-tell-kernel", "--part-type"])
        .arg(&disk.path)
        .args(["4", &format!("{NO_FILE_SYSTEM:x}")]);
    output(&mut set)?;
    output(Command::new("sync").arg(&disk.path))?;
    if type_of_data(&disk.path)? != NO_FILE_SYSTEM {
        bail!("the card does not take what is written to it: it may be worn out");
    }
    // What the blocks held is gone at once on a card that knows how; others keep it until it is overwritten.
    if let Err(error) = output(Command::new("blkdiscard").arg("--force").arg(&disk.data)) {
        eprintln!("posthouse-box: the card cannot erase blocks by itself: {error:#}");
    }
    Ok(true)
}

fn type_of_data(disk: &Path) -> anyhow::Result<u8> {
    let mut sector = [0; 512];
    let read = File::open(disk).and_then(|mut disk| disk.read_exact(&mut sector));
    read.with_context(|| format!("cannot read {}", disk.display()))?;
    ensure!(sector.ends_with(&[0x55, 0xaa]), "the card has no partition table");
    Ok(sector[TYPE_OF_P4])
}

/// Whether the data partition says so. A journal that a power cut left is replayed first: what it holds would be overlooked.
fn followed_before(data: &str, request: &Request) -> bool {
    let _ = Command::new("e2fsck").arg("-p").arg(data).output();
    let kept = output(Command::new("debugfs").args(["-R", "cat /system/settings.json"]).arg(data));
    let kept: Option<Kept> = kept.ok().and_then(|text| serde_json::from_str(&text).ok());
    kept.is_some_and(|kept| kept.followed.get(FACTORY_RESET) == Some(&request.mark()))
}

/// What a program prints.
fn output(command: &mut Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}", said.lines().next().unwrap_or("it failed and said nothing"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the run of this boot left, and takes it away.
pub fn take_note(state: &Path, name: &str) -> Option<String> {
    let path = state.join(name);
    let text = fs::read_to_string(&path).ok()?;
    fs::remove_file(&path).ok()?;
    Some(text)
}
