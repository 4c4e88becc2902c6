//! The write-ahead log: what makes a group durable with one sync, before the database has it.
//!
//! Owns the log's files and the order of frames in them. Knows nothing of what a frame says. The writer
//! appends; when the database has made frames durable itself, the writer releases them, and their space
//! is used again.
//!
//! There are two segments. The log goes through one while the frames of the other become durable in the
//! database; where both are full, appending has to wait. Only one frame is ever on its way to the disk, so
//! a cut can tear the last one only. **A frame that is missing while a later one is there is therefore
//! damage**, and the log says so instead of starting with a part of what was acknowledged.

mod buffer;
mod frame;
mod segment;

use std::cmp::Ordering;

use posthouse_protocol::Epoch;

use buffer::Buffer;
pub use frame::{BLOCK_LEN, Frame, PAYLOAD_LEN_MAX};
pub use segment::{Segment, Storage, create};

/// Number of segments.
pub const SEGMENTS: usize = 2;

/// Longest frame, with its header and padding.
const FRAME_LEN_MAX: usize = frame::encoded_len(PAYLOAD_LEN_MAX);

/// How much of a segment is read at once.
const WINDOW_LEN: usize = 2 * FRAME_LEN_MAX;

/// Why the log can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system said no. After a failed sync nothing is certain about what was written before it.
    #[error("the log could not be {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A part of what was acknowledged is gone.
    #[error("frame {missing} is missing or damaged, but frame {present} behind it is there")]
    Hole {
        /// The frame that should be there.
        missing: u64,
        /// The frame that is.
        present: u64,
    },
    /// One of the two lies where another frame was.
    #[error("frame {number} is there twice: it was written over another one")]
    Twice {
        /// The frame.
        number: u64,
    },
}

/// The log, open for appending.
pub struct Log<S: Storage> {
    segments: [Part<S>; SEGMENTS],
    current: usize,
    epoch: Epoch,
    next_number: u64,
    buffer: Buffer,
}

struct Part<S> {
    storage: S,
    /// Where the next frame goes.
    offset: u64,
    /// The last frame in it that the database may still need; 0 when there is none.
    last_number: u64,
}

impl<S: Storage> Log<S> {
    /// Reads every frame after `applied`, the last one that is durable in the database. The log takes
    /// appends after [`Log::restart`].
    ///
    /// # Errors
    /// `Hole` when frames are missing before the last one, `Twice` when one is somewhere else as well.
    pub fn open(segments: [S; SEGMENTS], epoch: Epoch, applied: u64) -> Result<(Self, Vec<Frame>), LogError> {
        let mut frames = Vec::new();
        for storage in &segments {
            let found = collect(storage, epoch, applied, &mut frames);
            found.map_err(|source| LogError::Io { what: "read", source })?;
        }
        frames.sort_by_key(|frame| frame.number);
        let mut expected = applied + 1;
        for frame in &frames {
            match frame.number.cmp(&expected) {
                Ordering::Equal => expected += 1,
                Ordering::Greater => return Err(LogError::Hole { missing: expected, present: frame.number }),
                Ordering::Less => return Err(LogError::Twice { number: frame.number }),
            }
        }
        let parts = segments.map(|storage| Part { storage, offset: 0, last_number: expected - 1 });
        let buffer = Buffer::new(FRAME_LEN_MAX);
        Ok((Self { segments: parts, current: 0, epoch, next_number: expected, buffer }, frames))
    }

    /// Starts again at the beginning, once every frame that was read is durable in the database.
    pub fn restart(&mut self) {
        self.release(self.next_number - 1);
    }

    /// Frames are another database's from here on. What was read of this one must be durable in the database.
    pub fn go_on_under(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Frames up to `number` are durable in the database: their space may be used again.
    pub fn release(&mut self, number: u64) {
        for part in &mut self.segments {
            if part.last_number <= number {
                part.last_number = 0;
            }
        }
    }

    /// Whether [`Log::append`] has room for a payload of this length. If not, frames have to be released.
    pub fn has_room(&self, payload_len: usize) -> bool {
        self.place_for(payload_len).is_some()
    }

    /// The segment that the last frame is in.
    pub fn current_segment(&self) -> usize {
        self.current
    }

    /// The last frame in the log.
    pub fn last_number(&self) -> u64 {
        self.next_number - 1
    }

    /// Appends a frame and returns its number when it is on the disk.
    ///
    /// # Errors
    /// `Io`. The log is not to be used after an error: what is on the disk is unknown.
    ///
    /// # Panics
    /// Where [`Log::has_room`] says that there is none.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, LogError> {
        let (index, offset) = self.place_for(payload.len()).expect("the caller made sure that there is room");
        let number = self.next_number;
        let bytes = self.buffer.first(frame::encoded_len(payload.len()));
        frame::encode(bytes, self.epoch, number, payload);
        let part = &mut self.segments[index];
        part.storage.write_at(bytes, offset).map_err(|source| LogError::Io { what: "written", source })?;
        part.storage.sync().map_err(|source| LogError::Io { what: "synced", source })?;
        part.offset = offset + bytes.len() as u64;
        part.last_number = number;
        self.current = index;
        self.next_number += 1;
        Ok(number)
    }

    /// The segment and the offset for the next frame: behind the last one, or at the beginning of the
    /// next segment if that one is free.
    fn place_for(&self, payload_len: usize) -> Option<(usize, u64)> {
        let len = frame::encoded_len(payload_len) as u64;
        let current = &self.segments[self.current];
        if current.last_number > 0 && current.offset + len <= current.storage.len() {
            return Some((self.current, current.offset));
        }
        if current.last_number == 0 && len <= current.storage.len() {
            return Some((self.current, 0));
        }
        let next = (self.current + 1) % SEGMENTS;
        let free = self.segments[next].last_number == 0 && len <= self.segments[next].storage.len();
        free.then_some((next, 0))
    }
}

/// Whether a file that should be new holds a frame, of whatever database.
pub fn holds_frames(bytes: &[u8]) -> bool {
    bytes.chunks(BLOCK_LEN).any(|block| block.starts_with(frame::MAGIC))
}

/// Finds all whole frames after `applied` in a segment, wherever they begin. It is read by windows: an allocator may keep what it
/// once gave out, and whole segments would be more than the server needs from then on.
fn collect<S: Storage>(storage: &S, epoch: Epoch, applied: u64, frames: &mut Vec<Frame>) -> std::io::Result<()> {
    let len = storage.len();
    let mut window = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < len {
        // The longest frame lies in it whole, unless the segment ends before.
        if begin + (window.len() as u64) < len.min(at + FRAME_LEN_MAX as u64) {
            begin = at;
            window.resize(usize::try_from(len - at).unwrap_or(usize::MAX).min(WINDOW_LEN), 0);
            storage.read_at(&mut window, at)?;
        }
        let rest = usize::try_from(at - begin).map_err(std::io::Error::other)?;
        match frame::decode(&window[rest..], epoch) {
            Some(frame) => {
                at += frame::encoded_len(frame.payload.len()) as u64;
                if frame.number > applied {
                    frames.push(frame);
                }
            }
            None => at += BLOCK_LEN as u64,
        }
    }
    Ok(())
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
