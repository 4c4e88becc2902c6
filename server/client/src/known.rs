//! Which boxes this device knows, by the fingerprints that somebody has compared. Kept between runs, for all log-ins of this user.

use std::collections::BTreeMap;
use std::path::PathBuf;

use posthouse_protocol::Fingerprint;

use crate::ServerUrl;
use crate::login::{LoginError, file, write_private};

const FILE_NAME: &str = "known_servers.json";

/// Servers and their fingerprints.
#[derive(Debug)]
pub struct KnownServers {
    path: PathBuf,
    servers: BTreeMap<String, Fingerprint>,
}

/// Why what is known can't be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// The user has no folder for settings.
    #[error(transparent)]
    Folder(#[from] LoginError),
    /// The file can't be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file says nothing that this client understands. It is left alone: whom to trust is not guessed.
    #[error("{path} is no list of known servers ({source}): mend it, or remove it and compare fingerprints anew")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl KnownServers {
    /// What this user's device knows; nothing at first.
    ///
    /// # Errors
    /// Where that can't be said.
    pub fn load() -> Result<Self, KnownError> {
        let path = file(FILE_NAME)?;
        let servers = match std::fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map_err(|source| KnownError::Content { path: path.clone(), source })?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(KnownError::File { path, source }),
        };
        Ok(Self { path, servers })
    }

    /// The fingerprint of the server at this address.
    pub fn get(&self, server: &ServerUrl) -> Option<Fingerprint> {
        self.servers.get(server.authority()).copied()
    }

    /// Whether a box with this fingerprint is known, at whatever address.
    pub fn knows(&self, fingerprint: Fingerprint) -> bool {
        self.servers.values().any(|known| *known == fingerprint)
    }

    /// All of them, by address.
    pub fn all(&self) -> impl Iterator<Item = (&str, Fingerprint)> {
        self.servers.iter().map(|(address, fingerprint)| (address.as_str(), *fingerprint))
    }

    /// The server at this address has this fingerprint from now on.
    ///
    /// # Errors
    /// `File`.
    pub fn pin(&mut self, server: &ServerUrl, fingerprint: Fingerprint) -> Result<(), KnownError> {
        if self.servers.insert(server.authority().to_owned(), fingerprint) == Some(fingerprint) {
            return Ok(());
        }
        self.save()
    }

    /// Nothing is known of the server at this address any more; says whether anything was.
    ///
    /// # Errors
    /// `File`.
    pub fn forget(&mut self, server: &ServerUrl) -> Result<bool, KnownError> {
        let was_known = self.servers.remove(server.authority()).is_some();
        if was_known {
            self.save()?;
        }
        Ok(was_known)
    }

    /// The same address with what is known of it.
    #[must_use]
    pub fn attach(&self, server: ServerUrl) -> ServerUrl {
        match self.get(&server) {
            Some(pin) if server.is_secure() => server.pinned(pin),
            _ => server,
        }
    }

    fn save(&self) -> Result<(), KnownError> {
        let text = serde_json::to_vec_pretty(&self.servers).expect("string keys");
        write_private(&self.path, &text).map_err(|source| KnownError::File { path: self.path.clone(), source })
    }
}
