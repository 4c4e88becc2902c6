//! Taking ownership of a new box: the code that stands on its console, the proof that somebody has read it, and the JSON of
//! `/claim`.
//!
//! Whoever has read the code shows that they have by an HMAC that covers the fingerprint they see. Somebody between the two has
//! another fingerprint and gets nothing that the box would take; and the box answers with a proof of its own before it is told a
//! password.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::{Account, Fingerprint, Password, TimestampMs, Token, Username};

/// Where the challenge is.
pub const CHALLENGE_PATH: &str = "/claim/challenge";

/// Where a proof is exchanged for the box's.
pub const PROOF_PATH: &str = "/claim/proof";

/// Where a box is claimed.
pub const CLAIM_PATH: &str = "/claim";

/// What a proof is for, so that it serves for nothing else.
const OF_CLIENT: &[u8] = b"posthouse-claim-v1";
const OF_BOX: &[u8] = b"posthouse-claim-v1-box";
const OF_NEITHER: &[u8] = b"posthouse-claim-v1-same";

/// Digits of Crockford's base 32: none can be taken for another.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A code as somebody may type it: in either case, with white space and hyphens or without, with letters that look like digits.
#[derive(Clone, PartialEq, Eq)]
pub struct ClaimCode {
    plain: String,
}

impl ClaimCode {
    /// Of random bytes, 5 bits of each: 12 of them make a code of 60 bits.
    pub fn from_random(random: &[u8]) -> Self {
        Self { plain: random.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect() }
    }

    /// As it was typed.
    pub fn typed(text: &str) -> Self {
        let meant = |c: char| match c {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let said = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        Self { plain: said.flat_map(char::to_uppercase).map(meant).collect() }
    }

    /// How many characters count.
    pub fn chars(&self) -> usize {
        self.plain.chars().count()
    }

    /// Whether both are the same, in a time that says nothing of where they differ.
    pub fn matches(&self, other: &Self) -> bool {
        self.tag(OF_NEITHER, &[]).finalize() == other.tag(OF_NEITHER, &[]).finalize()
    }

    /// What shows the box that its code was read by somebody who sees this fingerprint; 64 hexadecimal digits.
    pub fn proof(&self, fingerprint: Option<&Fingerprint>, nonce: &str) -> String {
        hex(&self.tag(OF_CLIENT, &covered(fingerprint, nonce)).finalize().into_bytes())
    }

    /// Whether it is that.
    pub fn is_proof(&self, proof: &str, fingerprint: Option<&Fingerprint>, nonce: &str) -> bool {
        unhex(proof).is_some_and(|proof| self.tag(OF_CLIENT, &covered(fingerprint, nonce)).verify_slice(&proof).is_ok())
    }

    /// What shows a client that this is the box whose code it has.
    pub fn answer(&self, fingerprint: Option<&Fingerprint>, nonce: &str) -> String {
        hex(&self.tag(OF_BOX, &covered(fingerprint, nonce)).finalize().into_bytes())
    }

    /// Whether it is that.
    pub fn is_answer(&self, answer: &str, fingerprint: Option<&Fingerprint>, nonce: &str) -> bool {
        unhex(answer).is_some_and(|answer| self.tag(OF_BOX, &covered(fingerprint, nonce)).verify_slice(&answer).is_ok())
    }

    fn tag(&self, purpose: &[u8], covered: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.plain.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(purpose);
        mac.update(covered);
        mac
    }
}

/// Groups of four, as people read it out.
impl std::fmt::Display for ClaimCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits: Vec<char> = self.plain.chars().collect();
        let groups: Vec<String> = digits.chunks(4).map(|group| group.iter().collect()).collect();
        f.write_str(&groups.join("-"))
    }
}

impl std::fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClaimCode(…)")
    }
}

