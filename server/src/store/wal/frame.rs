//! The log's unit: one group of entries with the proof that it is whole.
//!
//! ```text
//!  0  4  magic "PHW1"
//!  4  4  CRC-32 (IEEE) of all that follows, without the padding; little-endian, as every number here
//!  8  8  epoch of the database that the frame belongs to
//! 16  8  number: 1, 2, 3 … for the life of the database, never used twice
//! 24  4  length of the payload in bytes
//! 28  n  payload
//!        zeros up to the next block
//! ```
//!
//! A frame begins a block and shares none with another: writing it can't damage, by a torn block, what
//! was acknowledged before. Numbers do for recycled space what a generation does: a frame left from the
//! last round has a number that is long applied.
//!
//! Blocks inside an old frame that was partly written over are looked at as if a frame might begin there.
//! None can: a header has zero bytes (an epoch is below 2^53), and nothing that a client chooses has any in
//! a payload. JSON escapes them, and user names and `client_msg_id` can't hold control characters.

use posthouse_protocol::Epoch;

/// What storage writes at once at best: the page of ext4 and of SD cards' controllers.
pub const BLOCK_LEN: usize = 4096;

/// Longest payload: a group is cut before it. Two of the longest messages fit many times.
pub const PAYLOAD_LEN_MAX: usize = 1024 * 1024;

/// Begins every frame.
pub const MAGIC: &[u8; 4] = b"PHW1";
const HEADER_LEN: usize = 28;

/// A group as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number.
    pub number: u64,
    /// Its entries, encoded.
    pub payload: Vec<u8>,
}

/// Writes a frame with its padding into `bytes`, which are as many as [`encoded_len`] says.
pub fn encode(bytes: &mut [u8], epoch: Epoch, number: u64, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("the writer cuts groups at PAYLOAD_LEN_MAX");
    let (header, rest) = bytes.split_at_mut(HEADER_LEN);
    header[..4].copy_from_slice(MAGIC);
    header[8..16].copy_from_slice(&epoch.0.to_le_bytes());
    header[16..24].copy_from_slice(&number.to_le_bytes());
    header[24..].copy_from_slice(&length.to_le_bytes());
    let (content, padding) = rest.split_at_mut(payload.len());
    content.copy_from_slice(payload);
    padding.fill(0);
    let checksum = crc32fast::hash(&bytes[8..HEADER_LEN + payload.len()]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// How many bytes a frame with this payload takes.
pub const fn encoded_len(payload_len: usize) -> usize {
    (HEADER_LEN + payload_len).next_multiple_of(BLOCK_LEN)
}

/// Reads the frame at the beginning of `bytes`, if a whole one of this database is there.
pub fn decode(bytes: &[u8], epoch: Epoch) -> Option<Frame> {
    let header = bytes.get(..HEADER_LEN)?;
    let u64_at = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    let u32_at = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if &header[..4] != MAGIC || u64_at(8) != epoch.0 {
        return None;
    }
    let length = usize::try_from(u32_at(24)).ok()?;
    let whole = bytes.get(..HEADER_LEN.checked_add(length)?)?;
    if crc32fast::hash(&whole[8..]) != u32_at(4) {
        return None;
    }
    Some(Frame { number: u64_at(16), payload: whole[HEADER_LEN..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn encoded(number: u64, payload: &[u8]) -> Vec<u8> {
        // Of the last frame there may be anything.
        let mut bytes = vec![0xaa; encoded_len(payload.len())];
        encode(&mut bytes, EPOCH, number, payload);
        bytes
    }

    #[test]
    fn a_frame_comes_back_and_fills_whole_blocks() {
        for length in [0, 1, BLOCK_LEN - HEADER_LEN, BLOCK_LEN - HEADER_LEN + 1, 3 * BLOCK_LEN] {
            let payload = vec![0x5a; length];
            let bytes = encoded(3, &payload);
            assert_eq!(bytes.len() % BLOCK_LEN, 0);
            assert!(bytes[HEADER_LEN + length..].iter().all(|byte| *byte == 0), "padding of {length}");
            assert_eq!(decode(&bytes, EPOCH), Some(Frame { number: 3, payload }));
        }
    }

    #[test]
    fn a_changed_byte_or_a_cut_is_noticed() {
        let bytes = encoded(3, b"hello");
        for at in 0..HEADER_LEN + 5 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&damaged, EPOCH), None, "byte {at}");
            assert_eq!(decode(&bytes[..at], EPOCH), None, "cut at {at}");
        }
    }

    #[test]
    fn a_frame_of_another_database_is_none() {
        assert_eq!(decode(&encoded(3, b"hello"), Epoch(8)), None);
    }
}
