//! One file of the log, written with zeros once, so that a sync of it has no file system journal to wait
//! for, and written past the page cache, which would only hold what nobody reads.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::buffer::Buffer;
use super::frame::BLOCK_LEN;

/// What the log needs of a file. The crash tests have another one, which forgets what was not synced.
pub trait Storage: Send {
    /// Fills `bytes` from `offset` on, within its length.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()>;
    /// Puts `bytes` at `offset`, within its length: whole blocks, from memory where a block may begin.
    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()>;
    /// Returns when everything written is on the disk.
    fn sync(&self) -> std::io::Result<()>;
    /// Its length, fixed for good.
    fn len(&self) -> u64;
}

/// A file on the disk.
pub struct Segment {
    /// Reads through the page cache, in pieces of any length.
    file: File,
    /// Writes past it, where the file system can.
    blocks: File,
    len: u64,
}

impl Segment {
    /// Opens the file, whatever its length.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let len = file.metadata()?.len();
        let blocks = open_past_the_cache(path).or_else(|_| file.try_clone())?;
        Ok(Self { file, blocks, len })
    }
}

/// An error where the file system, or the disk below it, does not take our blocks as they are.
fn open_past_the_cache(path: &Path) -> std::io::Result<File> {
    let flags = OFlag::O_DIRECT.bits();
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    file.read_at(Buffer::new(BLOCK_LEN).first(BLOCK_LEN), 0)?;
    Ok(file)
}

impl Storage for Segment {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.blocks.write_all_at(bytes, offset)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.blocks.sync_data()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of one byte all over, in memory that a disk takes.
    fn block(buffer: &mut Buffer, byte: u8) -> &[u8] {
        let block = buffer.first(BLOCK_LEN);
        block.fill(byte);
        block
    }

    fn byte_at(segment: &Segment, offset: u64) -> u8 {
        let mut byte = [0];
        segment.read_at(&mut byte, offset).expect("read");
        byte[0]
    }

    #[test]
    fn what_is_written_past_the_page_cache_is_read_through_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("segment");
        create(&path, 4 * BLOCK_LEN as u64).expect("made");
        let (segment, mut buffer) = (Segment::open(&path).expect("opens"), Buffer::new(BLOCK_LEN));
        let second = BLOCK_LEN as u64;
        for byte in [7, 8] {
            assert_ne!(byte_at(&segment, second + 5), byte, "now it is in the cache");
            segment.write_at(block(&mut buffer, byte), second).expect("written");
            segment.sync().expect("synced");
            assert_eq!([0, second + 5, 2 * second].map(|at| byte_at(&segment, at)), [0, byte, 0]);
        }
        assert_eq!(byte_at(&Segment::open(&path).expect("opens"), second + 5), 8);
    }

    #[test]
    fn a_file_system_that_has_no_way_past_the_cache_is_written_through_it() {
        // One of the kernel's own has none. This file holds a number of eight digits, whatever its length is said to be.
        let path = Path::new("/proc/self/coredump_filter");
        open_past_the_cache(path).expect_err("it has a way");
        let segment = Segment::open(path).expect("opens");
        for digit in *b"12" {
            segment.write_at(&[digit], 0).expect("written");
            assert_eq!(byte_at(&segment, 7), digit);
        }
    }
}
