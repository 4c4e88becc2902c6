//! What people are told: what the updater says of itself, and what the server knows beside.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use posthouse_protocol::update::{
    AvailableUpdate, UpdateProgress, UpdateSource, UpdateState, UpdateStatus, UpdateStep,
};

use super::head::is_newer;
use super::kept::{Found, Kept};
use super::schedule::{day, postponed_until};
use super::{Live, Updates};
use crate::VERSION;

/// Longest status file, in bytes: 50 entries of history with their reasons have a tenth of it.
const STATUS_LEN_MAX: u64 = 256 * 1024;

impl Updates {
    /// What the updater says.
    pub(super) fn state(&self) -> UpdateState {
        let read = self.status_file.as_deref().map(read);
        let mut state = read
            .unwrap_or_else(|| Ok(UpdateState::default()))
            .unwrap_or_else(|trouble| UpdateState { trouble: Some(trouble), ..UpdateState::default() });
        if state.current.version.is_empty() {
            VERSION.clone_into(&mut state.current.version);
        }
        state
    }

    /// Everything.
    pub(super) fn status(&self) -> UpdateStatus {
        let (state, now_ms) = (self.state(), (self.senses.now_ms)());
        let Live { kept, progress, problem, .. } = self.live().clone();
        let available = newer(&kept, &state).map(|found| self.available(found, &kept, now_ms));
        let stale = state.current.expires_day.is_some_and(|expires| u64::from(expires) <= day(now_ms));
        let notice = available.as_ref().and_then(|available| {
            let due = self.schedule.shown(available.due_ms?.max(now_ms));
            let what = if available.due_ms? <= now_ms { "in the next window".to_owned() } else { format!("on {due}") };
            Some(format!(
                "Version {} is installed by itself {what}, unless `posthouse update postpone` puts it off.",
                available.version
            ))
        });
        let progress = progress.or_else(|| self.step(&state).map(|what| UpdateProgress { what, done: 0, total: 0 }));
        UpdateStatus { source: self.source_info(&kept, now_ms), available, progress, stale, notice, problem, state }
    }

    fn step(&self, state: &UpdateState) -> Option<UpdateStep> {
        match &state.trial {
            Some(_) => Some(UpdateStep::Trying),
            None if state.busy || self.inbox.as_ref().is_some_and(super::inbox::Inbox::is_asked) => {
                Some(UpdateStep::Verifying)
            }
            None => None,
        }
    }

    fn available(&self, found: &Found, kept: &Kept, now_ms: u64) -> AvailableUpdate {
        let due_ms = if self.paused().is_none() { self.schedule.due_ms(kept, now_ms) } else { None };
        let here = found.bundle.filter(|hash| self.inbox.as_ref().is_some_and(|inbox| inbox.held(*hash).is_complete));
        AvailableUpdate {
            version: found.version.clone(),
            generation: found.generation,
            seq: found.seq,
            notes: found.notes.clone(),
            length: found.length,
            bundle: here.map(|hash| hash.to_string()),
            due_ms: due_ms.filter(|_| !self.is_given_up(found)),
        }
    }

    fn source_info(&self, kept: &Kept, now_ms: u64) -> UpdateSource {
        UpdateSource {
            url: self.settings.url.clone(),
            channel: self.settings.channel.clone(),
            automatic: self.settings.automatic,
            window: self.settings.window.to_string(),
            checked_ms: kept.checked_ms,
            postponed_until_ms: postponed_until(kept, now_ms),
            paused: self.settings.url.as_ref().and_then(|_| self.paused()),
        }
    }

    /// Why nothing is installed without anybody asking for it.
    pub(super) fn paused(&self) -> Option<String> {
        let reason = match &self.source {
            Err(error) => return Some(error.to_string()),
            Ok(None) => "no update URL is set",
            Ok(Some(_)) if !self.settings.automatic => "the owner wants to do it by hand (automatic = false)",
            Ok(Some(_)) if !(self.senses.is_synchronised)() => "no time server has set the box's clock",
            Ok(Some(_)) => return None,
        };
        Some(reason.to_owned())
    }

    /// Whether the updater has said of this very version that it will not do.
    pub(super) fn is_given_up(&self, found: &Found) -> bool {
        use posthouse_protocol::update::UpdateOutcome::RolledBack;
        let state = self.state();
        let was_tried = state
            .last
            .is_some_and(|last| last.outcome == RolledBack && last.version.as_deref() == Some(found.version.as_str()));
        let bundle = found.bundle.map(|hash| hash.to_string());
        was_tried || state.refused.is_some_and(|refused| refused.bundle.is_some() && refused.bundle == bundle)
    }
}

/// What was found, as long as it is newer than what was confirmed.
pub fn newer<'a>(kept: &'a Kept, state: &UpdateState) -> Option<&'a Found> {
    kept.found.as_ref().filter(|found| is_newer(found.generation, found.seq, state.ratchet))
}

fn read(file: &Path) -> Result<UpdateState, String> {
    let mut text = Vec::new();
    match File::open(file).and_then(|file| file.take(STATUS_LEN_MAX).read_to_end(&mut text)) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("the box's updater has not said anything yet".to_owned())
        }
        Err(error) => Err(format!("what the box's updater says can't be read: {error}")),
        Ok(_) => serde_json::from_slice(&text).map_err(|error| format!("what the box's updater says is odd: {error}")),
    }
}
