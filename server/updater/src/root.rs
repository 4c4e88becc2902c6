//! The root document: whose keys count.

use serde::{Deserialize, Serialize};

use crate::document::{DocumentError, Kind, SIGNATURES_MAX, SignedDocument};
use crate::{PRODUCT, PublicKey};

/// Who may sign releases, and the next root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// [`PRODUCT`].
    pub product: String,
    /// Rises by one with each root.
    pub version: u32,
    /// Rises when releases are to be counted from the beginning again, after keys were lost or stolen.
    pub generation: u32,
    /// How many different keys must sign.
    pub threshold: usize,
    /// The keys.
    pub keys: Vec<RootKey>,
    /// Whether these keys are for trying things out: a release image does not take them, and a box not after others.
    #[serde(default)]
    pub test: bool,
}

/// A key, and for people whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootKey {
    /// Whose it is.
    pub name: String,
    /// The key, as 64 hexadecimal digits.
    pub public_key: PublicKey,
}

/// Why a root is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Too few have signed.
    #[error("root {version} is not trusted by {by}: {source}")]
    Untrusted {
        /// The version that was looked for.
        version: u32,
        /// The root whose keys did not sign it.
        by: &'static str,
        /// What was missing.
        source: DocumentError,
    },
    /// Signed, and not what it must be.
    #[error("a root says what none may say: {0}")]
    Content(String),
    /// The next one is missing.
    #[error("root {found} comes after root {trusted}: the roots between them are missing")]
    Gap {
        /// The version that is trusted.
        trusted: u32,
        /// The version found.
        found: u32,
    },
}

impl Root {
    /// The first root of a box, which came with its image: trusted because it is there, but it must be whole.
    ///
    /// # Errors
    /// When it is not signed by its own keys, or says what none may say.
    pub fn of_image(document: &SignedDocument) -> Result<Self, RootError> {
        let root = Self::parse(document.unverified())?;
        root.trusts(document, root.version, "its own keys")?;
        Ok(root)
    }

    /// The root that comes right after this one: signed by enough of the keys of both.
    ///
    /// # Errors
    /// When it is not.
    pub fn next(&self, document: &SignedDocument) -> Result<Self, RootError> {
        let version = self.version.saturating_add(1);
        self.trusts(document, version, "the root before it")?;
        let next = Self::parse(document.unverified())?;
        if next.version != version {
            return Err(RootError::Gap { trusted: self.version, found: next.version });
        }
        next.trusts(document, version, "its own keys")?;
        if next.test && !self.test {
            return Err(RootError::Content("it has keys for trying things out, after keys that are not".to_owned()));
        }
        if next.generation < self.generation {
            return Err(RootError::Content(format!("generation {} after {}", next.generation, self.generation)));
        }
        Ok(next)
    }

    /// Whose keys they are.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        self.keys.iter().map(|key| key.public_key).collect()
    }

    fn trusts(&self, document: &SignedDocument, version: u32, by: &'static str) -> Result<(), RootError> {
        let untrusted = |source| RootError::Untrusted { version, by, source };
        document.verified(Kind::Root, &self.public_keys(), self.threshold).map_err(untrusted).map(drop)
    }

    /// What a root says that nobody has verified: for showing it, and before signing it.
    ///
    /// # Errors
    /// When it says what none may say.
    pub fn unverified(document: &SignedDocument) -> Result<Self, RootError> {
        Self::parse(document.unverified())
    }

    fn parse(content: &[u8]) -> Result<Self, RootError> {
        let root: Self = serde_json::from_slice(content).map_err(|error| RootError::Content(error.to_string()))?;
        root.check().map_err(RootError::Content)?;
        Ok(root)
    }

    /// Whether it says what a root may say.
    ///
    /// # Errors
    /// What it must not say.
    pub fn check(&self) -> Result<(), String> {
        if self.product != PRODUCT {
            return Err(format!("it is of the product {:?}", self.product));
        }
        if self.version == 0 || self.generation == 0 {
            return Err("version and generation count from 1".to_owned());
        }
        if self.threshold == 0 || self.threshold > self.keys.len() || self.keys.len() > SIGNATURES_MAX {
            return Err(format!("{} of {} keys must sign", self.threshold, self.keys.len()));
        }
        let keys = self.public_keys();
        match keys.iter().enumerate().find(|(i, key)| keys[..*i].contains(key)) {
            Some((_, twice)) => Err(format!("the key {} stands there twice", twice.id())),
            None => Ok(()),
        }
    }
}
