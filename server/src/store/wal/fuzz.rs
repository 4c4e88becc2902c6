//! Damaged segments against the scan of the log.
//!
//! Whatever happens to its bytes, the log gives back frames as they were appended, in their order and without a hole, or
//! says that one is missing; it never loses one that is sound, and goes on behind what it gave.

use arbitrary::{Arbitrary, Unstructured};

use super::tests::{EPOCH, Memory, SEGMENT_LEN, files};
use super::*;
use crate::fuzzing::{Change, damaged, fuzz, several};

#[derive(Debug, Arbitrary)]
struct Input {
    /// How long each frame is: at most some blocks.
    #[arbitrary(with = |random: &mut Unstructured<'_>| several(random, 1..=40))]
    lengths: Vec<u16>,
    #[arbitrary(with = |random: &mut Unstructured<'_>| several(random, 0..=3))]
    damages: Vec<Damage>,
}

#[derive(Debug, Arbitrary)]
enum Damage {
    /// Of one of the frames, within the blocks that it takes.
    Frame { frame: u8, change: Change },
    /// Of a segment, anywhere.
    Segment { segment: u8, change: Change },
    /// Blocks that were written to the wrong place.
    Misplaced { from: u8, to: u8, blocks: u8 },
    /// Blocks that were never written.
    Zeros { at: u8, blocks: u8 },
}

/// A frame that the log must still have.
struct Held {
    number: u64,
    payload: Vec<u8>,
    segment: usize,
    from: usize,
    /// Behind its last byte that counts: padding may say anything.
    to: usize,
    /// Those bytes.
    bytes: Vec<u8>,
}

#[test]
fn a_damaged_log_gives_back_what_was_appended_or_says_what_is_missing() {
    fuzz(run);
}

fn run(input: &Input) {
    let files = files();
    let (held, applied) = fill(&files, &input.lengths);
    input.damages.iter().for_each(|damage| damage.apply(&files, &held));
    let is_sound = |frame: &Held| files[frame.segment].bytes()[frame.from..frame.to] == frame.bytes;
    let sound: Vec<bool> = held.iter().map(is_sound).collect();
    match Log::open(files.clone(), EPOCH, applied) {
        Ok((log, frames)) => {
            for (frame, held) in frames.iter().zip(&held) {
                assert_eq!((frame.number, &frame.payload), (held.number, &held.payload), "in place of the right one");
            }
            assert!(frames.len() <= held.len(), "more than was appended");
            let missing = sound[frames.len()..].iter().position(|is_sound| *is_sound);
            assert_eq!(missing, None, "a sound frame behind the {} that came back", frames.len());
            goes_on(log, files, applied + frames.len() as u64);
        }
        Err(LogError::Hole { .. } | LogError::Twice { .. }) => assert!(!input.damages.is_empty(), "nothing is damaged"),
        Err(error) => panic!("{error}"),
    }
}

/// Appends as the writer does; gives the frames that were not released, and the last one that was.
fn fill(files: &[Memory; SEGMENTS], lengths: &[u16]) -> (Vec<Held>, u64) {
    let (mut log, _) = Log::open(files.clone(), EPOCH, 0).expect("a new log opens");
    log.restart();
    let (mut held, mut applied): (Vec<Held>, u64) = (Vec::new(), 0);
    for length in lengths {
        let payload = format!("{{\"number\":{}}}", log.last_number() + 1).repeat(usize::from(*length) % 700 + 1);
        if !log.has_room(payload.len()) {
            applied = log.last_number();
            log.release(applied);
            held.clear();
        }
        let number = log.append(payload.as_bytes()).expect("appended");
        let segment = log.current_segment();
        let end = usize::try_from(log.segments[segment].offset).expect("small");
        let from = end - frame::encoded_len(payload.len());
        let to = from + 28 + payload.len();
        let bytes = files[segment].bytes()[from..to].to_vec();
        held.push(Held { number, payload: payload.into_bytes(), segment, from, to, bytes });
    }
    (held, applied)
}

/// What comes next is durable, and nothing that was there before comes back.
fn goes_on(mut log: Log<Memory>, files: [Memory; SEGMENTS], last: u64) {
    log.restart();
    assert_eq!(log.append(b"next").expect("appended"), last + 1);
    let (_, frames) = Log::open(files, EPOCH, last).expect("opens again");
    assert_eq!(frames, [Frame { number: last + 1, payload: b"next".to_vec() }]);
}

impl Damage {
    fn apply(&self, files: &[Memory; SEGMENTS], held: &[Held]) {
        let place = |block: u8| {
            let block = usize::from(block) % (SEGMENTS * SEGMENT_LEN / BLOCK_LEN);
            (block * BLOCK_LEN / SEGMENT_LEN, block * BLOCK_LEN % SEGMENT_LEN)
        };
        match self {
            Self::Frame { frame, change } => {
                let Held { segment, from, to, .. } = &held[usize::from(*frame) % held.len()];
                files[*segment].edit(|bytes| {
                    let mut changed = damaged(&bytes[*from..*to], std::slice::from_ref(change));
                    changed.resize(to - from, 0);
                    bytes[*from..*to].copy_from_slice(&changed);
                });
            }
            Self::Segment { segment, change } => files[usize::from(*segment) % SEGMENTS].edit(|bytes| {
                let mut changed = damaged(bytes, std::slice::from_ref(change));
                changed.resize(SEGMENT_LEN, 0);
                *bytes = changed;
            }),
            Self::Misplaced { from, to, blocks } => {
                let ((from_segment, from), (to_segment, to)) = (place(*from), place(*to));
                let len = (usize::from(*blocks) % 4 * BLOCK_LEN).min(SEGMENT_LEN - from).min(SEGMENT_LEN - to);
                let moved = files[from_segment].bytes()[from..from + len].to_vec();
                files[to_segment].edit(|bytes| bytes[to..to + len].copy_from_slice(&moved));
            }
            Self::Zeros { at, blocks } => {
                let (segment, at) = place(*at);
                let len = (usize::from(*blocks) % 4 * BLOCK_LEN).min(SEGMENT_LEN - at);
                files[segment].edit(|bytes| bytes[at..at + len].fill(0));
            }
        }
    }
}
