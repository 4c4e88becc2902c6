//! The card's boot partition, read and written in place on its block device. It is never mounted, so that no power cut can damage
//! its file system: a PC has to read it, and the board boots from it.
//!
//! Of a file only the bytes are ever written, and never more of them than it has: neither FAT nor folders change. So what is to be
//! written has to be there before, as large as it may become.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fatfs::{FileSystem, FsOptions};
use thiserror::Error;

/// Names another boot partition, or the file of one, instead of that of root's disk.
pub const OTHER: &str = "POSTHOUSE_BOOT_PARTITION";

/// Names another disk, or the file of one, that the data partition is on.
const OTHER_DISK: &str = "POSTHOUSE_DISK";

/// Reads of the device for one file, at most. A sound folder with hundreds of files takes some thousand; a damaged one may lead in
/// a circle.
const READS_MAX: u32 = 200_000;

/// What can go wrong with the boot partition.
#[derive(Debug, Error)]
pub enum BootError {
    /// Root is not on a partition, so there is none beside it.
    #[error("the root file system is not on a partition of a disk")]
    NoDisk(#[source] io::Error),
    /// The device can't be opened.
    #[error("cannot open the boot partition {path}: {source}")]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no FAT file system that can be read.
    #[error("the boot partition cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// One file of it can't be read.
    #[error("{name} on the boot partition cannot be read: {source}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than its reader allows.
    #[error("{name} has {len} bytes: more than {most} are never read")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size.
        len: u64,
        /// The largest one.
        most: u64,
    },
    /// There is no such file to write into.
    #[error("the boot partition has no {0}")]
    Missing(String),
    /// What is to be written has more bytes than the file.
    #[error("{name} has room for {room} bytes, not for {len}")]
    NoRoom {
        /// The file.
        name: String,
        /// How many bytes it has.
        room: usize,
        /// How many were to be written.
        len: usize,
    },
    /// The device does not take it.
    #[error("{name} on the boot partition cannot be written: {source}")]
    Write {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
}

/// The boot partition. Each access looks anew.
#[derive(Debug)]
pub struct BootPartition {
    path: PathBuf,
}

/// A file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// All of it.
    pub bytes: Vec<u8>,
    /// When it was made and last changed, by the clock of the PC that did it. Says no more than whether this is the same file.
    pub stamp: String,
    places: Vec<Place>,
}

/// Where a part of a file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    on_device: u64,
    len: usize,
}

/// The disk that a boot partition is on.
#[derive(Debug)]
pub struct WholeDisk {
    /// Its device.
    pub path: PathBuf,
    /// The device of its data partition, as e2fsprogs take it.
    pub data: String,
}

/// Writes `bytes` into a file of the boot partition of root's disk: see [`BootPartition::overwrite`].
///
/// # Errors
/// As it says.
pub fn overwrite(name: &str, bytes: &[u8]) -> Result<(), BootError> {
    BootPartition::open()?.overwrite(name, bytes)
}

impl BootPartition {
    /// The first partition of the disk that root is on, or the one that [`OTHER`] names.
    ///
    /// # Errors
    /// Root is not on a partition of a disk.
    pub fn open() -> Result<Self, BootError> {
        match std::env::var_os(OTHER) {
            Some(path) => Ok(Self::at(path)),
            None => {
                let disk = root_disk().map_err(BootError::NoDisk)?;
                Ok(Self::at(Path::new("/dev").join(partition(&disk, 1))))
            }
        }
    }

    /// The partition that a device or a file is.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The disk that it is on.
    ///
    /// # Errors
    /// Root is not on a partition of a disk.
    pub fn disk(&self) -> Result<WholeDisk, BootError> {
        if let Some(path) = std::env::var_os(OTHER_DISK).map(PathBuf::from) {
            // In the file of a disk: where the test says that it is.
            let offset = std::env::var("POSTHOUSE_DATA_OFFSET").unwrap_or_default();
            return Ok(WholeDisk { data: format!("{}?offset={offset}", path.display()), path });
        }
        let name = root_disk().map_err(BootError::NoDisk)?;
        Ok(WholeDisk { path: Path::new("/dev").join(&name), data: format!("/dev/{}", partition(&name, 4)) })
    }

    /// Whether it can be read.
    ///
    /// # Errors
    /// It can't.
    pub fn check(&self) -> Result<(), BootError> {
        // No file has no name.
        self.read("", 0).map(drop)
    }

    /// The names of the files in its top folder.
    ///
    /// # Errors
    /// The partition can't be read.
    pub fn names(&self) -> Result<Vec<String>, BootError> {
        let (system, _) = self.system()?;
        let mut names = Vec::new();
        for entry in system.root_dir().iter() {
            let entry = entry.map_err(BootError::Unreadable)?;
            if entry.is_file() {
                names.push(entry.file_name());
            }
        }
        Ok(names)
    }

    /// A file of its top folder, whatever the case of its name; nothing where there is none.
    ///
    /// # Errors
    /// The partition can't be read, or the file has more than `len_max` bytes.
    pub fn read(&self, name: &str, len_max: u64) -> Result<Option<Found>, BootError> {
        let (system, last_read) = self.system()?;
        for entry in system.root_dir().iter() {
            let entry = entry.map_err(BootError::Unreadable)?;
            if !entry.is_file() || !entry.file_name().eq_ignore_ascii_case(name) {
                continue;
            }
            if entry.len() > len_max {
                return Err(BootError::TooLarge { name: name.to_owned(), len: entry.len(), most: len_max });
            }
            let failed = |source| BootError::Read { name: name.to_owned(), source };
            let (bytes, places) = read_all(&mut entry.to_file(), &last_read).map_err(failed)?;
            if bytes.len() as u64 != entry.len() {
                return Err(failed(io::Error::new(ErrorKind::UnexpectedEof, "it is cut off")));
            }
            let stamp = format!("{:?} {:?}", entry.created(), entry.modified());
            return Ok(Some(Found { bytes, stamp, places }));
        }
        Ok(None)
    }

