//! The inbox: files by which the server asks the box's updater for something. What lies in it proves nothing; the updater
//! verifies its own copy.
//!
//! ```text
//! <sha256>.part   a bundle on its way, named by what its hash will be      download.part   the same, from the update URL
//! <sha256>.phb    a bundle whose hash is that                              request         what the updater is to do
//! ```
//! Whatever the updater looks at gets there by a rename, whole and synced.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use posthouse_protocol::update::UpdateRequest;
use posthouse_updater::Sha256;
use sha2::Digest;

use super::refusal::Refused;

/// So many bytes of the data partition are not for updates: the log's and the database's growth while one is tried.
pub const ROOM_KEPT: u64 = 64 * 1024 * 1024;

const REQUEST: &str = "request";
const DOWNLOAD: &str = "download.part";

/// The folder.
#[derive(Clone, Debug)]
pub struct Inbox {
    folder: PathBuf,
}

/// How much of a bundle is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// So many bytes.
    pub offset: u64,
    /// Whether that is all, and its hash is the one.
    pub is_complete: bool,
}

impl Inbox {
    /// In this folder, which is made if it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where a bundle lies that is whole.
    pub fn whole(&self, hash: Sha256) -> PathBuf {
        self.folder.join(format!("{hash}.phb"))
    }

    /// Where it lies until then.
    pub fn part(&self, hash: Sha256) -> PathBuf {
        self.folder.join(format!("{hash}.part"))
    }

    /// Where the update URL's lies until then.
    pub fn download(&self) -> PathBuf {
        self.folder.join(DOWNLOAD)
    }

    /// How much of a bundle is there.
    pub fn held(&self, hash: Sha256) -> Held {
        match std::fs::metadata(self.whole(hash)) {
            Ok(whole) => Held { offset: whole.len(), is_complete: true },
            Err(_) => Held { offset: len(&self.part(hash)), is_complete: false },
        }
    }

    /// Whether there is room for so much more.
    ///
    /// # Errors
    /// Where there is not.
    pub fn check_room(&self, needed: u64) -> Result<(), Refused> {
        let found = nix::sys::statvfs::statvfs(&self.folder).map_err(io::Error::from)?;
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        if free < needed.saturating_add(ROOM_KEPT) {
            return Err(Refused::NoRoom { needed, free, kept: ROOM_KEPT });
        }
        Ok(())
    }

    /// What may be installed from now on: a file that is whole and has that hash.
    pub fn finish(&self, from: &Path, hash: Sha256) -> io::Result<()> {
        File::open(from)?.sync_all()?;
        std::fs::rename(from, self.whole(hash))?;
        self.sync()
    }

    /// Whether a request waits for the updater.
    pub fn is_asked(&self) -> bool {
        self.folder.join(REQUEST).exists()
    }

    /// Asks the updater for something. One thing at a time: what it has not taken yet stays.
    ///
    /// # Errors
    /// Where another request waits, or the card takes no more.
    pub fn ask(&self, request: &UpdateRequest) -> Result<(), Refused> {
        let unfinished = self.folder.join("request.new");
        remove(&unfinished)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&serde_json::to_vec(request).map_err(io::Error::from)?)?;
        file.sync_all()?;
        // Not a rename, which would take the place of one that waits.
        let asked = std::fs::hard_link(&unfinished, self.folder.join(REQUEST));
        remove(&unfinished)?;
        match asked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Refused::Conflict("another request waits for the box's updater: wait for it".to_owned()))
            }
            asked => Ok(asked.and_then(|()| self.sync())?),
        }
    }

    /// Throws away what there is of a bundle.
    pub fn forget(&self, hash: Sha256) -> io::Result<()> {
        remove(&self.part(hash))?;
        remove(&self.whole(hash))
    }

    /// Throws away all bundles but these: the inbox never holds more than one from each side.
    pub fn forget_others(&self, kept: &[Sha256]) -> io::Result<()> {
        let is_kept = |path: &Path| kept.iter().any(|hash| path == self.whole(*hash) || path == self.part(*hash));
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let hash = path.file_stem().and_then(|stem| stem.to_str()?.parse::<Sha256>().ok());
            if hash.is_some() && !is_kept(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }
}

/// The length of a file; 0 where there is none.
pub fn len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// The hash of a whole file.
pub fn hash_of(path: &Path) -> io::Result<Sha256> {
    let mut file = File::open(path)?;
    let (mut hash, mut piece) = (sha2::Sha256::new(), vec![0; 256 * 1024]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Sha256::from_bytes(hash.finalize().into())),
            read => hash.update(&piece[..read]),
        }
    }
}

/// A file that grows at its end, by synced pieces: what it has after a power cut can be gone on from, and the log of messages never
/// waits for more than one piece to reach the card.
#[derive(Debug)]
pub struct Growing {
    file: File,
}

impl Growing {
    /// So much is written at once, in bytes.
    pub const PIECE: usize = 1024 * 1024;

    /// At the end of what is there.
    pub fn append(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().create(true).append(true).mode(0o600).open(path)? })
    }

    /// Adds a piece. Blocks until the card has it.
    pub fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.file.sync_data()
    }
}

/// Removes a file, if it is there.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_waits_is_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(&folder.path().join("inbox")).expect("made");
        let request = |by: &str| UpdateRequest::Rollback { by: by.to_owned(), needs: 2 };
        assert!(!inbox.is_asked());
        inbox.ask(&request("anna")).expect("asked");
        assert!(inbox.is_asked());
        assert!(matches!(inbox.ask(&request("ben")), Err(Refused::Conflict(_))));
        let text = std::fs::read(folder.path().join("inbox/request")).expect("there");
        assert_eq!(serde_json::from_slice::<UpdateRequest>(&text).expect("a request"), request("anna"));
        assert_eq!(std::fs::read_dir(folder.path().join("inbox")).expect("read").count(), 1);
    }

    #[test]
    fn only_the_bundles_that_are_named_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = Inbox::open(folder.path()).expect("made");
        let [kept, old] = [Sha256::of(b"kept"), Sha256::of(b"old")];
        for path in [inbox.whole(kept), inbox.whole(old), inbox.part(old), inbox.download()] {
            std::fs::write(path, "bytes").expect("written");
        }
        inbox.forget_others(&[kept]).expect("removed");
        assert_eq!(inbox.held(kept), Held { offset: 5, is_complete: true });
        assert_eq!(inbox.held(old), Held { offset: 0, is_complete: false });
        assert_eq!(len(&inbox.download()), 5, "it is not theirs to remove");
    }
}
