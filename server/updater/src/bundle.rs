//! A bundle (`.phb`): roots, a release, and the release's binary, in one file.
//!
//! ```text
//! magic (8) │ number of roots (u8) │ each root │ release │ packed binary, to the end of the file
//! ```
//! Roots and release are signed documents. The file ends where the release says that the packed binary ends; a byte more or
//! less, and it is refused.

use std::io::{self, Read, Write};

use crate::document::{DOCUMENT_LEN_MAX, DocumentError, SIGNATURES_MAX, SignedDocument};
use crate::sha256::Hashing;
use crate::{Release, Sha256};

/// Most roots in a bundle: a box that has missed so many needs a new image.
pub const ROOTS_MAX: usize = 32;

/// Longest packed binary, in bytes: ten times what it is now.
pub const PACKED_LEN_MAX: u64 = 64 * 1024 * 1024;

/// Longest binary, in bytes.
pub const UNPACKED_LEN_MAX: u64 = 256 * 1024 * 1024;

/// As PNG has it (ISO/IEC 15948, §5.2): shows a transfer that touched line ends, and is no text.
const MAGIC: &[u8; 8] = b"PHB1\r\n\x1a\n";

/// How much a reader has to look back, in bytes: what a box has memory for.
const WINDOW_LEN_MAX: u64 = 8 * 1024 * 1024;

/// The most that can stand before the packed binary, in bytes.
const HEAD_LEN_MAX: usize = MAGIC.len() + 1 + (ROOTS_MAX + 1) * (4 + DOCUMENT_LEN_MAX + 1 + SIGNATURES_MAX * (32 + 64));

/// What a bundle says before its binary; nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    roots: Vec<SignedDocument>,
    release: SignedDocument,
}

/// Why a file is no bundle, or not the one that was signed.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Another file.
    #[error("this is no Posthouse update (a .phb file)")]
    NotABundle,
    /// More roots than are read.
    #[error("it has {0} roots, of at most {ROOTS_MAX}")]
    Roots(usize),
    /// A document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Cut off, or longer than signed.
    #[error("its binary has {found} bytes or more, and {signed} were signed")]
    Length {
        /// Bytes found, as far as it was read.
        found: u64,
        /// Bytes signed.
        signed: u64,
    },
    /// Not what was signed.
    #[error("its {what} is not the one that was signed: SHA-256 {found}")]
    Hash {
        /// Packed or unpacked binary.
        what: &'static str,
        /// Of what is there.
        found: Sha256,
    },
    /// Not in the form that is agreed upon.
    #[error("its binary can't be unpacked: {0}")]
    Packing(String),
    /// The file or the card.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Bundle {
    /// The roots, in their order, and the release.
    pub fn new(roots: Vec<SignedDocument>, release: SignedDocument) -> Result<Self, BundleError> {
        if roots.len() > ROOTS_MAX { Err(BundleError::Roots(roots.len())) } else { Ok(Self { roots, release }) }
    }

    /// The whole file of a release that these keys have signed.
    ///
    /// # Errors
    /// When it has too much of something.
    #[cfg(feature = "release")]
    pub fn file(
        roots: Vec<SignedDocument>,
        release: &Release,
        packed: &[u8],
        keys: &[crate::SecretKey],
    ) -> Result<Vec<u8>, BundleError> {
        let content = serde_json::to_vec(release).expect("a release has string keys");
        let mut document = SignedDocument::new(content)?;
        keys.iter().try_for_each(|key| document.sign(crate::Kind::Release, key))?;
        let mut bytes = Vec::new();
        Self::new(roots, document)?.write(&mut bytes)?;
        bytes.extend_from_slice(packed);
        Ok(bytes)
    }

    /// Reads what stands before the binary, and leaves the reader right there.
    ///
    /// # Errors
    /// When it is no bundle, or can't be read.
    pub fn read(file: &mut impl Read) -> Result<Self, BundleError> {
        let mut file = Bounded { file, left: HEAD_LEN_MAX };
        if file.array::<8>()? != *MAGIC {
            return Err(BundleError::NotABundle);
        }
        let count = usize::from(file.array::<1>()?[0]);
        if count > ROOTS_MAX {
            return Err(BundleError::Roots(count));
        }
        let mut roots = Vec::new();
        for _ in 0..count {
            roots.push(file.document()?);
        }
        Ok(Self { roots, release: file.document()? })
    }

    /// The roots that lead from older ones to that of the release.
    pub fn roots(&self) -> &[SignedDocument] {
        &self.roots
    }

    /// The release.
    pub fn release(&self) -> &SignedDocument {
        &self.release
    }

    /// The release, for signing it.
    #[cfg(feature = "release")]
    pub fn release_mut(&mut self) -> &mut SignedDocument {
        &mut self.release
    }

    /// Writes what stands before the binary.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&self, file: &mut impl Write) -> io::Result<()> {
        file.write_all(MAGIC)?;
        file.write_all(&[u8::try_from(self.roots.len()).expect("checked when it was made")])?;
        for document in self.roots.iter().chain([&self.release]) {
            file.write_all(&document.encode())?;
        }
        Ok(())
    }
}

