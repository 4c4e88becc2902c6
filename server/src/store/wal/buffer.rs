//! Memory that begins where a block may: what lies there can go to the disk as it is.

use super::frame::BLOCK_LEN;

/// So many bytes at most, of which only those that were used take memory.
pub struct Buffer {
    bytes: Vec<u8>,
    begin: usize,
}

impl Buffer {
    /// With room for `len` bytes.
    pub fn new(len: usize) -> Self {
        let bytes = vec![0; len + BLOCK_LEN];
        let begin = bytes.as_ptr().align_offset(BLOCK_LEN);
        Self { bytes, begin }
    }

    /// The first `len` bytes, with what they held before.
    pub fn first(&mut self, len: usize) -> &mut [u8] {
        &mut self.bytes[self.begin..][..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_where_a_block_may_and_has_room_for_all() {
        for len in [1, BLOCK_LEN, 3 * BLOCK_LEN + 1] {
            let mut buffer = Buffer::new(len);
            assert_eq!(buffer.first(len).as_ptr() as usize % BLOCK_LEN, 0);
            buffer.first(len).fill(7);
            assert_eq!(buffer.first(len), vec![7; len]);
        }
    }
}