/// The fingerprint (zeros where there is no TLS), then the nonce.
fn covered(fingerprint: Option<&Fingerprint>, nonce: &str) -> Vec<u8> {
    let mut covered = fingerprint.map_or([0; 32], |fingerprint| *fingerprint.as_bytes()).to_vec();
    covered.extend_from_slice(nonce.as_bytes());
    covered
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// What `GET /claim/challenge` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClaimChallenge {
    /// Whether there is anything to claim.
    pub claimed: bool,
    /// To be covered by the proof, as it stands here.
    pub nonce: String,
    /// What the box says it is; a client that has seen one itself, in TLS, uses that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub fingerprint: Option<Fingerprint>,
}

/// The body of `POST /claim/proof`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimProof {
    /// From the challenge.
    pub nonce: String,
    /// See [`ClaimCode::proof`].
    pub proof: String,
}

/// What `POST /claim/proof` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClaimAnswer {
    /// See [`ClaimCode::answer`].
    pub answer: String,
}

/// The JSON body of `POST /claim`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClaimParams {
    /// From the challenge.
    pub nonce: String,
    /// See [`ClaimCode::proof`].
    pub proof: String,
    /// The owner's name.
    pub username: Username,
    /// The owner's password.
    pub password: Password,
    /// A name for the owner's first device.
    pub device: String,
    /// The client's clock, in milliseconds since 1970: what the box sets its own by where nothing else has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ms: Option<u64>,
}

/// What `POST /claim` answers with status 200.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClaimResult {
    /// The owner.
    pub account: Account,
    /// What the owner's first device shows from now on; keep it secret.
    pub token: Token,
    /// To be printed and put away.
    pub sheet: RecoverySheet,
}

/// What the owner of a box keeps on paper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecoverySheet {
    /// Where the box is found.
    pub address: String,
    /// By what it is known; missing where there is no TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub fingerprint: Option<Fingerprint>,
    /// What backups of this box will be encrypted with. It is shown this once.
    pub backup_key: String,
}

/// The data of `owner_recovered`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OwnerRecovered {
    /// Whose password was reset.
    pub account: Account,
    /// When, by the box's clock.
    pub ts: TimestampMs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = ClaimCode::from_random(&[0, 1, 17, 31, 32, 33, 49, 63, 10, 20, 25, 255]);
        assert_eq!(code.to_string(), "01HZ-01HZ-AMSZ");
        for typed in ["01HZ-01HZ-AMSZ", " o1hz 0ihz-amsz ", "OLHZ01HZAMSZ"] {
            assert!(ClaimCode::typed(typed).matches(&code), "{typed}");
        }
        for typed in ["", "01HZ-01HZ-AMS", "01HZ-01HZ-AMSZ0", "11HZ-01HZ-AMSZ"] {
            assert!(!ClaimCode::typed(typed).matches(&code), "{typed}");
        }
        assert!(ClaimCode::typed("驿站 Schlüssel").matches(&ClaimCode::typed("驿站SCHLÜSSEL")));
    }

    #[test]
    fn a_proof_holds_for_one_code_one_fingerprint_and_one_nonce() {
        let (code, other) = (ClaimCode::typed("AAAA-BBBB-CCCC"), ClaimCode::typed("AAAA-BBBB-CCCD"));
        let (seen, foreign) = (Fingerprint::from_sha256([7; 32]), Fingerprint::from_sha256([8; 32]));
        let proof = code.proof(Some(&seen), "n");
        assert!(code.is_proof(&proof, Some(&seen), "n"));
        assert!(!code.is_proof(&proof, Some(&foreign), "n"), "somebody in between has another one");
        assert!(!code.is_proof(&proof, None, "n"));
        assert!(!code.is_proof(&proof, Some(&seen), "m"));
        assert!(!other.is_proof(&proof, Some(&seen), "n"));
        assert!(!code.is_answer(&proof, Some(&seen), "n"), "a client's proof is none of the box's");
        assert!(code.is_answer(&code.answer(Some(&seen), "n"), Some(&seen), "n"));
        for odd in ["", "zz", "abc", &proof[2..]] {
            assert!(!code.is_proof(odd, Some(&seen), "n"), "{odd}");
        }
    }
}
