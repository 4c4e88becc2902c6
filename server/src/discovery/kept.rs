//! What discovery remembers from one start to the next, in `discovery.json` of the data folder: an identity where no certificate
//! authority gives one, and the name that a clash has led to (RFC 6762, §9, asks for that: who has bookmarked it finds it again).

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::name::Candidate;

const FILE_NAME: &str = "discovery.json";

/// As many bytes of randomness as the identity shows of a fingerprint.
const IDENTITY_BYTES: usize = 8;

/// The file, if there is a folder for it, and its content.
#[derive(Clone)]
pub struct Kept {
    path: Option<PathBuf>,
    content: Content,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    /// Sixteen hex digits; empty where none was made.
    identity: String,
    /// The name that the box was to have when it took the one below.
    wanted: String,
    /// Which one of the names after it was free.
    number: u32,
}

impl Kept {
    /// Reads what an earlier start left in `folder`. A file that can't be read is as good as none: all it takes is that peers see
    /// a new identity, which the log says.
    pub fn open(folder: Option<&Path>) -> Self {
        let path = folder.map(|folder| folder.join(FILE_NAME));
        let content = path.as_deref().and_then(read).unwrap_or_default();
        Self { path, content }
    }

    /// The identity for a box without a certificate authority: the same at each start, where it can be kept.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn identity(&mut self) -> Result<String, getrandom::Error> {
        if !is_identity(&self.content.identity) {
            let mut bytes = [0; IDENTITY_BYTES];
            getrandom::fill(&mut bytes)?;
            self.content.identity = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            self.write();
        }
        Ok(self.content.identity.clone())
    }

    /// The name to begin with.
    pub fn candidate(&self, wanted: &str) -> Candidate {
        if self.content.wanted == wanted {
            Candidate::numbered(wanted, self.content.number)
        } else {
            Candidate::wanted(wanted)
        }
    }

    /// To begin with `candidate` at the next start. Says whether that is new, and so to be written.
    pub fn remember(&mut self, wanted: &str, candidate: &Candidate) -> bool {
        if self.content.wanted == wanted && self.content.number == candidate.number() {
            return false;
        }
        self.content.wanted = wanted.to_owned();
        self.content.number = candidate.number();
        true
    }

    /// Whole or not at all. A full disk costs no more than the next start's memory of it. Waits for the disk.
    pub fn write(&self) {
        let Some(path) = &self.path else { return };
        let written = || -> std::io::Result<()> {
            let unfinished = path.with_extension("json.new");
            let mut file = File::create(&unfinished)?;
            file.write_all(&serde_json::to_vec(&self.content)?)?;
            file.sync_all()?;
            std::fs::rename(&unfinished, path)
        };
        if let Err(error) = written() {
            tracing::warn!(%error, file = %path.display(), "the box's name on the network can't be kept for the next start");
        }
    }
}

fn read(path: &Path) -> Option<Content> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "the box's name on the network can't be read");
            return None;
        }
    };
    serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::warn!(%error, file = %path.display(), "this file is damaged and is made anew"))
        .ok()
}

fn is_identity(text: &str) -> bool {
    text.len() == 2 * IDENTITY_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_name_outlive_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut kept = Kept::open(Some(folder.path()));
        let identity = kept.identity().expect("randomness");
        assert!(is_identity(&identity));
        assert!(kept.remember("posthouse", &Candidate::numbered("posthouse", 2)));
        assert!(!kept.remember("posthouse", &Candidate::numbered("posthouse", 2)), "nothing new");
        kept.write();

        let mut again = Kept::open(Some(folder.path()));
        assert_eq!(again.identity().expect("randomness"), identity);
        assert_eq!(again.candidate("posthouse").label(), "posthouse-2");
    }

    #[test]
    fn a_new_name_forgets_what_the_old_one_met() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut kept = Kept::open(Some(folder.path()));
        kept.remember("posthouse", &Candidate::numbered("posthouse", 2));
        kept.write();
        assert_eq!(Kept::open(Some(folder.path())).candidate("school").label(), "school");
    }

    #[test]
    fn a_damaged_file_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        for damaged in ["", "{", "[]", r#"{"identity": 7}"#, r#"{"identity": "../../etc", "number": 0}"#] {
            std::fs::write(folder.path().join(FILE_NAME), damaged).expect("writing it");
            let identity = Kept::open(Some(folder.path())).identity().expect("randomness");
            assert!(is_identity(&identity), "{damaged}");
            assert_eq!(Kept::open(Some(folder.path())).identity().expect("randomness"), identity, "{damaged}");
        }
    }

    #[test]
    fn without_a_folder_there_is_an_identity_for_this_start() {
        let mut kept = Kept::open(None);
        let identity = kept.identity().expect("randomness");
        assert_eq!(kept.identity().expect("randomness"), identity);
    }
}