    /// Its file system, and where the device was read last.
    fn system(&self) -> Result<(FileSystem<Disk>, Rc<Cell<u64>>), BootError> {
        let device = File::open(&self.path).map_err(|source| BootError::Open { path: self.path.clone(), source })?;
        let last_read = Rc::new(Cell::new(0));
        let disk = Disk { device, position: 0, reads_left: READS_MAX, last_read: Rc::clone(&last_read) };
        Ok((FileSystem::new(disk, FsOptions::new()).map_err(BootError::Unreadable)?, last_read))
    }

    /// Writes `bytes` over the beginning of a file and blanks over the rest of it, which ends with a line's end. The file keeps its
    /// size, and what is the same already is not written. On return it is on the card.
    ///
    /// # Errors
    /// The file is missing, too small or can't be written. A write that breaks off leaves some of it as it was.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) -> Result<(), BootError> {
        let found = self.read(name, u64::from(u32::MAX))?.ok_or_else(|| BootError::Missing(name.to_owned()))?;
        let room = found.bytes.len();
        let len = bytes.len();
        if len > room {
            return Err(BootError::NoRoom { name: name.to_owned(), room, len });
        }
        let mut wanted = bytes.to_vec();
        wanted.resize(room, b' ');
        if len < room {
            wanted[room - 1] = b'\n';
        }
        self.change(name, &found, &wanted)
    }

    /// Writes what differs between a file as it was found and as it should be, which is of the same size.
    ///
    /// # Errors
    /// Sizes differ, or it can't be written.
    pub fn change(&self, name: &str, found: &Found, wanted: &[u8]) -> Result<(), BootError> {
        if wanted.len() != found.bytes.len() {
            return Err(BootError::NoRoom { name: name.to_owned(), room: found.bytes.len(), len: wanted.len() });
        }
        if wanted == found.bytes {
            return Ok(());
        }
        self.write_parts(found, wanted).map_err(|source| BootError::Write { name: name.to_owned(), source })
    }

    fn write_parts(&self, found: &Found, wanted: &[u8]) -> io::Result<()> {
        let device = File::options().read(true).write(true).open(&self.path)?;
        let mut begin = 0;
        for place in &found.places {
            let part = begin..begin + place.len;
            begin = part.end;
            let (old, new) = (&found.bytes[part.clone()], &wanted[part]);
            let Some(first) = old.iter().zip(new).position(|(old, new)| old != new) else { continue };
            let last = old.iter().zip(new).rposition(|(old, new)| old != new).unwrap_or(first);
            // Nobody else writes here; but were it not the file's place after all, something else would be lost.
            let mut there = vec![0; old.len()];
            device.read_exact_at(&mut there, place.on_device)?;
            if there != old {
                return Err(io::Error::new(ErrorKind::InvalidData, "it has changed meanwhile"));
            }
            device.write_all_at(&new[first..=last], place.on_device + first as u64)?;
        }
        device.sync_data()
    }
}

/// A whole file and where its parts lie: each read of a file ends with one read of the device, that of its bytes.
fn read_all(file: &mut fatfs::File<'_, Disk>, last_read: &Cell<u64>) -> io::Result<(Vec<u8>, Vec<Place>)> {
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            return Ok((bytes, places));
        }
        bytes.extend_from_slice(&buffer[..len]);
        places.push(Place { on_device: last_read.get(), len });
    }
}

/// The device as the FAT library sees it: read-only, and with an end to its patience.
struct Disk {
    device: File,
    position: u64,
    reads_left: u32,
    /// Where the last read began.
    last_read: Rc<Cell<u64>>,
}

impl io::Read for Disk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads_left = self
            .reads_left
            .checked_sub(1)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "its file system leads in a circle"))?;
        self.last_read.set(self.position);
        let len = self.device.read_at(buffer, self.position)?;
        self.position += len as u64;
        Ok(len)
    }
}

impl io::Write for Disk {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::new(ErrorKind::PermissionDenied, "the boot partition's file system is never written to"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(_) => None,
        };
        self.position = position.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "there is no such place"))?;
        Ok(self.position)
    }
}

/// The name of root's disk. Root's device is the third field of its line in mountinfo, and its folder in /sys lies in its disk's.
fn root_disk() -> io::Result<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let number =
        fields.filter(|fields| fields.get(4) == Some(&"/")).filter_map(|fields| fields.get(2).copied()).next_back();
    let number = number.ok_or_else(|| io::Error::new(ErrorKind::NotFound, "nothing is mounted at /"))?;
    let partition = fs::canonicalize(Path::new("/sys/dev/block").join(number))?;
    fs::metadata(partition.join("partition"))?;
    let disk = partition.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    disk.map(str::to_owned).ok_or_else(|| io::Error::new(ErrorKind::NotFound, "root's disk has no name"))
}

/// The name of a disk's partition: names that end in a digit put a p before the number.
fn partition(disk: &str, number: u8) -> String {
    let between = if disk.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{between}{number}")
}

#[cfg(test)]
mod tests;
