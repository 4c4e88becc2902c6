//! What a bundle says before its binary: enough to show what it is and whether it is newer. Nothing of it is verified here; the
//! updater does that.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

use posthouse_protocol::update::RatchetInfo;
use posthouse_updater::{Bundle, BundleError, DocumentError, Release, Sha256};

/// The least that is asked for to read it, in bytes: the head of a bundle with three signatures has some 2,000.
pub const LEN_LIKELY: u64 = 64 * 1024;

/// The most that stands before a binary, in bytes: 33 documents of the longest kind.
pub const LEN_MAX: u64 = 33 * 68 * 1024;

/// It.
#[derive(Clone, Debug)]
pub struct Head {
    /// What is said of the binary.
    pub release: Release,
    /// Where the binary begins, in bytes.
    pub len: u64,
}

impl Head {
    /// Of a file's first bytes; nothing where there are too few of them.
    ///
    /// # Errors
    /// Where it is no bundle, for people.
    pub fn read(first: &[u8]) -> Result<Option<Self>, String> {
        let mut from = Cursor::new(first);
        match Bundle::read(&mut from) {
            Ok(bundle) => Self::of(&bundle, from.position()).map(Some),
            Err(BundleError::Document(DocumentError::Truncated)) if (first.len() as u64) < LEN_MAX => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Of a file that is whole.
    ///
    /// # Errors
    /// Where it is no bundle or not as long as it says, for people.
    pub fn of_file(path: &Path, len: u64) -> Result<Self, String> {
        let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
        let bundle = Bundle::read(&mut file).map_err(|error| error.to_string())?;
        let head = Self::of(&bundle, file.stream_position().map_err(|error| error.to_string())?)?;
        head.check_len(len)?;
        Ok(head)
    }

    fn of(bundle: &Bundle, len: u64) -> Result<Self, String> {
        Ok(Self { release: Release::unverified(bundle.release())?, len })
    }

    /// How long the whole file is.
    pub fn file_len(&self) -> u64 {
        self.len + self.release.packed_length
    }

    /// Whether a file is as long as it says.
    ///
    /// # Errors
    /// Where it is not, for people.
    pub fn check_len(&self, len: u64) -> Result<(), String> {
        let signed = self.file_len();
        if len == signed { Ok(()) } else { Err(format!("the bundle has {len} bytes, and says that it has {signed}")) }
    }

    /// Whether the binary behind it is the one that it says.
    ///
    /// # Errors
    /// Where it is another one, for people.
    pub fn check_binary(&self, path: &Path) -> Result<(), String> {
        let mut file = File::open(path).map_err(|error| error.to_string())?;
        file.seek(std::io::SeekFrom::Start(self.len)).map_err(|error| error.to_string())?;
        self.release.check_packed(file.by_ref()).map_err(|error| error.to_string())
    }

    /// Names the very release.
    pub fn identity(&self) -> Sha256 {
        self.release.packed_sha256
    }

    /// Whether it is for this machine.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn check_purpose(&self, channel: &str) -> Result<(), String> {
        let ours = [("arch", std::env::consts::ARCH, &self.release.arch), ("channel", channel, &self.release.channel)];
        match ours.into_iter().find(|(_, ours, theirs)| ours != theirs) {
            None => Ok(()),
            Some((what, ours, theirs)) => Err(format!("it is for {what} {theirs:?}, and this box is for {ours:?}")),
        }
    }
}

/// Whether a release would take a box on that has come this far.
pub fn is_newer(generation: u32, seq: u64, ratchet: RatchetInfo) -> bool {
    generation > ratchet.generation || (generation == ratchet.generation && seq > ratchet.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_counts_before_a_number() {
        let ratchet = RatchetInfo { generation: 2, seq: 7, min_seq: 0 };
        for (generation, seq, newer) in [(2, 8, true), (2, 7, false), (1, 99, false), (3, 1, true)] {
            assert_eq!(is_newer(generation, seq, ratchet), newer, "{generation}.{seq}");
        }
    }

    #[test]
    fn what_is_no_bundle_is_told_from_what_is_cut_off() {
        assert!(Head::read(b"PHB1\r\n\x1a\n\x01").expect("a beginning").is_none());
        assert!(Head::read(b"").expect("a beginning").is_none());
        assert!(Head::read(b"<html>not found</html>").is_err());
        assert!(Head::read(b"PHB1\r\n\x1a\n\xff").is_err(), "too many roots");
    }
}
