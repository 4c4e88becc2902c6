//! A value on the disk that a power cut can't tear: two files, written in turns, of which the newer whole one counts.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Marks a record and its form.
const MAGIC: &[u8; 4] = b"PHR1";

/// Magic, sequence, length, checksum.
const HEAD_LEN: usize = 4 + 8 + 4 + 4;

/// Longest content, in bytes.
const CONTENT_LEN_MAX: u64 = 1024 * 1024;

/// Both files have this length from the beginning, in bytes: what is written into them later takes no space that a full disk
/// lacks. What is longer all the same makes its file grow.
const ROOM: u64 = 64 * 1024;

/// A value of type `T`, in `NAME.a` and `NAME.b` of a folder.
///
/// Each file is: magic, sequence (u64), length (u32), CRC-32 of sequence, length and content, then the content as JSON; numbers
/// are little-endian. A write goes to the file that does not hold the present value, and is synced: until it is whole, the present
/// value is what a reader finds.
pub struct Record<T> {
    paths: [PathBuf; 2],
    /// The sequence of the present value and which file it is in.
    present: Option<(u64, usize)>,
    value: PhantomData<T>,
}

/// Why a record can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The disk.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is something, and none of it is whole.
    #[error("{path} and its twin are damaged: {what}")]
    Damaged {
        /// The first of the two files.
        path: PathBuf,
        /// What is wrong with the newer one.
        what: String,
    },
}

impl<T: Serialize + DeserializeOwned> Record<T> {
    /// Reads the value; none where there has never been one.
    ///
    /// # Errors
    /// When there was one and neither file is whole, or the disk fails.
    pub fn open(folder: &Path, name: &str) -> Result<(Self, Option<T>), RecordError> {
        let paths = paths(folder, name);
        let mut newest: Option<(u64, usize, T)> = None;
        let mut damage = None;
        for (i, path) in paths.iter().enumerate() {
            match read(path).map_err(|source| RecordError::Io { path: path.clone(), source })? {
                Content::Nothing => {}
                Content::Damaged(what) => damage = Some(what),
                Content::Whole(sequence, json) => match serde_json::from_slice(&json) {
                    Ok(value) if newest.as_ref().is_none_or(|(newer, ..)| *newer < sequence) => {
                        newest = Some((sequence, i, value));
                    }
                    Ok(_) => {}
                    Err(error) => damage = Some(error.to_string()),
                },
            }
        }
        match (newest, damage) {
            (Some((sequence, i, value)), _) => {
                Ok((Self { paths, present: Some((sequence, i)), value: PhantomData }, Some(value)))
            }
            // A first write that was cut off has left the other file missing: there has never been a value.
            (None, Some(what)) if paths.iter().all(|path| path.exists()) => {
                Err(RecordError::Damaged { path: paths[0].clone(), what })
            }
            (None, _) => Ok((Self { paths, present: None, value: PhantomData }, None)),
        }
    }

    /// Begins anew where what there is can't be read: the next value written is the first one.
    pub fn anew(folder: &Path, name: &str) -> Self {
        Self { paths: paths(folder, name), present: None, value: PhantomData }
    }

    /// Makes this the value, durably.
    ///
    /// # Errors
    /// When the disk fails; then the value before it still counts.
    pub fn write(&mut self, value: &T) -> Result<(), RecordError> {
        let (sequence, i) = self.present.map_or((1, 0), |(sequence, i)| (sequence + 1, 1 - i));
        let path = &self.paths[i];
        let failed = |source| RecordError::Io { path: path.clone(), source };
        let json = serde_json::to_vec(value).map_err(|error| failed(io::Error::other(error)))?;
        write(path, &encode(sequence, &json)).map_err(failed)?;
        self.present = Some((sequence, i));
        let twin = &self.paths[1 - i];
        if !twin.exists() {
            // This value counts already. Without room for the next one, that one is refused when it comes.
            let _ = write(twin, &[]);
        }
        Ok(())
    }
}

fn paths(folder: &Path, name: &str) -> [PathBuf; 2] {
    ["a", "b"].map(|twin| folder.join(format!("{name}.{twin}")))
}

enum Content {
    Nothing,
    Damaged(String),
    Whole(u64, Vec<u8>),
}

fn read(path: &Path) -> io::Result<Content> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(CONTENT_LEN_MAX).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Nothing),
        Err(error) => return Err(error),
    };
    Ok(match decode(&bytes) {
        Ok((sequence, json)) => Content::Whole(sequence, json.to_vec()),
        Err(what) => Content::Damaged(what.to_owned()),
    })
}

fn encode(sequence: u64, json: &[u8]) -> Vec<u8> {
    let len = u32::try_from(json.len()).expect("a record is short");
    let counted = [&sequence.to_le_bytes()[..], &len.to_le_bytes(), json].concat();
    let checksum = crc32fast::hash(&counted);
    [MAGIC, &counted[..12], &checksum.to_le_bytes(), json].concat()
}