impl Release {
    /// Compares the rest of a bundle, from right behind [`Bundle::read`] to its end, with what was signed. Reads one byte more
    /// than that at most.
    ///
    /// # Errors
    /// When it is not the same, to the byte.
    pub fn check_packed(&self, rest: impl Read) -> Result<(), BundleError> {
        let mut hashing = Hashing::new(rest.take(self.packed_length.saturating_add(1)));
        io::copy(&mut hashing, &mut io::sink())?;
        let (found, hash) = hashing.finish();
        if found != self.packed_length {
            return Err(BundleError::Length { found, signed: self.packed_length });
        }
        if hash == self.packed_sha256 { Ok(()) } else { Err(BundleError::Hash { what: "packed binary", found: hash }) }
    }

    /// Unpacks the binary, of which [`Release::check_packed`] has seen the same bytes, and compares it with what was signed.
    ///
    /// # Errors
    /// When it is not that, or can't be written. What was written then is of no use.
    pub fn unpack(&self, packed: impl Read, binary: &mut impl Write) -> Result<(), BundleError> {
        let refused = |error: &dyn std::fmt::Display| BundleError::Packing(error.to_string());
        let packed = packed.take(self.packed_length);
        let unpacked = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, WINDOW_LEN_MAX)
            .map_err(|error| refused(&error))?;
        let mut unpacked = unpacked.take(self.length.saturating_add(1));
        let mut hashing = Hashing::new(binary);
        let mut piece = vec![0; 64 * 1024];
        loop {
            // An error here is the packing's, one there the card's.
            let read = unpacked.read(&mut piece).map_err(|error| refused(&error))?;
            if read == 0 {
                break;
            }
            hashing.write_all(&piece[..read])?;
        }
        let (found, hash) = hashing.finish();
        if found != self.length {
            return Err(BundleError::Length { found, signed: self.length });
        }
        if hash == self.sha256 { Ok(()) } else { Err(BundleError::Hash { what: "binary", found: hash }) }
    }
}

/// Packs a binary as [`Release::unpack`] wants it.
///
/// # Errors
/// When the packer has no memory.
#[cfg(feature = "release")]
pub fn pack(binary: &[u8]) -> io::Result<Vec<u8>> {
    use zstd::stream::raw::CParameter;
    // Level 19 looks back over 8 MiB for a file of this length, which is as far as a reader goes.
    let mut encoder = zstd::Encoder::new(Vec::new(), 19)?;
    encoder.set_parameter(CParameter::WindowLog(23))?;
    encoder.set_pledged_src_size(Some(binary.len() as u64))?;
    encoder.include_contentsize(true)?;
    encoder.write_all(binary)?;
    encoder.finish()
}

/// Reads so much and no more.
struct Bounded<'a, R> {
    file: &'a mut R,
    left: usize,
}

impl<R: Read> Bounded<'_, R> {
    fn exactly(&mut self, len: usize) -> Result<Vec<u8>, BundleError> {
        self.left = self.left.checked_sub(len).ok_or(DocumentError::Truncated)?;
        let mut bytes = vec![0; len];
        self.file.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BundleError::Document(DocumentError::Truncated),
            _ => BundleError::Io(error),
        })?;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        Ok(self.exactly(N)?.try_into().expect("exactly so many were read"))
    }

    fn document(&mut self) -> Result<SignedDocument, BundleError> {
        let mut bytes = self.exactly(4)?;
        let len = usize::try_from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).unwrap_or(usize::MAX);
        // Refused before memory is taken for it.
        if len > DOCUMENT_LEN_MAX {
            return Err(DocumentError::TooLarge { what: "bytes", len, max: DOCUMENT_LEN_MAX }.into());
        }
        bytes.extend(self.exactly(len + 1)?);
        let signatures = usize::from(bytes[4 + len]);
        if signatures > SIGNATURES_MAX {
            return Err(DocumentError::TooLarge { what: "signatures", len: signatures, max: SIGNATURES_MAX }.into());
        }
        bytes.extend(self.exactly(signatures * (32 + 64))?);
        Ok(SignedDocument::decode(&bytes)?.0)
    }
}
