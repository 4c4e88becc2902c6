//! Text files as PCs write them: UTF-8 with or without its mark, or UTF-16, which older editors of Windows write.

use std::ops::Range;

use thiserror::Error;

/// A file's text, which knows where in the file each part of it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The text, without a byte order mark.
    pub content: String,
    encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// With as many bytes in front as the mark has.
    Utf8 {
        mark: usize,
    },
    Utf16 {
        is_big: bool,
    },
}

/// Bytes that are no text.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum TextError {
    /// From this line on.
    #[error("line {0} is not text in UTF-8: save the file with this encoding")]
    NotUtf8(usize),
    /// In spite of its mark.
    #[error("it begins like UTF-16, but is not: save it with the encoding UTF-8")]
    NotUtf16,
    /// Zeros in what should be text.
    #[error("it is not a text file")]
    Binary,
}

impl Text {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// They are no text.
    pub fn read(bytes: &[u8]) -> Result<Self, TextError> {
        let (content, encoding) = match bytes {
            [0xff, 0xfe, rest @ ..] => (utf16(rest, u16::from_le_bytes)?, Encoding::Utf16 { is_big: false }),
            [0xfe, 0xff, rest @ ..] => (utf16(rest, u16::from_be_bytes)?, Encoding::Utf16 { is_big: true }),
            [0xef, 0xbb, 0xbf, rest @ ..] => (utf8(rest)?, Encoding::Utf8 { mark: 3 }),
            _ => (utf8(bytes)?, Encoding::Utf8 { mark: 0 }),
        };
        if content.contains('\0') {
            return Err(TextError::Binary);
        }
        Ok(Self { content, encoding })
    }

    /// Where in the file a part of the text stands.
    pub fn place(&self, part: &Range<usize>) -> Range<usize> {
        match self.encoding {
            Encoding::Utf8 { mark } => part.start + mark..part.end + mark,
            Encoding::Utf16 { .. } => {
                let units = |end: usize| self.content[..end].encode_utf16().count();
                2 + 2 * units(part.start)..2 + 2 * units(part.end)
            }
        }
    }

    /// The bytes for as many of `filler` as a place in the file has room for.
    pub fn fill(&self, place: &Range<usize>, filler: u8) -> Vec<u8> {
        let unit: &[u8] = match self.encoding {
            Encoding::Utf8 { .. } => &[filler],
            Encoding::Utf16 { is_big: false } => &[filler, 0],
            Encoding::Utf16 { is_big: true } => &[0, filler],
        };
        unit.iter().copied().cycle().take(place.len()).collect()
    }
}

fn utf8(bytes: &[u8]) -> Result<String, TextError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) if bytes.contains(&0) => Err(TextError::Binary),
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            Err(TextError::NotUtf8(1 + before.iter().filter(|byte| **byte == b'\n').count()))
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, TextError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let text = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect::<Result<String, _>>();
    text.ok().filter(|_| rest.is_empty()).ok_or(TextError::NotUtf16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16_of(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn each_encoding_of_a_pc_gives_the_same_text_and_knows_its_places() {
        let text = "site = \"驿站😀\"\r\nkey = \"secret\"\r\n";
        let part = text.find("secret").expect("there")..text.find("secret").expect("there") + 6;
        let little = utf16_of(text, u16::to_le_bytes);
        let big = utf16_of(text, u16::to_be_bytes);
        let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        for bytes in [text.as_bytes().to_vec(), marked, little, big] {
            let read = Text::read(&bytes).expect("text");
            assert_eq!(read.content, text);
            let place = read.place(&part);
            let mut changed = bytes.clone();
            changed[place.clone()].copy_from_slice(&read.fill(&place, b'*'));
            let changed = Text::read(&changed).expect("still text");
            assert_eq!(changed.content, text.replace("secret", "******"));
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(Text::read(b"a\nb\xff"), Err(TextError::NotUtf8(2)));
        assert_eq!(Text::read(b"a\0\xff"), Err(TextError::Binary));
        assert_eq!(Text::read(b"a\0b"), Err(TextError::Binary));
        assert_eq!(Text::read(b"\xff\xfea"), Err(TextError::NotUtf16));
        assert_eq!(Text::read(b"\xff\xfe\x00\xd8"), Err(TextError::NotUtf16));
    }
}
