//! The log against a file that forgets what was not synced.

use std::sync::{Arc, Mutex};

use super::*;

pub(super) const EPOCH: Epoch = Epoch(9);
pub(super) const SEGMENT_LEN: usize = 8 * BLOCK_LEN;

/// A file in memory: what is written, and what is on the disk.
#[derive(Clone)]
pub(super) struct Memory {
    state: Arc<Mutex<(Vec<u8>, Vec<u8>)>>,
}

impl Memory {
    fn new() -> Self {
        Self { state: Arc::new(Mutex::new((vec![0; SEGMENT_LEN], vec![0; SEGMENT_LEN]))) }
    }

    fn damage(&self, at: usize) {
        self.edit(|bytes| bytes[at] ^= 0xff);
    }

    pub(super) fn edit(&self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.state.lock().expect("no panic holds it").0);
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.state.lock().expect("no panic holds it").0.clone()
    }
}

impl Storage for Memory {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        let at = usize::try_from(offset).expect("small");
        bytes.copy_from_slice(&self.state.lock().expect("no panic holds it").0[at..at + bytes.len()]);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        let at = usize::try_from(offset).expect("small");
        self.state.lock().expect("no panic holds it").0[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> std::io::Result<()> {
        let mut state = self.state.lock().expect("no panic holds it");
        state.1 = state.0.clone();
        Ok(())
    }

    fn len(&self) -> u64 {
        SEGMENT_LEN as u64
    }
}

pub(super) fn files() -> [Memory; SEGMENTS] {
    [Memory::new(), Memory::new()]
}

fn open(files: &[Memory; SEGMENTS], applied: u64) -> Result<(Log<Memory>, Vec<u64>), LogError> {
    let (log, frames) = Log::open(files.clone(), EPOCH, applied)?;
    Ok((log, frames.iter().map(|frame| frame.number).collect()))
}

/// A log on empty files, ready for appends.
fn fresh(files: &[Memory; SEGMENTS]) -> Log<Memory> {
    let (mut log, frames) = open(files, 0).expect("opens");
    assert!(frames.is_empty());
    log.restart();
    log
}

#[test]
fn what_was_appended_is_read_again_in_order_across_segments() {
    let files = files();
    let mut log = fresh(&files);
    for _ in 0..12 {
        log.append(b"x").expect("appended");
    }
    assert_eq!(open(&files, 0).expect("opens").1, (1..=12).collect::<Vec<_>>());
    assert_eq!(open(&files, 5).expect("opens").1, (6..=12).collect::<Vec<_>>());
    assert_eq!(open(&files, 12).expect("opens").1, Vec::<u64>::new());
}

#[test]
fn frames_of_every_length_are_found_wherever_the_windows_end_that_a_segment_is_read_by() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = [0, 1].map(|i| folder.path().join(i.to_string()));
    paths.iter().for_each(|path| create(path, 3 * WINDOW_LEN as u64).expect("made"));
    let open = || Log::open(paths.each_ref().map(|path| Segment::open(path).expect("opens")), EPOCH, 0).expect("whole");
    let mut log = open().0;
    log.restart();
    let lengths = [1, PAYLOAD_LEN_MAX, 3 * BLOCK_LEN, PAYLOAD_LEN_MAX / 3];
    let written = lengths.iter().cycle().map_while(|&len| {
        log.has_room(len).then(|| {
            log.append(&vec![b'x'; len]).expect("appended");
            len
        })
    });
    let written: Vec<usize> = written.collect();
    let read: Vec<usize> = open().1.iter().map(|frame| frame.payload.len()).collect();
    assert!(written.len() > 20, "the log was full after {} frames", written.len());
    assert_eq!(read, written);
}

#[test]
fn a_full_log_has_no_room_until_frames_are_released() {
    let files = files();
    let mut log = fresh(&files);
    for _ in 0..16 {
        assert!(log.has_room(1));
        log.append(b"x").expect("appended");
    }
    assert!(!log.has_room(1));
    log.release(7);
    assert!(!log.has_room(1), "frame 8 is still needed, and the first segment with it");
    log.release(8);
    assert!(log.has_room(1));
    log.append(b"x").expect("appended");
    assert_eq!(open(&files, 8).expect("opens").1, (9..=17).collect::<Vec<_>>());
}

#[test]
fn recycled_space_never_replays_what_was_there_before() {
    let files = files();
    let mut log = fresh(&files);
    for _ in 0..16 {
        log.append(b"old").expect("appended");
    }
    log.release(16);
    log.append(b"new").expect("appended");
    let (_, frames) = Log::open(files, EPOCH, 16).expect("opens");
    assert_eq!(frames, [Frame { number: 17, payload: b"new".to_vec() }]);
}

#[test]
fn a_torn_last_frame_ends_the_log_and_its_number_is_used_again() {
    let files = files();
    let mut log = fresh(&files);
    for _ in 0..3 {
        log.append(b"x").expect("appended");
    }
    files[0].damage(2 * BLOCK_LEN + 28);
    let (mut log, numbers) = open(&files, 0).expect("opens");
    assert_eq!(numbers, [1, 2]);
    log.restart();
    assert_eq!(log.append(b"y").expect("appended"), 3);
}

#[test]
fn a_damaged_frame_with_good_ones_behind_it_is_an_error_wherever_it_is() {
    for damaged in 0..11 {
        let files = files();
        let mut log = fresh(&files);
        for _ in 0..12 {
            log.append(b"x").expect("appended");
        }
        let (file, block) = (damaged / 8, damaged % 8);
        files[file].damage(block * BLOCK_LEN + 5);
        let missing = damaged as u64 + 1;
        let error = open(&files, 0).err().expect("must be noticed");
        assert!(matches!(error, LogError::Hole { missing: m, .. } if m == missing), "{damaged}: {error}");
    }
}

#[test]
fn a_frame_that_was_written_over_another_one_is_named() {
    for (copied, to) in [(2, 5), (2, 11), (5, 2), (11, 0)] {
        let files = files();
        let mut log = fresh(&files);
        for _ in 0..12 {
            log.append(b"x").expect("appended");
        }
        let place = |index: usize| index % 8 * BLOCK_LEN..(index % 8 + 1) * BLOCK_LEN;
        let frame = files[copied / 8].bytes()[place(copied)].to_vec();
        files[to / 8].edit(|bytes| bytes[place(to)].copy_from_slice(&frame));
        let error = open(&files, 0).err().expect("must be noticed");
        let number = copied as u64 + 1;
        // Where the one that is missing comes first, that is noticed first.
        let is_named = match error {
            LogError::Twice { number: twice } => twice == number && to > copied,
            LogError::Hole { missing, present } => missing == to as u64 + 1 && present == missing + 1 && to < copied,
            LogError::Io { .. } => false,
        };
        assert!(is_named, "{copied} over {to}: {error}");
    }
}

#[test]
fn a_frame_that_fits_no_segment_has_no_room() {
    let log = fresh(&files());
    assert!(log.has_room(SEGMENT_LEN - 28));
    assert!(!log.has_room(SEGMENT_LEN));
}
