//! A device's log-in, kept in a file between runs.

use std::io::Write;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use posthouse_protocol::{Token, Username};
use serde::{Deserialize, Serialize};

use crate::{KnownError, KnownServers, ServerUrl};

const FILE_NAME: &str = "login.json";

/// Overrides the folder of the log-in file; one folder is one log-in.
pub const CONFIG_DIR_VARIABLE: &str = "POSTHOUSE_CONFIG_DIR";

/// Who is logged in where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Login {
    /// The server.
    pub server: ServerUrl,
    /// The account's name.
    pub username: Username,
    /// What this device shows.
    pub token: Token,
}

/// Why a log-in can't be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is none.
    #[error("not logged in: run `posthouse login NAME`")]
    None,
    /// Whom to trust can't be said.
    #[error(transparent)]
    Known(Box<KnownError>),
    /// The user has no folder for settings.
    #[error("this user has no home folder: set {CONFIG_DIR_VARIABLE} to a folder for the log-in")]
    NoFolder,
    /// The file can't be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a log-in.
    #[error("{path} is not a log-in ({source}): log in again")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

impl Login {
    /// Reads the log-in of this user.
    ///
    /// # Errors
    /// `None` where there is none.
    pub fn load() -> Result<Self, LoginError> {
        let path = file(FILE_NAME)?;
        let text = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => LoginError::None,
            _ => LoginError::File { path: path.clone(), source },
        })?;
        let login: Self = serde_json::from_slice(&text).map_err(|source| LoginError::Content { path, source })?;
        if !login.server.is_secure() {
            return Ok(login);
        }
        let known = KnownServers::load().map_err(|error| LoginError::Known(Box::new(error)))?;
        Ok(Self { server: known.attach(login.server), ..login })
    }

    /// Keeps the log-in, readable by this user only. The old one stays until the new one is whole.
    ///
    /// # Errors
    /// `File`, or `NoFolder`.
    pub fn save(&self) -> Result<(), LoginError> {
        let path = file(FILE_NAME)?;
        let text = serde_json::to_vec_pretty(self).expect("string keys");
        write_private(&path, &text).map_err(|source| LoginError::File { path, source })
    }

    /// Removes the log-in of this user, if there is one.
    ///
    /// # Errors
    /// `File`, or `NoFolder`.
    pub fn forget() -> Result<(), LoginError> {
        let path = file(FILE_NAME)?;
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(LoginError::File { path, source }),
            _ => Ok(()),
        }
    }
}

/// The old one stays until the new one is whole.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension("new");
    let mut file = private_file(&unfinished)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)
}

/// A file in this user's folder for settings.
pub(crate) fn file(name: &str) -> Result<PathBuf, LoginError> {
    if let Some(folder) = std::env::var_os(CONFIG_DIR_VARIABLE) {
        return Ok(PathBuf::from(folder).join(name));
    }
    let strategy = etcetera::choose_base_strategy().map_err(|_| LoginError::NoFolder)?;
    // A device's token stays on the device: of the two folders that Windows has, that which does not roam with its user.
    let folder = if cfg!(windows) { strategy.cache_dir() } else { strategy.config_dir() };
    Ok(folder.join("posthouse").join(name))
}

#[cfg(unix)]
fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

// Elsewhere the user's own folders are private already.
#[cfg(not(unix))]
fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::File::create(path)
}
