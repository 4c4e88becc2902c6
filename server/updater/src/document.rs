//! A signed document: bytes, and who has signed them.
//!
//! What is signed is a kind, a length and the exact bytes; nothing is parsed before enough of the right keys have signed it.

use serde::{Deserialize, Serialize};

use crate::{KeyId, PublicKey, Sha256};

/// Longest content, in bytes: a root of eight keys or a release with its notes takes a few thousand.
pub const DOCUMENT_LEN_MAX: usize = 64 * 1024;

/// Most signatures on a document.
pub const SIGNATURES_MAX: usize = 16;

/// What stands before each signed content, so that a signature here is of no use elsewhere.
const CONTEXT: &[u8] = b"posthouse update v1\0";

/// What a document is; a signature on one kind is none on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Whose keys count.
    Root = 1,
    /// One release.
    Release = 2,
}

/// One signature, by a key that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSignature {
    /// Whose it is said to be.
    pub key: KeyId,
    /// Ed25519, over what [`SignedDocument::message`] gives.
    pub signature: [u8; 64],
}

/// Bytes and signatures, not verified. In a bundle they are [`SignedDocument::encode`]'s bytes; as a file of their own they are
/// JSON, with the content as a string to the byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "DocumentFile", into = "DocumentFile")]
pub struct SignedDocument {
    content: Vec<u8>,
    signatures: Vec<DocumentSignature>,
}

#[derive(Serialize, Deserialize)]
struct DocumentFile {
    signed: String,
    signatures: Vec<SignatureFile>,
}

#[derive(Serialize, Deserialize)]
struct SignatureFile {
    key: KeyId,
    signature: [Sha256Text; 2],
}

/// 32 bytes as hexadecimal digits, as a hash is written.
type Sha256Text = Sha256;

impl TryFrom<DocumentFile> for SignedDocument {
    type Error = DocumentError;

    fn try_from(file: DocumentFile) -> Result<Self, DocumentError> {
        let mut document = Self::new(file.signed.into_bytes())?;
        for SignatureFile { key, signature: [first, second] } in file.signatures {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(first.as_bytes());
            signature[32..].copy_from_slice(second.as_bytes());
            document.add(DocumentSignature { key, signature })?;
        }
        Ok(document)
    }
}

impl From<SignedDocument> for DocumentFile {
    fn from(document: SignedDocument) -> Self {
        let halves = |signature: &[u8; 64]| {
            let (first, second) = signature.split_at(32);
            [first, second].map(|half| Sha256::from_bytes(half.try_into().expect("half of 64 bytes")))
        };
        let signatures = document.signatures.iter();
        Self {
            signed: String::from_utf8_lossy(&document.content).into_owned(),
            signatures: signatures
                .map(|one| SignatureFile { key: one.key, signature: halves(&one.signature) })
                .collect(),
        }
    }
}

/// Why a document is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not enough of the keys that count.
    #[error("{valid} of {threshold} needed keys have signed it")]
    Threshold {
        /// Different keys that count and have signed.
        valid: usize,
        /// How many it takes.
        threshold: usize,
    },
    /// The bytes end early.
    #[error("it ends in the middle of a signed document")]
    Truncated,
    /// More than a document may have.
    #[error("a signed document says that it has {len} {what}, of at most {max}")]
    TooLarge {
        /// Bytes or signatures.
        what: &'static str,
        /// How many are said to be there.
        len: usize,
        /// How many may be.
        max: usize,
    },
}

impl SignedDocument {
    /// Without signatures.
    ///
    /// # Errors
    /// When it is too long.
    pub fn new(content: Vec<u8>) -> Result<Self, DocumentError> {
        at_most("bytes", content.len(), DOCUMENT_LEN_MAX)?;
        Ok(Self { content, signatures: Vec::new() })
    }

    /// The bytes, which nobody may have signed: for showing them, and for signing.
    pub fn unverified(&self) -> &[u8] {
        &self.content
    }

    /// Who is said to have signed.
    pub fn signatures(&self) -> &[DocumentSignature] {
        &self.signatures
    }

