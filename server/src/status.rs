//! The status file: what the server tells the box's other programs of itself (see [`posthouse_protocol::appliance`]).
//!
//! Written whole and put in place by a rename, when something has changed, at most once a second. It holds the claim code, so
//! that only root and the server's own user can read it. The composition starts it; it reads from everywhere and changes nothing.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use posthouse_protocol::appliance::{Settings, Status};
use tokio::sync::watch;

use crate::claim::Claim;
use crate::names::Names;
use crate::router::Router;
use crate::{VERSION, clock};

/// How often it is looked whether anything has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Free space is told in steps of this many bytes, so that not every message is a change.
const FREE_STEP: u64 = 16 * 1024 * 1024;

/// Writes the status file.
pub struct Reporter {
    /// Where it is.
    pub file: PathBuf,
    /// Whose disk is looked at.
    pub data_dir: PathBuf,
    /// What the box's owner wants.
    pub settings: Arc<Settings>,
    /// Whose the box is.
    pub claim: Claim,
    /// Who is connected.
    pub router: Router,
    /// Where the box is found.
    pub names: watch::Receiver<Names>,
    /// What else those who look after the box should know.
    pub notice: Box<dyn Fn() -> Option<String> + Send + Sync>,
}

impl Reporter {
    /// Keeps the file as things are. Runs until it is dropped.
    pub async fn keep(self) {
        let mut kept = Kept::new(self.file.clone());
        loop {
            self.claim.renew().await;
            kept.update(self.status());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn status(&self) -> Status {
        let mut status = Status {
            fingerprint: self.claim.fingerprint(),
            ownership: self.claim.ownership(),
            clients: u32::try_from(self.router.session_count()).unwrap_or(u32::MAX),
            free_bytes: free(&self.data_dir).map(|free| free / FREE_STEP * FREE_STEP),
            ..of_each(&self.names, &self.settings)
        };
        status.warnings.extend((self.notice)());
        status
    }
}

/// Writes the status file of a server that serves its rescue page only.
pub struct Apology {
    /// Where it is.
    pub file: PathBuf,
    /// What the box's owner wants.
    pub settings: Settings,
    /// Where the box is found.
    pub names: watch::Receiver<Names>,
    /// Why there is no chat.
    pub reason: String,
}

impl Apology {
    /// Keeps the file as things are. Runs until it is dropped.
    pub async fn keep(self) {
        let mut kept = Kept::new(self.file.clone());
        loop {
            kept.update(self.status());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn status(&self) -> Status {
        Status { rescue: Some(self.reason.clone()), ..of_each(&self.names, &self.settings) }
    }
}

/// What each server says, also one that can't chat.
fn of_each(names: &watch::Receiver<Names>, settings: &Settings) -> Status {
    let names = names.borrow().clone();
    Status {
        version: VERSION.to_owned(),
        site_name: settings.site_name.clone(),
        language: settings.language,
        names: names.dns(),
        addresses: names.addresses,
        time_synchronised: clock::is_synchronised(),
        warnings: settings.problems.clone(),
        ..Status::default()
    }
}

/// The file, and what stands in it.
struct Kept {
    file: PathBuf,
    written: Option<Status>,
    has_failed: bool,
}

impl Kept {
    fn new(file: PathBuf) -> Self {
        Self { file, written: None, has_failed: false }
    }

    fn update(&mut self, status: Status) {
        if self.written.as_ref() == Some(&status) {
            return;
        }
        match write(&self.file, &status) {
            Ok(()) => (self.written, self.has_failed) = (Some(status), false),
            Err(error) if !self.has_failed => {
                tracing::warn!(%error, file = %self.file.display(), "the status file can't be written");
                self.has_failed = true;
            }
            Err(_) => {}
        }
    }
}

/// Bytes that the server can still write there.
fn free(folder: &Path) -> Option<u64> {
    let found = nix::sys::statvfs::statvfs(folder).ok()?;
    Some(found.blocks_available().saturating_mul(found.fragment_size()))
}

fn write(file: &Path, status: &Status) -> std::io::Result<()> {
    let unfinished = file.with_extension("new");
    // One that a dead server left may have other rights.
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut text = serde_json::to_vec_pretty(status)?;
    text.push(b'\n');
    let mut opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    opened.write_all(&text)?;
    std::fs::rename(&unfinished, file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_file_is_replaced_whole_and_nobody_else_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("status.json");
        std::fs::write(folder.path().join("status.new"), "left over").expect("written");
        for clients in [1, 2] {
            let status = Status { clients, ..Status::default() };
            write(&file, &status).expect("written");
            let text = std::fs::read(&file).expect("read");
            assert_eq!(serde_json::from_slice::<Status>(&text).expect("a status"), status);
            assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[test]
    fn there_is_room_where_the_root_is() {
        assert!(free(Path::new("/")).is_some_and(|free| free > 0));
    }
}
