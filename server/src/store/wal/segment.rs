//! One file of the log, written with zeros once, so that a sync of it has no file system journal to wait
//! for.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What the log needs of a file. The crash tests have another one, which forgets what was not synced.
pub trait Storage: Send {
    /// Fills `bytes` from `offset` on, within its length.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()>;
    /// Puts `bytes` at `offset`, within its length.
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()>;
    /// Returns when everything written is on the disk.
    fn sync(&self) -> std::io::Result<()>;
    /// Its length, fixed for good.
    fn len(&self) -> u64;
}

/// A file on the disk.
pub struct Segment {
    file: File,
    len: u64,
}

impl Segment {
    /// Opens the file, whatever its length.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

impl Storage for Segment {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> u64 {
        self.len
    }
}

/// Makes a file of `len` zeros, under another name first: a power cut leaves no short one.
pub fn create(path: &Path, len: u64) -> std::io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    let zeros = vec![0; 64 * 1024];
    let mut left = len;
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        file.write_all(&zeros[..usize::try_from(part).map_err(std::io::Error::other)?])?;
        left -= part;
    }
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}
