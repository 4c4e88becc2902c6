//! Device tokens: 256 random bits for the client, their SHA-256 for the store. A fast hash suffices
//! because there is nothing to guess.

use posthouse_protocol::Token;
use sha2::{Digest, Sha256};

/// A fresh token.
pub(super) fn generate() -> Token {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).expect("the kernel has random numbers once user space runs");
    Token(secret.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What the store knows a token by.
pub(super) fn hash(token: &Token) -> [u8; 32] {
    Sha256::digest(token.0.as_bytes()).into()
}
