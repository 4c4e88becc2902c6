//! Damage to bytes that were sound: single bits and bytes, pieces that are cut, repeated or moved, and words that parsers
//! stumble over.

use arbitrary::{Arbitrary, Result, Unstructured};

use super::several;

/// Most changes of one input: few, so that most of it stays sound and gets far.
const CHANGES_MAX: usize = 4;

/// Of JSON, its numbers and texts, and of HTTP.
const WORDS: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"-1",
    b"1.5",
    b"1e999",
    b"9007199254740992",
    b"18446744073709551616",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xed\xa0\x80",
    "\u{feff}".as_bytes(),
    "\u{202e}".as_bytes(),
    b"\0",
    b"\"id\":1,",
    b"\"params\":{},",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.0",
    b"%00",
    b"/../",
];

/// One change. Places are taken modulo the length, so that each is somewhere.
#[derive(Clone, Debug, Arbitrary)]
pub enum Change {
    /// Turns a bit around.
    Flip { at: u32, bit: u8 },
    /// Writes over what is there.
    Put {
        at: u32,
        #[arbitrary(with = bytes::<16>)]
        bytes: Vec<u8>,
    },
    /// Puts bytes in between.
    Insert {
        at: u32,
        #[arbitrary(with = bytes::<16>)]
        bytes: Vec<u8>,
    },
    /// Puts one of [`WORDS`] in between.
    Word { at: u32, word: u8 },
    /// Takes bytes out.
    Remove { at: u32, len: u8 },
    /// Says a piece again and again.
    Repeat { at: u32, len: u8, times: u16 },
    /// Writes a piece of it somewhere else, over what is there.
    Move { from: u32, to: u32, len: u16 },
    /// Ends it early.
    Cut { at: u32 },
}

/// Bytes, at most so many.
pub fn bytes<const MOST: usize>(random: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; random.int_in_range(0..=MOST)?];
    random.fill_buffer(&mut bytes)?;
    Ok(bytes)
}

/// Some changes, at least one.
pub fn changes(random: &mut Unstructured<'_>) -> Result<Vec<Change>> {
    several(random, 1..=CHANGES_MAX)
}

/// `sound` with these changes.
pub fn damaged(sound: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    changes.iter().for_each(|change| change.apply(&mut bytes));
    bytes
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |at: u32| at as usize % (bytes.len() + 1);
        let piece = |at: u32, len: usize| place(at)..(place(at) + len).min(bytes.len());
        match self {
            Self::Flip { at, bit } => {
                let at = *at as usize % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Self::Put { at, bytes: new } => {
                let range = piece(*at, new.len());
                let len = range.len();
                bytes[range].copy_from_slice(&new[..len]);
            }
            Self::Insert { at, bytes: new } => {
                let at = place(*at);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Word { at, word } => {
                let at = place(*at);
                bytes.splice(at..at, WORDS[usize::from(*word) % WORDS.len()].iter().copied());
            }
            Self::Remove { at, len } => drop(bytes.drain(piece(*at, usize::from(*len)))),
            Self::Repeat { at, len, times } => {
                let range = piece(*at, usize::from(*len) % 16);
                let again = bytes[range.clone()].repeat(usize::from(*times));
                bytes.splice(range.end..range.end, again);
            }
            Self::Move { from, to, len } => {
                let moved = bytes[piece(*from, usize::from(*len))].to_vec();
                let to = piece(*to, moved.len());
                let len = to.len();
                bytes[to].copy_from_slice(&moved[..len]);
            }
            Self::Cut { at } => bytes.truncate(place(*at)),
        }
    }
}