/// Sequence and content.
pub(crate) fn decode(bytes: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    if bytes.len() < HEAD_LEN || &bytes[..4] != MAGIC {
        return Err("it does not begin as a record does");
    }
    let (head, rest) = bytes.split_at(HEAD_LEN);
    let sequence = u64::from_le_bytes(head[4..12].try_into().expect("eight bytes"));
    let len = u32::from_le_bytes(head[12..16].try_into().expect("four bytes"));
    let checksum = u32::from_le_bytes(head[16..20].try_into().expect("four bytes"));
    let json = usize::try_from(len).ok().and_then(|len| rest.get(..len)).ok_or("it is cut off")?;
    let mut hash = crc32fast::Hasher::new();
    hash.update(&head[4..16]);
    hash.update(json);
    if hash.finalize() == checksum { Ok((sequence, json)) } else { Err("its checksum is wrong") }
}

/// In place: the file's blocks are there already, and no other file is named in its stead.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let is_new = !path.exists();
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.create(true).write(true).truncate(false).open(path)?;
    file.write_all(bytes)?;
    let missing = ROOM.saturating_sub(file.metadata()?.len().max(bytes.len() as u64));
    if missing > 0 {
        // Zeros that are written have blocks; a length that is set has none.
        file.seek(SeekFrom::End(0))?;
        io::copy(&mut io::repeat(0).take(missing), &mut file)?;
    }
    file.sync_data()?;
    if is_new {
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(folder: &Path) -> (Record<String>, Option<String>) {
        Record::open(folder, "state").unwrap()
    }

    #[test]
    fn the_last_value_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (mut state, none) = record(folder.path());
        assert_eq!(none, None);
        for value in ["one", "a longer second one", "3"] {
            state.write(&value.to_owned()).unwrap();
            assert_eq!(record(folder.path()).1.as_deref(), Some(value));
        }
    }

    #[test]
    fn a_write_cut_off_or_garbled_at_any_byte_leaves_the_value_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut state, _) = record(folder.path());
        state.write(&"first".to_owned()).unwrap();
        state.write(&"second".to_owned()).unwrap();
        let before = std::fs::read(folder.path().join("state.a")).unwrap();
        let after = encode(3, b"\"third, and longer\"");
        let mut tried = 0;
        for cut in 0..after.len() {
            // What of a write is on the disk, over what was there; and the same with zeros where a block never came.
            let mut torn = after[..cut].to_vec();
            torn.extend_from_slice(before.get(cut..).unwrap_or_default());
            let mut holed = after.clone();
            holed[cut..].fill(0);
            for bytes in [torn, holed, after[..cut].to_vec()] {
                std::fs::write(folder.path().join("state.a"), bytes).unwrap();
                assert_eq!(record(folder.path()).1.as_deref(), Some("second"), "cut at {cut}");
                tried += 1;
            }
        }
        println!("{tried} of {tried} torn writes left the value before");
        std::fs::write(folder.path().join("state.a"), after).unwrap();
        let (mut state, value) = record(folder.path());
        assert_eq!(value.as_deref(), Some("third, and longer"));
        state.write(&"fourth".to_owned()).unwrap();
        assert_eq!(record(folder.path()).1.as_deref(), Some("fourth"));
    }

    #[test]
    fn a_first_write_that_was_cut_off_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state.a"), b"PHR1").unwrap();
        assert_eq!(record(folder.path()).1, None);
    }

    #[test]
    fn a_value_takes_no_more_space_than_the_first_one_took() {
        let folder = tempfile::tempdir().unwrap();
        let (mut state, _) = record(folder.path());
        for len in [1, 30_000, 20] {
            state.write(&"x".repeat(len)).unwrap();
            let lengths = ["a", "b"].map(|twin| folder.path().join(format!("state.{twin}")).metadata().unwrap().len());
            assert_eq!(lengths, [ROOM; 2]);
        }
    }

    #[test]
    fn damaged_files_are_written_over_where_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        for twin in ["a", "b"] {
            std::fs::write(folder.path().join(format!("state.{twin}")), b"garbage").unwrap();
        }
        for value in ["one", "two"] {
            let mut state = match Record::<String>::open(folder.path(), "state") {
                Ok((state, _)) => state,
                Err(_) => Record::anew(folder.path(), "state"),
            };
            state.write(&value.to_owned()).unwrap();
            assert_eq!(record(folder.path()).1.as_deref(), Some(value));
        }
    }

    #[test]
    fn two_damaged_files_are_not_taken_for_none() {
        let folder = tempfile::tempdir().unwrap();
        for twin in ["a", "b"] {
            std::fs::write(folder.path().join(format!("state.{twin}")), b"garbage").unwrap();
        }
        let error = Record::<String>::open(folder.path(), "state").err().expect("refused");
        assert!(error.to_string().contains("damaged"), "{error}");
    }
}
