//! What a box trusts: a root, and how far it has come. Neither goes back.

use serde::{Deserialize, Serialize};

use crate::document::{DocumentError, Kind, SignedDocument};
use crate::root::{Root, RootError};
use crate::{Bundle, Release, Version};

/// How far a box has come. It moves when a release is confirmed, and only on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratchet {
    /// The generation of what was confirmed last.
    pub generation: u32,
    /// The highest seq that was confirmed in it: whatever comes must be above.
    pub seq: u64,
    /// The seq below which nothing is gone back to.
    pub min_seq: u64,
}

/// What is installed, as far as trust is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Installed {
    /// Of the release.
    pub generation: u32,
    /// Of the release.
    pub seq: u64,
}

/// A root that was verified, and the ratchet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "TrustFile", into = "TrustFile")]
pub struct Trust {
    root: Root,
    /// What `root` was read from.
    document: SignedDocument,
    ratchet: Ratchet,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct TrustFile {
    root: SignedDocument,
    ratchet: Ratchet,
}

impl TryFrom<TrustFile> for Trust {
    type Error = TrustError;

    fn try_from(file: TrustFile) -> Result<Self, TrustError> {
        Self::of_image(&file.root, file.ratchet)
    }
}

impl From<Trust> for TrustFile {
    fn from(trust: Trust) -> Self {
        Self { root: trust.document, ratchet: trust.ratchet }
    }
}

/// Why a bundle is not for this box.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The release's signatures.
    #[error("the release is not trusted: {0}")]
    Untrusted(DocumentError),
    /// Signed, and not what it must be.
    #[error("the release says what none may say: {0}")]
    Content(String),
    /// For another machine, or other people.
    #[error("the release is for {what} {theirs:?}, and this box for {ours:?}")]
    NotForThisBox {
        /// What differs.
        what: &'static str,
        /// The release's.
        theirs: String,
        /// The box's.
        ours: String,
    },
    /// Signed by keys of another generation than it says.
    #[error("the release is of generation {release}, the trusted root of {root}")]
    Generation {
        /// The release's.
        release: u32,
        /// The root's.
        root: u32,
    },
    /// Of the same number as the trusted one, and not the same.
    #[error("this is another root {0} than the trusted one")]
    AnotherRoot(u32),
    /// Nothing new.
    #[error("release {version} (seq {seq}) is not newer than seq {newest}, which this box has had already")]
    Old {
        /// As it calls itself.
        version: Version,
        /// Its own.
        seq: u64,
        /// The ratchet's.
        newest: u64,
    },
}

impl Trust {
    /// Of a new box: the root that came with the image, and nothing installed but what came with it.
    ///
    /// # Errors
    /// When the root is not whole.
    pub fn of_image(root: &SignedDocument, ratchet: Ratchet) -> Result<Self, TrustError> {
        Ok(Self { root: Root::of_image(root)?, document: root.clone(), ratchet })
    }

    /// Whom to trust on a box that has got an image with this root. A root that follows the present one, or that is of a later
    /// generation, takes its place: the image is where trust begins, and lost keys must not outlive it. An older one changes
    /// nothing.
    ///
    /// # Errors
    /// When it is another root, to which the present one does not lead. Then the present one still counts.
    pub fn with_image(&self, image: &SignedDocument) -> Result<Self, TrustError> {
        let root = Root::of_image(image)?;
        if root.generation > self.root.generation {
            return Ok(Self { root, document: image.clone(), ratchet: self.ratchet });
        }
        if root.version > self.root.version {
            return self.follow(std::slice::from_ref(image));
        }
        if root.version == self.root.version && root != self.root {
            return Err(TrustError::AnotherRoot(root.version));
        }
        Ok(self.clone())
    }

    /// With an image that has the server of this release: what is older is not installed from now on. Of a generation that the
    /// trusted root does not know it changes nothing.
    #[must_use]
    pub fn with_image_release(&self, place: Installed) -> Self {
        if place.generation > self.root.generation { self.clone() } else { self.reached(place, 0) }
    }