    /// The bytes, if as many different of these keys as it takes have signed them.
    ///
    /// # Errors
    /// When too few have.
    pub fn verified(&self, kind: Kind, keys: &[PublicKey], threshold: usize) -> Result<&[u8], DocumentError> {
        let valid = self.signers(kind, keys).len();
        if threshold == 0 || valid < threshold {
            return Err(DocumentError::Threshold { valid, threshold: threshold.max(1) });
        }
        Ok(&self.content)
    }

    /// Which of these keys have signed, each once, however often it stands among the keys or the signatures.
    pub fn signers(&self, kind: Kind, keys: &[PublicKey]) -> Vec<PublicKey> {
        let message = Self::message(kind, &self.content);
        let mut signers: Vec<PublicKey> = Vec::new();
        for key in keys {
            let id = key.id();
            let has_signed = || {
                let of_key = |one: &&DocumentSignature| one.key == id;
                self.signatures.iter().filter(of_key).any(|one| key.has_signed(&message, &one.signature))
            };
            if !signers.contains(key) && has_signed() {
                signers.push(*key);
            }
        }
        signers
    }

    /// What is signed: context, kind, length, content.
    fn message(kind: Kind, content: &[u8]) -> Vec<u8> {
        [CONTEXT, &[kind as u8], &(content.len() as u64).to_le_bytes(), content].concat()
    }

    /// Adds a signature; one by the same key is replaced.
    ///
    /// # Errors
    /// When there are too many.
    #[cfg(feature = "release")]
    pub fn sign(&mut self, kind: Kind, key: &crate::SecretKey) -> Result<(), DocumentError> {
        let (id, signature) = (key.public().id(), key.sign(&Self::message(kind, &self.content)));
        self.add(DocumentSignature { key: id, signature })
    }

    /// Adds a signature that was made elsewhere; one by the same key is replaced.
    ///
    /// # Errors
    /// When there are too many.
    pub fn add(&mut self, signature: DocumentSignature) -> Result<(), DocumentError> {
        self.signatures.retain(|one| one.key != signature.key);
        at_most("signatures", self.signatures.len() + 1, SIGNATURES_MAX)?;
        self.signatures.push(signature);
        Ok(())
    }

    /// As it stands in files: length (u32, little-endian), content, number of signatures (u8), each as key and signature.
    pub fn encode(&self) -> Vec<u8> {
        let len = u32::try_from(self.content.len()).expect("checked when it was made");
        let count = u8::try_from(self.signatures.len()).expect("checked when they were added");
        let mut bytes = [&len.to_le_bytes()[..], &self.content, &[count]].concat();
        for one in &self.signatures {
            bytes.extend_from_slice(one.key.as_bytes());
            bytes.extend_from_slice(&one.signature);
        }
        bytes
    }

    /// Reads what [`SignedDocument::encode`] wrote; gives what comes after it.
    ///
    /// # Errors
    /// When it is cut off, or larger than a document may be.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), DocumentError> {
        let (len, rest) = bytes.split_first_chunk::<4>().ok_or(DocumentError::Truncated)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
        at_most("bytes", len, DOCUMENT_LEN_MAX)?;
        let (content, rest) = rest.split_at_checked(len).ok_or(DocumentError::Truncated)?;
        let (count, mut rest) = rest.split_first().ok_or(DocumentError::Truncated)?;
        at_most("signatures", usize::from(*count), SIGNATURES_MAX)?;
        let mut signatures = Vec::new();
        for _ in 0..*count {
            let (key, after) = rest.split_first_chunk::<32>().ok_or(DocumentError::Truncated)?;
            let (signature, after) = after.split_first_chunk::<64>().ok_or(DocumentError::Truncated)?;
            signatures.push(DocumentSignature { key: Sha256::from_bytes(*key), signature: *signature });
            rest = after;
        }
        Ok((Self { content: content.to_vec(), signatures }, rest))
    }
}

fn at_most(what: &'static str, len: usize, max: usize) -> Result<(), DocumentError> {
    if len > max { Err(DocumentError::TooLarge { what, len, max }) } else { Ok(()) }
}
