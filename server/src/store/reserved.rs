//! The database's file, held back: nothing is written to it before it has proved sound.
//!
//! Opening a database repairs what a crash left open, and only then may it turn out that the file is
//! damaged. Until [`Reserve::settle`] all writes are therefore kept in memory, in their order; a refusal
//! drops them, and the file is as it was. A repair writes a few pages, whatever the file's size.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// The unit of what is kept in memory.
const BLOCK_LEN: usize = 4096;

/// The file for redb.
#[derive(Debug)]
pub(super) struct ReservedFile(Arc<Reserve>);

/// The other handle to it: decides when the writes may happen.
#[derive(Debug)]
pub(super) struct Reserve {
    file: FileBackend,
    /// `None` once settled.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    len: u64,
    /// How much of the file still counts: what was cut off once comes back as zeros.
    original: u64,
    /// The blocks that differ from the file.
    blocks: HashMap<u64, Box<[u8; BLOCK_LEN]>>,
    /// How they came to.
    operations: Vec<Operation>,
}

#[derive(Debug)]
enum Operation {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

type Io<T> = std::io::Result<T>;

/// Makes both handles.
pub(super) fn reserve(file: File) -> Result<(ReservedFile, Arc<Reserve>), DatabaseError> {
    let file = FileBackend::new(file)?;
    let len = file.len()?;
    let held = Held { len, original: len, blocks: HashMap::new(), operations: Vec::new() };
    let reserve = Arc::new(Reserve { file, held: Mutex::new(Some(held)) });
    Ok((ReservedFile(Arc::clone(&reserve)), reserve))
}

impl Reserve {
    /// The file has proved sound: carries out, in their order, the writes that were held back. From here
    /// on writes go to the file.
    pub fn settle(&self) -> Io<()> {
        let mut held = self.lock();
        for operation in held.take().map(|held| held.operations).unwrap_or_default() {
            match operation {
                Operation::Write(offset, bytes) => self.file.write(offset, &bytes)?,
                Operation::SetLen(len) => self.file.set_len(len)?,
                Operation::Sync => self.file.sync_data()?,
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        // A panic while it is held ends the process.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it would be in the file.
    fn block<'a>(&self, held: &'a mut Held, index: u64) -> Io<&'a mut [u8; BLOCK_LEN]> {
        use std::collections::hash_map::Entry;
        match held.blocks.entry(index) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let mut block = Box::new([0; BLOCK_LEN]);
                let offset = index * BLOCK_LEN as u64;
                let there = held.original.saturating_sub(offset).min(BLOCK_LEN as u64);
                let there = usize::try_from(there).map_err(std::io::Error::other)?;
                if there > 0 {
                    self.file.read(offset, &mut block[..there])?;
                }
                Ok(entry.insert(block))
            }
        }
    }
}

impl Held {
    /// Calls `each` with every block of a range: its index, where in it, and where in the caller's bytes.
    fn split(offset: u64, len: usize, mut each: impl FnMut(u64, usize, std::ops::Range<usize>) -> Io<()>) -> Io<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = usize::try_from(at % BLOCK_LEN as u64).map_err(std::io::Error::other)?;
            let part = (BLOCK_LEN - within).min(len - done);
            each(at / BLOCK_LEN as u64, within, done..done + part)?;
            done += part;
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) {
        let (whole, rest) = (len / BLOCK_LEN as u64, len % BLOCK_LEN as u64);
        self.blocks.retain(|index, _| *index < whole + u64::from(rest > 0));
        if let (Some(block), Ok(rest)) = (self.blocks.get_mut(&whole), usize::try_from(rest)) {
            block[rest..].fill(0);
        }
        self.len = len;
        self.original = self.original.min(len);
    }
}

impl StorageBackend for ReservedFile {
    fn len(&self) -> Io<u64> {
        self.0.lock().as_ref().map_or_else(|| self.0.file.len(), |held| Ok(held.len))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Io<()> {
        let mut held = self.0.lock();
        let Some(held) = held.as_mut() else { return self.0.file.read(offset, out) };
        if offset.saturating_add(out.len() as u64) > held.len {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (first, last) = (offset / BLOCK_LEN as u64, (offset + out.len() as u64) / BLOCK_LEN as u64);
        let untouched = !(first..=last).any(|index| held.blocks.contains_key(&index));
        if untouched && offset + out.len() as u64 <= held.original {
            return self.0.file.read(offset, out);
        }
        Held::split(offset, out.len(), |index, within, range| {
            let len = range.len();
            out[range].copy_from_slice(&self.0.block(held, index)?[within..within + len]);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> Io<()> {
        let mut held = self.0.lock();
        let Some(held) = held.as_mut() else { return self.0.file.set_len(len) };
        held.set_len(len);
        held.operations.push(Operation::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> Io<()> {
        let mut held = self.0.lock();
        let Some(held) = held.as_mut() else { return self.0.file.sync_data() };
        held.operations.push(Operation::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Io<()> {
        let mut held = self.0.lock();
        let Some(held) = held.as_mut() else { return self.0.file.write(offset, data) };
        Held::split(offset, data.len(), |index, within, range| {
            let part = &data[range];
            self.0.block(held, index)?[within..within + part.len()].copy_from_slice(part);
            Ok(())
        })?;
        held.operations.push(Operation::Write(offset, data.to_vec()));
        Ok(())
    }

    fn close(&self) -> Io<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use proptest::prelude::*;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content).expect("written");
        file
    }

    fn content(mut file: File) -> Vec<u8> {
        let mut content = Vec::new();
        file.rewind().expect("rewound");
        file.read_to_end(&mut content).expect("read");
        content
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let write = (0..20_000_u64, proptest::collection::vec(any::<u8>(), 1..6000))
            .prop_map(|(at, data)| Step::Write(at, data));
        proptest::collection::vec(prop_oneof![3 => write, 1 => (0..30_000_u64).prop_map(Step::SetLen)], 0..12)
    }

    proptest! {
        #[test]
        fn what_is_read_while_held_back_is_what_the_file_has_after_settling(steps in steps()) {
            let original: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
            let file = file(&original);
            let (reserved, reserve) = reserve(file.try_clone().expect("a handle")).expect("opens");
            for step in steps {
                match step {
                    // As redb does: the file is made long enough first.
                    Step::Write(at, data) => {
                        let end = at + data.len() as u64;
                        if reserved.len().expect("known") < end {
                            reserved.set_len(end).expect("held");
                        }
                        reserved.write(at, &data).expect("held");
                    }
                    Step::SetLen(len) => reserved.set_len(len).expect("held"),
                }
            }
            let mut seen = vec![0; usize::try_from(reserved.len().expect("known")).expect("small")];
            reserved.read(0, &mut seen).expect("read");
            prop_assert!(content(file.try_clone().expect("a handle")) == original, "written before it was settled");
            reserve.settle().expect("settles");
            prop_assert!(content(file) == seen);
        }
    }
}