    /// Whose keys count.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// How far the box has come.
    pub fn ratchet(&self) -> Ratchet {
        self.ratchet
    }

    /// Follows the roots of a bundle, from the one that is trusted, one by one; those before it are passed over.
    ///
    /// # Errors
    /// When one is missing, or is not signed by the one before and by itself. Then nothing has changed.
    pub fn follow(&self, roots: &[SignedDocument]) -> Result<Self, TrustError> {
        let mut trust = self.clone();
        for document in roots {
            // A number in what nobody has verified yet only says whether to look at it.
            let says: Says =
                serde_json::from_slice(document.unverified()).map_err(|error| RootError::Content(error.to_string()))?;
            if says.version > trust.root.version {
                trust.root = trust.root.next(document)?;
                trust.document = document.clone();
            }
        }
        Ok(trust)
    }

    /// Whether a bundle's release may be installed here, and whom to trust from then on.
    ///
    /// # Errors
    /// Why not. Then nothing has changed.
    pub fn accept(&self, bundle: &Bundle, arch: &str, channel: &str) -> Result<(Self, Release), TrustError> {
        let trust = self.follow(bundle.roots())?;
        let release = trust.release(bundle.release())?;
        for (what, theirs, ours) in [("arch", &release.arch, arch), ("channel", &release.channel, channel)] {
            if theirs != ours {
                return Err(TrustError::NotForThisBox { what, theirs: theirs.clone(), ours: ours.to_owned() });
            }
        }
        let newest = if release.generation == self.ratchet.generation { self.ratchet.seq } else { 0 };
        if release.generation < self.ratchet.generation || release.seq <= newest {
            return Err(TrustError::Old { version: release.version, seq: release.seq, newest });
        }
        Ok((trust, release))
    }

    /// A release that enough of the trusted keys have signed.
    ///
    /// # Errors
    /// When it is not.
    pub fn release(&self, document: &SignedDocument) -> Result<Release, TrustError> {
        let keys = self.root.public_keys();
        let verified = document.verified(Kind::Release, &keys, self.root.threshold).map_err(TrustError::Untrusted)?;
        let release = Release::parse(verified).map_err(TrustError::Content)?;
        if release.generation != self.root.generation {
            return Err(TrustError::Generation { release: release.generation, root: self.root.generation });
        }
        Ok(release)
    }

    /// Whether what was installed once may run again.
    pub fn may_go_back_to(&self, installed: Installed) -> bool {
        installed.generation == self.ratchet.generation && installed.seq >= self.ratchet.min_seq
    }

    /// After this release has been confirmed.
    #[must_use]
    pub fn confirmed(&self, release: &Release) -> Self {
        self.reached(Installed { generation: release.generation, seq: release.seq }, release.min_seq)
    }

    /// After what stands there has been confirmed. What is older than the ratchet does not move it.
    #[must_use]
    pub fn reached(&self, place: Installed, min_seq: u64) -> Self {
        let mut trust = self.clone();
        let ratchet = &mut trust.ratchet;
        if place.generation > ratchet.generation {
            *ratchet = Ratchet { generation: place.generation, ..Ratchet::default() };
        }
        if place.generation == ratchet.generation {
            ratchet.seq = ratchet.seq.max(place.seq);
            ratchet.min_seq = ratchet.min_seq.max(min_seq);
        }
        trust
    }

    /// Names of the keys that have signed a release, by the root that is trusted.
    pub fn signers(&self, release: &SignedDocument) -> Vec<String> {
        let signers = release.signers(Kind::Release, &self.root.public_keys());
        let named = self.root.keys.iter().filter(|key| signers.contains(&key.public_key));
        named.map(|key| key.name.clone()).collect()
    }
}

#[derive(Deserialize)]
struct Says {
    version: u32,
}
