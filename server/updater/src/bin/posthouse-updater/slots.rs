//! Slots: folders of binaries that were verified, each named by its binary's hash.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use nix::unistd::geteuid;
use posthouse_updater::{Bundle, BundleError, InstalledSlot, Release, Sha256, Slot};

use crate::failpoints::reach;
use crate::files;
use crate::paths::{PROGRAM, Paths};

/// Of a slot that is not whole yet.
const NEW: &str = "new";

/// What a slot holds beside its binary: all that stands before the binary in its bundle.
const HEAD: &str = "release";

/// Whether what is in a slot can be run: it is there, whole, and nobody else's.
///
/// # Errors
/// Why not.
pub fn check(paths: &Paths, slot: &Slot) -> anyhow::Result<()> {
    let Slot::Installed(slot) = slot else { return Ok(()) };
    let path = paths.slot(slot.sha256).join(PROGRAM);
    let file = files::open_foreign(&path).with_context(|| format!("cannot open {}", path.display()))?;
    let metadata = file.metadata()?;
    ensure!(metadata.is_file() && metadata.mode() & 0o111 != 0, "{} is no program", path.display());
    ensure!(metadata.uid() == geteuid().as_raw(), "{} belongs to user {}", path.display(), metadata.uid());
    let hash = Sha256::of_reader(file).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(hash == slot.sha256, "{} is not what was installed: the card has damaged it", path.display());
    Ok(())
}

/// What stood before a slot's binary in its bundle. It was verified when it was installed.
///
/// # Errors
/// When it is not there.
pub fn head(paths: &Paths, sha256: Sha256) -> Result<Bundle, BundleError> {
    Bundle::read(&mut File::open(paths.slot(sha256).join(HEAD))?)
}

/// A slot that is being made.
#[derive(Debug)]
pub struct NewSlot {
    folder: PathBuf,
    sha256: Sha256,
}

impl NewSlot {
    /// Unpacks a release, of whose packed bytes each one has been compared with what was signed.
    ///
    /// # Errors
    /// When it is not what was signed, or can't be written. What was written then is of no use.
    pub fn unpack(paths: &Paths, head: &Bundle, release: &Release, packed: impl io::Read) -> Result<Self, BundleError> {
        let folder = paths.slots().join(format!("{}.{NEW}", release.sha256));
        files::remove_all(&folder)?;
        files::folder(&folder, 0o711)?;
        reach("slot.begun");
        let mut binary = create(&folder, PROGRAM, 0o755)?;
        release.unpack(packed, &mut binary)?;
        reach("slot.unpacked");
        binary.sync_all()?;
        let mut bytes = Vec::new();
        head.write(&mut bytes)?;
        let mut file = create(&folder, HEAD, 0o644)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        files::sync_folder(&folder)?;
        reach("slot.synced");
        Ok(Self { folder, sha256: release.sha256 })
    }

    /// The binary.
    pub fn program(&self) -> PathBuf {
        self.folder.join(PROGRAM)
    }

    /// Gives it its name, durably. One that is there already is of the same hash, but perhaps damaged.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn keep(self, paths: &Paths) -> io::Result<()> {
        let slot = paths.slot(self.sha256);
        files::remove_all(&slot)?;
        fs::rename(&self.folder, &slot)?;
        files::sync_folder(&paths.slots())?;
        reach("slot.renamed");
        Ok(())
    }
}

fn create(folder: &std::path::Path, name: &str, mode: u32) -> io::Result<File> {
    let file = fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(folder.join(name))?;
    // Whatever the mask of the process was.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    Ok(file)
}

/// Removes what is not needed: slots of versions before the last two, those that were given up, those that were never whole.
///
/// # Errors
/// When the disk fails.
pub fn clean(paths: &Paths, needed: &[Sha256]) -> io::Result<()> {
    let needed: Vec<String> = needed.iter().map(ToString::to_string).collect();
    for entry in fs::read_dir(paths.slots())? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| needed.iter().any(|needed| needed == name)) {
            files::remove_all(&entry.path())?;
        }
    }
    Ok(())
}

/// What is told of a slot by its release.
pub fn release(paths: &Paths, slot: &InstalledSlot) -> Option<Release> {
    head(paths, slot.sha256).ok().and_then(|head| Release::unverified(head.release()).ok())
}
