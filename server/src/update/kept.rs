//! What is remembered of the update URL over a restart: what was found there, when, and until when nothing is to be installed.
//!
//! A convenience and no promise: where the file is lost or odd, the box looks again.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use posthouse_updater::Sha256;
use serde::{Deserialize, Serialize};

use super::head::Head;

/// In the data folder.
pub const FILE_NAME: &str = "update.json";

/// All of it. Times are milliseconds since 1970 by the box's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// Spreads boxes over the time that there is, so that they don't all come at once.
    pub seed: u64,
    /// When the box has looked last.
    pub checked_ms: Option<u64>,
    /// Until then it installs nothing by itself.
    pub postponed_until_ms: Option<u64>,
    /// What the update URL has, if it is newer.
    pub found: Option<Found>,
    /// What the updater was asked for last without anybody wanting it, and when.
    pub asked: Option<Asked>,
}

/// A bundle at the update URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// See [`Head::identity`].
    pub identity: Sha256,
    /// As it calls itself.
    pub version: String,
    /// Of its root.
    pub generation: u32,
    /// Of the release.
    pub seq: u64,
    /// For people.
    pub notes: String,
    /// Of the whole file, in bytes.
    pub length: u64,
    /// When it was seen first.
    pub found_ms: u64,
    /// The server's name for these very bytes (RFC 9110, §8.8.3), where it is a strong one.
    pub etag: Option<String>,
    /// Hash of the file, once it lies whole in the inbox.
    pub bundle: Option<Sha256>,
}

/// A request that nobody made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// For which release.
    pub identity: Sha256,
    /// When.
    pub at_ms: u64,
}

impl Found {
    /// Of what was seen now.
    pub fn new(head: &Head, found_ms: u64, etag: Option<String>) -> Self {
        let release = &head.release;
        Self {
            identity: head.identity(),
            version: release.version.to_string(),
            generation: release.generation,
            seq: release.seq,
            notes: release.notes.clone(),
            length: head.file_len(),
            found_ms,
            etag,
            bundle: None,
        }
    }
}

/// Where it is kept.
#[derive(Clone, Debug)]
pub struct Keeping {
    file: PathBuf,
}

impl Keeping {
    /// In this folder.
    pub fn new(data_dir: &Path) -> Self {
        Self { file: data_dir.join(FILE_NAME) }
    }

    /// What is there, with a seed in any case.
    pub fn read(&self) -> Kept {
        let text = std::fs::read(&self.file).unwrap_or_default();
        let mut kept: Kept = serde_json::from_slice(&text).unwrap_or_default();
        if kept.seed == 0 {
            kept.seed = getrandom::u64().expect("the kernel has random numbers once user space runs").max(1);
        }
        kept
    }

    /// Puts another in its place.
    pub fn write(&self, kept: &Kept) -> io::Result<()> {
        let unfinished = self.file.with_extension("new");
        let mut opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        opened.write_all(&serde_json::to_vec(kept)?)?;
        opened.sync_all()?;
        std::fs::rename(&unfinished, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_outlives_a_restart_and_what_is_odd_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let keeping = Keeping::new(folder.path());
        let mut kept = keeping.read();
        assert_ne!(kept.seed, 0);
        kept.postponed_until_ms = Some(7);
        keeping.write(&kept).expect("written");
        assert_eq!(keeping.read(), kept);
        std::fs::write(folder.path().join(FILE_NAME), r#"{"seed": "x"}"#).expect("written");
        assert_eq!(keeping.read().postponed_until_ms, None);
    }
}
