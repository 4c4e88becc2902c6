//! TLS: which certificate a client is shown, and the handshake.
//!
//! Owns the keys of the box's certificates, which live in memory only, but for the owner's own. The authority that signs them is
//! another program with another user (`posthouse-ca`): its key never comes here. The listener hands accepted streams to
//! [`Handshakes`]; the administration edge hands on the owner's certificate; the composition puts the parts together.

mod authority;
mod handshake;
mod keyring;
mod own;
mod renewal;
#[cfg(test)]
mod tests;
mod trust;
mod validity;

pub use handshake::Handshakes;
pub use keyring::Keyring;
pub use renewal::{OwnCertificates, start};
pub use trust::TrustMaterial;
