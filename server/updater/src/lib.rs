//! Updates of the server's binary: bundles, who may sign them, and what a box has installed.
//!
//! Owns: the form of a bundle (`.phb`), its verification, the trust in keys, and the state of a box's slots, each change of
//! which is one durable record. Never speaks to the network and never runs what it has not verified. The
//! command `posthouse release` signs by it; README.md says how all of it goes together.

#![warn(missing_docs)]

mod bundle;
mod document;
mod image;
mod key;
mod record;
mod release;
mod root;
mod sha256;
mod state;
mod trust;

#[cfg(feature = "release")]
pub use bundle::pack;
pub use bundle::{Bundle, BundleError, PACKED_LEN_MAX, ROOTS_MAX, UNPACKED_LEN_MAX};
pub use document::{DOCUMENT_LEN_MAX, DocumentError, DocumentSignature, Kind, SIGNATURES_MAX, SignedDocument};
pub use image::ImageRelease;
#[cfg(feature = "release")]
pub use key::{KeyFileError, SecretKey};
pub use key::{KeyId, PublicKey};
pub use record::{Record, RecordError};
pub use release::{Release, Version};
pub use root::{Root, RootError, RootKey};
pub use sha256::Sha256;
pub use state::{InstalledSlot, Quarantined, Slot, State, StateError, TRIAL_CRASHES, TRIAL_STARTS, Trial, Verdict};
pub use trust::{Installed, Ratchet, Trust, TrustError};

/// What these updates are updates of; signed in every document.
pub const PRODUCT: &str = "posthouse";
