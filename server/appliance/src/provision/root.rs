//! Where on the box things lie, and how files there are written.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Stands before every path, for a test.
pub const OTHER_ROOT: &str = "POSTHOUSE_ROOT";

/// The root folder that paths begin at.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// The system's, or the one that [`OTHER_ROOT`] names.
    pub fn new() -> Self {
        Self(std::env::var_os(OTHER_ROOT).map_or_else(|| PathBuf::from("/"), PathBuf::from))
    }

    /// A place in it, by its path from there without a slash in front.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// Whether this is the running system.
    pub fn is_real(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// What lasts from boot to boot; in memory where the card has no data partition. posthouse-identity leads there.
    pub fn system(&self) -> PathBuf {
        self.path("run/posthouse-data/system")
    }

    /// Whether [`Self::system`] lies on the card.
    pub fn lasts(&self) -> bool {
        let real = |path: PathBuf| fs::canonicalize(path).ok();
        let kept = real(self.path("data/system"));
        kept.is_some() && real(self.system()) == kept
    }
}

/// Writes a file whole or not at all, also when the power goes, and makes its folder.
pub fn write_whole(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = folder.join(name);
    let mut file = File::create(&fresh)?;
    // Before it says anything.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

/// A folder that every program may look into.
pub fn make_open_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Removes what may be missing.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
