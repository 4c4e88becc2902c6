//! Secrets that the server makes up: device tokens, codes of invites, initial passwords, the key of backups.
//!
//! Tokens and codes are stored as their SHA-256. A fast hash suffices because there is nothing to guess: a token has 256
//! random bits, a code 80.

use posthouse_protocol::{InviteCode, Password, Token};
use sha2::{Digest, Sha256};

use crate::store::TokenHash;

/// Letters and digits that can't be mistaken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A fresh token.
pub(super) fn token() -> Token {
    Token(random::<32>().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A fresh code of an invite.
pub(super) fn invite_code() -> InviteCode {
    InviteCode(readable::<16>())
}

/// A fresh password.
pub(super) fn password() -> Password {
    Password(readable::<16>())
}

/// A fresh key for backups: 160 bits.
pub(super) fn backup_key() -> String {
    readable::<32>()
}

/// What the store knows a token by.
pub(super) fn token_hash(token: &Token) -> TokenHash {
    Sha256::digest(token.0.as_bytes()).into()
}

/// What the store knows a code by. People may type it as they may the code of a new box: in either case, with white
/// space and hyphens or without, with characters that look like those of [`ALPHABET`].
pub(super) fn code_hash(code: &InviteCode) -> TokenHash {
    let meant = |c: char| if matches!(c, 'l' | '1') { 'i' } else { c };
    let said = code.0.chars().filter(|c| !c.is_whitespace() && *c != '-');
    let characters: Vec<char> = said.flat_map(char::to_lowercase).map(meant).collect();
    Sha256::digest(grouped(&characters).as_bytes()).into()
}

/// 5 random bits a character, in groups for reading out.
fn readable<const N: usize>() -> String {
    let characters: Vec<char> = random::<N>().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    grouped(&characters)
}

fn grouped(characters: &[char]) -> String {
    characters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

fn random<const N: usize>() -> [u8; N] {
    let mut random = [0; N];
    getrandom::fill(&mut random).expect("the kernel has random numbers once user space runs");
    random
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_a_code_may_be_typed_carelessly() {
        assert_ne!(token().0, token().0);
        assert_ne!(password(), password());
        assert_eq!(backup_key().len(), 39);
        let code = invite_code();
        assert_eq!(code.0.len(), 19, "{}", code.0);
        let stored: TokenHash = Sha256::digest(code.0.as_bytes()).into();
        assert_eq!(code_hash(&code), stored, "as it is shown");
        let capitals = code.0.to_uppercase();
        let (spaced, joined) = (capitals.replace('-', " "), code.0.replace('-', ""));
        for typed in [format!(" {capitals} "), spaced, joined, code.0.replace('-', " - "), code.0.replace('i', "L")] {
            assert_eq!(code_hash(&InviteCode(typed.clone())), stored, "{typed}");
        }
        assert_ne!(code_hash(&invite_code()), code_hash(&code));
    }
}
