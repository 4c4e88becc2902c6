//! A code that the box shows, and whoever types one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use posthouse_protocol::claim::ClaimCode;

use super::codes::Codes;
use super::{Refused, keeping};
use crate::admission::Visitor;

/// What is shown for one purpose.
pub(super) struct Posted {
    codes: Mutex<Codes>,
    /// Where they are kept over a restart.
    file: PathBuf,
    is_used: AtomicBool,
}

impl Posted {
    pub fn new(codes: Codes, file: PathBuf) -> Self {
        Self { codes: Mutex::new(codes), file, is_used: AtomicBool::new(false) }
    }

    /// The code as it is to be shown.
    pub fn current(&self) -> String {
        self.codes().current().to_string()
    }

    /// Whether it has served.
    pub fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    /// The code of which that is true, if somebody may try one.
    pub fn check(&self, visitor: &Visitor, is_it: impl Fn(&ClaimCode) -> bool) -> Result<ClaimCode, Refused> {
        let mut found = None;
        let look = || {
            found = self.codes().find(is_it).cloned();
            found.is_some()
        };
        match visitor.try_code(look, Instant::now()) {
            Ok(_) => found.ok_or(Refused::Wrong),
            Err(wait) => Err(Refused::Locked(wait)),
        }
    }

    /// Makes another one, if it is time, and keeps it before anybody sees it.
    pub async fn renew(&self) {
        let next = self.codes().next(Instant::now());
        let Some(next) = next else { return };
        let (file, kept) = (self.file.clone(), next.clone());
        // A card may take its time, and nothing else is to wait for it.
        let written = tokio::task::spawn_blocking(move || keeping::write(&file, &kept)).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::warn!(?written, "the box's code will be another one after a restart");
        }
        *self.codes() = next;
    }

    /// Keeps the codes, at the start.
    pub fn keep(&self) {
        if let Err(error) = keeping::write(&self.file, &self.codes()) {
            tracing::warn!(%error, file = %self.file.display(), "the box's code will be another one after a restart");
        }
    }

    /// Keeps nothing any more.
    pub fn forget(&self) {
        if let Err(error) = keeping::forget(&self.file) {
            tracing::warn!(%error, file = %self.file.display(), "a code that is void can't be removed");
        }
    }

    /// It has served, and does not again, not after a restart either.
    pub async fn use_up(&self) {
        self.is_used.store(true, Ordering::Release);
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || keeping::use_up(&file)).await;
        if !matches!(written, Ok(Ok(()))) {
            tracing::warn!(?written, "the box will ask for a new password of its owner once more after a restart");
        }
    }

    fn codes(&self) -> MutexGuard<'_, Codes> {
        // They are replaced as a whole, so that a panic elsewhere does not matter.
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
