//! The release document: one binary, and on which boxes it may be installed.

use serde::{Deserialize, Serialize};

use crate::{PRODUCT, Sha256};

/// One release of the server for one kind of machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// [`PRODUCT`].
    pub product: String,
    /// As the compiler names it: `aarch64`.
    pub arch: String,
    /// Who gets it: `stable`, or what the builder chose.
    pub channel: String,
    /// That of the root by which it is signed.
    pub generation: u32,
    /// Rises with each release of a generation.
    pub seq: u64,
    /// For people.
    pub version: Version,
    /// Length of the binary, in bytes.
    pub length: u64,
    /// Hash of the binary; also the name of its slot.
    pub sha256: Sha256,
    /// Length of what is in the bundle, in bytes.
    pub packed_length: u64,
    /// Hash of what is in the bundle (one Zstandard frame, RFC 8878).
    pub packed_sha256: Sha256,
    /// The schema that it writes databases in.
    pub schema: u32,
    /// The oldest schema whose servers can read what it writes before it is confirmed.
    pub min_reader: u32,
    /// Days since 1970-01-01, UTC.
    pub issued_day: u32,
    /// The day from which people are warned that there should have been a newer one. It never blocks: a box has no clock of
    /// its own, and updates must work without the Internet.
    pub expires_day: u32,
    /// Once this release is confirmed, none below this seq is installed or gone back to.
    #[serde(default)]
    pub min_seq: u64,
    /// What is new, for people.
    #[serde(default)]
    pub notes: String,
}

/// As the release calls itself: printable ASCII without spaces, at most 64 characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(String);

impl TryFrom<String> for Version {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let fits = !text.is_empty() && text.len() <= 64 && text.bytes().all(|c| c.is_ascii_graphic());
        if fits { Ok(Self(text)) } else { Err("a version has 1 to 64 printable characters and no spaces") }
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// For how long a release is thought to be the newest, in days.
#[cfg(feature = "release")]
const FRESH_DAYS: u32 = 180;

impl Release {
    /// The release that installs this binary: for this kind of machine, stable, of the first generation and schema. Whoever makes one
    /// changes what is otherwise.
    #[cfg(feature = "release")]
    pub fn of(version: Version, seq: u64, issued_day: u32, binary: &[u8], packed: &[u8]) -> Self {
        Self {
            product: PRODUCT.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            channel: "stable".to_owned(),
            generation: 1,
            seq,
            version,
            length: binary.len() as u64,
            sha256: Sha256::of(binary),
            packed_length: packed.len() as u64,
            packed_sha256: Sha256::of(packed),
            schema: 1,
            min_reader: 1,
            issued_day,
            expires_day: issued_day + FRESH_DAYS,
            min_seq: 0,
            notes: String::new(),
        }
    }

    /// What a release says that nobody has verified: for showing it, and before signing it.
    ///
    /// # Errors
    /// When it says what none may say.
    pub fn unverified(document: &crate::SignedDocument) -> Result<Self, String> {
        Self::parse(document.unverified())
    }

    /// Reads what was verified.
    ///
    /// # Errors
    /// When it is not what a release must be, for people.
    pub(crate) fn parse(verified: &[u8]) -> Result<Self, String> {
        let release: Self = serde_json::from_slice(verified).map_err(|error| error.to_string())?;
        release.check()?;
        Ok(release)
    }

    /// Whether it says what a release may say.
    ///
    /// # Errors
    /// What it must not say.
    pub fn check(&self) -> Result<(), String> {
        if self.product != PRODUCT {
            return Err(format!("it is of the product {:?}", self.product));
        }
        if self.seq == 0 || self.generation == 0 {
            return Err("seq and generation count from 1".to_owned());
        }
        if self.min_seq > self.seq {
            return Err(format!("min_seq {} is above its own seq {}", self.min_seq, self.seq));
        }
        let (packed, unpacked) = (crate::PACKED_LEN_MAX, crate::UNPACKED_LEN_MAX);
        if self.packed_length == 0 || self.packed_length > packed || self.length == 0 || self.length > unpacked {
            return Err(format!(
                "{} bytes, packed {}, of at most {unpacked} and {packed}",
                self.length, self.packed_length
            ));
        }
        if self.min_reader > self.schema {
            return Err(format!("min_reader {} is above its own schema {}", self.min_reader, self.schema));
        }
        Ok(())
    }
}
