//! TLS: which certificate a client is shown, and the handshake.
//!
//! Owns the key of the box's certificates. The authority that signs them is another program with another user (`posthouse-ca`):
//! its key never comes here. The listener hands accepted streams to [`Handshakes`]; the composition puts the parts together.

mod handshake;
mod keyring;

pub use handshake::Handshakes;
pub use keyring::Keyring;
