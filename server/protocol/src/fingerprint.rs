//! The identity of a box: a hash of its certificate authority's public key.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Bytes of a SHA-256.
const LEN: usize = 32;

/// SHA-256 over the SubjectPublicKeyInfo (RFC 5280, §4.1, DER) of the box's certificate authority: what clients pin (RFC 7469,
/// §2.4) and people compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; LEN]);

impl Fingerprint {
    /// From the hash.
    pub fn from_sha256(hash: [u8; LEN]) -> Self {
        Self(hash)
    }

    /// The hash.
    pub fn as_bytes(&self) -> &[u8; LEN] {
        &self.0
    }

    /// The first 16 digits: enough to tell boxes apart, not to trust one.
    pub fn short(&self) -> String {
        self.digits().into_iter().take(16).collect()
    }

    fn digits(&self) -> Vec<char> {
        let digit = |half: u8| char::from_digit(u32::from(half), 16).expect("half a byte is one digit");
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).collect()
    }
}

/// Groups of four digits, as people compare them.
impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let groups: Vec<String> = self.digits().chunks(4).map(|group| group.iter().collect()).collect();
        f.write_str(&groups.join(" "))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({})", self.short())
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Takes it in groups or not, with spaces, colons or hyphens between, in either case.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let is_between = |c: &char| c.is_whitespace() || *c == ':' || *c == '-';
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| !is_between(c))
            .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.filter(|digits| digits.len() == 2 * LEN).ok_or(FingerprintError)?;
        let mut hash = [0; LEN];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(hash))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.digits().into_iter().collect()
    }
}

/// The text is no fingerprint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 64 hexadecimal digits")]
pub struct FingerprintError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_shown() {
        let hash: [u8; LEN] = std::array::from_fn(|i| u8::try_from(i * 7).expect("below 256"));
        let fingerprint = Fingerprint::from_sha256(hash);
        let shown = fingerprint.to_string();
        assert_eq!(&shown[..14], "0007 0e15 1c23");
        for text in [shown.clone(), shown.replace(' ', ":").to_uppercase(), String::from(fingerprint)] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        assert_eq!(fingerprint.short(), "00070e151c232a31");
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        for text in ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
        }
    }
}
