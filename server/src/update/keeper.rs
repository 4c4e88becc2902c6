//! What the server does about the update URL: looking, downloading, handing over. One thing at a time, in one task; requests
//! only say what is wanted.

use std::sync::Arc;
use std::time::Duration;

use posthouse_protocol::update::UpdateRequest;
use tokio::time::Instant;

use super::Updates;
use super::download::Source;
use super::fetch::FetchError;
use super::inbox::{self, Inbox};
use super::kept::{Asked, Found};
use super::refusal::Refused;
use super::report::newer;
use super::schedule::{Now, Step};

/// So often it is seen what is due.
const TURN: Duration = Duration::from_secs(30);

/// After a failure nothing is tried again without anybody asking for it for so long.
const RETRY: Duration = Duration::from_secs(3600);

/// Looking, downloading, looking again because the file has changed, downloading, handing over; whatever takes more has no end.
const STEPS_MAX: usize = 6;

/// A box that has just started waits for up to so long, in seconds: after a power cut they all start at once.
const START_SPREAD_S: u64 = 300;

/// Who wanted what nobody asked for, as the audit has it.
const BY_ITSELF: &str = "automatic";

impl Updates {
    /// Keeps to the schedule, and to what is wanted. Runs until it is dropped.
    pub async fn keep(self: Arc<Self>) {
        let (Some(inbox), Ok(Some(source))) = (&self.inbox, &self.source) else {
            // What is wrong with the settings is told by the status.
            return std::future::pending().await;
        };
        let mut wait = TURN + Duration::from_secs(self.kept().seed % START_SPREAD_S);
        loop {
            let is_wanted = tokio::time::timeout(wait, self.nudge.notified()).await.is_ok();
            wait = TURN;
            let is_resting = self.live().failed.is_some_and(|failed| failed.elapsed() < RETRY);
            if is_wanted || !is_resting {
                self.turn(inbox, source).await;
            }
        }
    }

    /// Does what is due, one step after the other, until nothing is.
    pub(super) async fn turn(&self, inbox: &Inbox, source: &Source) {
        for _ in 0..STEPS_MAX {
            let wanted = self.live().wanted.clone();
            let done = match self.due(wanted.as_deref()) {
                Step::Nothing => return,
                Step::Look => self.look(source, inbox).await,
                Step::Download => self.fetch(source, inbox).await,
                Step::Install => self.hand_over(inbox, wanted.as_deref()),
            };
            if let Err(error) = done {
                return self.rest(&error.to_string());
            }
        }
        self.rest("what the update URL has changes all the time");
    }

    /// Does nothing more for a while, and says why.
    fn rest(&self, reason: &str) {
        tracing::warn!(reason, "no update from the update URL");
        let mut live = self.live();
        live.problem = Some(reason.to_owned());
        live.failed = Some(Instant::now());
        live.wanted = None;
    }

    pub(super) fn due(&self, wanted: Option<&str>) -> Step {
        let (state, mut kept) = (self.state(), self.kept());
        kept.found = newer(&kept, &state).cloned();
        let is_here = |found: &Found| {
            found.bundle.is_some_and(|hash| self.inbox.as_ref().is_some_and(|inbox| inbox.held(hash).is_complete))
        };
        let is_given_up = kept.found.as_ref().is_some_and(|found| self.is_given_up(found));
        if let Some(found) = kept.found.as_mut().filter(|found| !is_here(found)) {
            found.bundle = None;
        }
        if wanted.is_some() {
            return match &kept.found {
                None => Step::Look,
                Some(found) if found.bundle.is_none() => Step::Download,
                Some(_) => Step::Install,
            };
        }
        if !(self.senses.is_synchronised)() {
            return Step::Nothing;
        }
        let is_automatic = self.settings.automatic && !is_given_up;
        let is_busy = state.busy || state.trial.is_some() || self.inbox.as_ref().is_some_and(Inbox::is_asked);
        self.schedule.step(Now { ms: (self.senses.now_ms)(), kept: &kept, is_automatic, is_busy })
    }

    /// Sees what the update URL has, and remembers it if it is newer.
    pub(super) async fn look(&self, source: &Source, inbox: &Inbox) -> Result<(), Refused> {
        let _fetching = self.fetching()?;
        let seen = source.head().await;
        let (head, etag) = seen.inspect_err(|error| self.live().problem = Some(error.to_string()))?;
        let now_ms = (self.senses.now_ms)();
        let mut kept = self.kept();
        let mut found = Found::new(&head, now_ms, etag);
        let before = kept.found.take();
        match before {
            Some(before) if before.identity == found.identity && before.etag == found.etag => {
                found = before;
            }
            before => {
                // The same release is no news, and its notice has begun; its bytes may be others.
                if let Some(same) = before.as_ref().filter(|before| before.identity == found.identity) {
                    found.found_ms = same.found_ms;
                }
                inbox::remove(&inbox.download())?;
                if let Some(old) = before.and_then(|before| before.bundle)
                    && !inbox.is_asked()
                {
                    inbox.forget(old)?;
                }
            }
        }
        kept.found = Some(found);
        kept.checked_ms = Some(now_ms);
        kept.found = newer(&kept, &self.state()).cloned();
        let mut live = self.live();
        live.problem = None;
        live.failed = None;
        self.keep_in_mind(&mut live, kept);
        Ok(())
    }

    /// Brings what was found into the inbox.
    pub(super) async fn fetch(&self, source: &Source, inbox: &Inbox) -> Result<(), Refused> {
        let fetching = self.fetching()?;
        let Some(found) = self.kept().found else { return Ok(()) };
        let fetched = source.download(&found, inbox, |progress| self.tell(Some(progress))).await;
        self.tell(None);
        drop(fetching);
        let bundle = match fetched {
            Ok(bundle) => bundle,
            // Once: what changes all the time is not to be had.
            Err(Refused::Source(FetchError::Changed)) => {
                self.look(source, inbox).await?;
                let again =
                    self.kept().found.filter(|again| again.identity != found.identity || again.etag != found.etag);
                return again.map(|_| ()).ok_or_else(|| FetchError::Changed.into());
            }
            Err(error) => return Err(error),
        };
        let mut live = self.live();
        let mut kept = live.kept.clone();
        if let Some(found) = kept.found.as_mut().filter(|now| now.identity == found.identity) {
            found.bundle = Some(bundle);
        }
        tracing::info!(version = found.version, %bundle, "an update was downloaded");
        live.problem = None;
        self.keep_in_mind(&mut live, kept);
        Ok(())
    }

    /// Asks the updater for what lies in the inbox.
    fn hand_over(&self, inbox: &Inbox, wanted: Option<&str>) -> Result<(), Refused> {
        let kept = self.kept();
        let Some((found, bundle)) = kept.found.as_ref().and_then(|found| Some((found, found.bundle?))) else {
            return Ok(());
        };
        let by = wanted.unwrap_or(BY_ITSELF).to_owned();
        tracing::info!(version = found.version, by, "an update from the update URL is handed to the updater");
        let asked = inbox.ask(&UpdateRequest::Install { bundle: bundle.to_string(), by });
        let mut live = self.live();
        live.wanted = None;
        asked?;
        let asked = Some(Asked { identity: found.identity, at_ms: (self.senses.now_ms)() });
        let kept = super::kept::Kept { asked, ..kept };
        self.keep_in_mind(&mut live, kept);
        Ok(())
    }
}
