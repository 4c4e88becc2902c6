//! What provisioning keeps on the data partition: the last good wishes, with their secrets, which the card's files show no more.
//!
//! The file is root's alone (0600), like the passwords of Wi-Fi networks that iwd keeps beside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use nix::unistd::syncfs;
use serde::{Deserialize, Serialize};

use super::root::{Root, write_whole};
use crate::wishes::Wishes;

/// What was kept at the last boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// From posthouse.toml.
    pub own: Wishes,
    /// From Raspberry Pi Imager's files.
    pub imager: Wishes,
    /// Secrets that are being overwritten, by their file.
    pub overwriting: BTreeMap<String, Vec<Overwriting>>,
    /// Requests on the card that were followed, with what tells one from the next of its name.
    pub followed: BTreeMap<String, String>,
    /// The Wi-Fi network that was made known to iwd, by its file.
    pub wifi_file: Option<String>,
}

/// A secret that is being overwritten: whatever is found of it is finished at the next boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overwriting {
    /// The first byte.
    pub start: usize,
    /// What stood there.
    pub old: Vec<u8>,
    /// What is to stand there.
    pub new: Vec<u8>,
}

fn path(root: &Root) -> PathBuf {
    root.system().join("settings.json")
}

impl Kept {
    /// What was kept, or nothing where there is none; with a line when it can't be understood.
    pub fn load(root: &Root) -> (Self, Option<String>) {
        let path = path(root);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return (Self::default(), None),
            Err(error) => {
                return (Self::default(), Some(format!("the settings of the last start cannot be read: {error}")));
            }
        };
        match serde_json::from_slice(&text) {
            Ok(kept) => (kept, None),
            Err(error) => (Self::default(), Some(format!("the settings of the last start are damaged: {error}"))),
        }
    }

    /// Keeps it, if it is not what is kept already.
    ///
    /// # Errors
    /// It can't be written.
    pub fn save(&self, root: &Root) -> io::Result<()> {
        let path = path(root);
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        if fs::read(&path).is_ok_and(|kept| kept == text) {
            return Ok(());
        }
        write_whole(&path, 0o600, &text)?;
        // In its place, not only in the journal: a reset looks here before the journal is replayed.
        syncfs(File::open(root.system())?).map_err(io::Error::from)
    }
}
