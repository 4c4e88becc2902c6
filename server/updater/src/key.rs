//! Keys that sign: Ed25519 (RFC 8032).

use serde::{Deserialize, Serialize};

use crate::Sha256;

/// Names a public key: the SHA-256 of its 32 bytes. One key has one name, so that it can't be counted twice.
pub type KeyId = Sha256;

/// A key that verifies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Sha256Text", into = "Sha256Text")]
pub struct PublicKey([u8; 32]);

/// 32 bytes as hexadecimal digits, as a hash is written.
type Sha256Text = Sha256;

impl PublicKey {
    /// From its 32 bytes.
    ///
    /// # Errors
    /// When they are no point of the curve, or one under which anybody can sign (of small order).
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, &'static str> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&bytes).map_err(|_| "not an Ed25519 public key")?;
        if key.is_weak() { Err("a weak Ed25519 public key") } else { Ok(Self(bytes)) }
    }

    /// What signatures name it by.
    pub fn id(&self) -> KeyId {
        Sha256::of(&self.0)
    }

    /// Whether this key has signed exactly these bytes. Strict: one message has one signature that is accepted.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let Ok(key) = ed25519_dalek::VerifyingKey::from_bytes(&self.0) else { return false };
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature)).is_ok()
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", Sha256::from_bytes(self.0))
    }
}

impl TryFrom<Sha256Text> for PublicKey {
    type Error = &'static str;

    fn try_from(text: Sha256Text) -> Result<Self, &'static str> {
        Self::from_bytes(*text.as_bytes())
    }
}

impl From<PublicKey> for Sha256Text {
    fn from(key: PublicKey) -> Self {
        Sha256::from_bytes(key.0)
    }
}

#[cfg(feature = "release")]
pub use secret::{KeyFileError, SecretKey};

#[cfg(feature = "release")]
mod secret {
    use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
    use ed25519_dalek::{Signer, SigningKey};
    use pkcs8::der::pem::LineEnding;
    use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};

    use super::PublicKey;

    const LABEL_ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

    /// A key that signs. In files it is PKCS #8, encrypted by a passphrase (PBES2 with scrypt and AES-256), as PEM: what
    /// other tools (`openssl pkey`) read and write, too.
    pub struct SecretKey(SigningKey);

    impl SecretKey {
        /// A new key, from the system's randomness.
        ///
        /// # Errors
        /// When the system has none.
        pub fn generate() -> Result<Self, KeyFileError> {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| KeyFileError::Randomness(error.to_string()))?;
            Ok(Self(SigningKey::from_bytes(&seed)))
        }

        /// The key that verifies what this one signs.
        pub fn public(&self) -> PublicKey {
            PublicKey(self.0.verifying_key().to_bytes())
        }

        /// Reads a PEM.
        ///
        /// # Errors
        /// When it is none, is not encrypted, or the passphrase is another.
        pub fn from_pem(pem: &str, passphrase: &str) -> Result<Self, KeyFileError> {
            let (label, document) = SecretDocument::from_pem(pem).map_err(|_| KeyFileError::NotPem)?;
            if label != LABEL_ENCRYPTED {
                return Err(KeyFileError::NotEncrypted(label.to_owned()));
            }
            let encrypted =
                EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| KeyFileError::NotPem)?;
            let plain = encrypted.decrypt(passphrase).map_err(|_| KeyFileError::Passphrase)?;
            SigningKey::from_pkcs8_der(plain.as_bytes()).map(Self).map_err(|_| KeyFileError::NotEd25519)
        }

        /// As a PEM that only this passphrase opens.
        ///
        /// # Errors
        /// When the system has no randomness.
        pub fn to_pem(&self, passphrase: &str) -> Result<String, KeyFileError> {
            let plain = self.0.to_pkcs8_der().expect("an Ed25519 key has a PKCS #8 form");
            let info = PrivateKeyInfoRef::try_from(plain.as_bytes()).expect("it was just encoded");
            let encrypted = info.encrypt(passphrase).map_err(|error| KeyFileError::Randomness(error.to_string()))?;
            let pem = encrypted.to_pem(LABEL_ENCRYPTED, LineEnding::LF).expect("an encoded key has a PEM form");
            Ok(pem.to_string())
        }

        pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
            self.0.sign(message).to_bytes()
        }
    }

    /// Why a key can't be had.
    #[derive(Debug, PartialEq, Eq, thiserror::Error)]
    pub enum KeyFileError {
        /// Something else.
        #[error("this is no PKCS #8 key in PEM form")]
        NotPem,
        /// A key that anybody can read is not taken.
        #[error("this is a {0}: only an encrypted private key is taken (`posthouse release keygen` makes one)")]
        NotEncrypted(String),
        /// It does not open.
        #[error("the passphrase does not open this key")]
        Passphrase,
        /// Another algorithm.
        #[error("this is no Ed25519 key")]
        NotEd25519,
        /// The system has none.
        #[error("the system gives no random bytes: {0}")]
        Randomness(String),
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_key_comes_back_from_its_file_with_its_passphrase_only() {
            let key = SecretKey::generate().unwrap();
            let pem = key.to_pem("correct horse").unwrap();
            assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{pem}");
            assert_eq!(SecretKey::from_pem(&pem, "correct horse").unwrap().public(), key.public());
            assert_eq!(SecretKey::from_pem(&pem, "battery staple").err(), Some(KeyFileError::Passphrase));
        }

        #[test]
        fn a_key_that_anybody_can_read_is_not_taken() {
            let key = SecretKey::generate().unwrap();
            let plain = key.0.to_pkcs8_pem(LineEnding::LF).unwrap();
            let label = "PRIVATE KEY".to_owned();
            assert_eq!(SecretKey::from_pem(&plain, "").err(), Some(KeyFileError::NotEncrypted(label)));
            assert_eq!(SecretKey::from_pem("hello", "").err(), Some(KeyFileError::NotPem));
        }
    }
}
