//! The update edge: `/api/v1/update`, bundles from people's devices and from the update URL, and asking the box's updater to
//! install one.
//!
//! It fills the updater's inbox and reads its status file; what is trusted and what runs is the updater's to decide. Of a bundle
//! it reads no more than it takes to show it. Answers its own paths and hands every other request to the handler that it
//! was given. Nothing imports it but the composition.

mod download;
mod fetch;
mod head;
mod inbox;
mod keeper;
mod kept;
mod refusal;
mod report;
mod routes;
mod schedule;
#[cfg(test)]
mod tests;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use jiff::tz::TimeZone;
use posthouse_protocol::appliance::{self, PlainHttp, Settings};
use posthouse_protocol::update::UpdateProgress;
use tokio::sync::{Mutex as Turns, MutexGuard as Turn, Notify};
use tokio::time::Instant;

use crate::clock;
use crate::listener::Handler;
use crate::router::Router;
use crate::shutdown::Shutdown;
use download::Source;
use fetch::FetchError;
use inbox::Inbox;
use kept::{Keeping, Kept};
use refusal::Refused;
use schedule::Schedule;

/// What the composition knows.
pub struct Wiring<'a> {
    /// Says who asks.
    pub router: Router,
    /// What the box's owner wants.
    pub settings: &'a Settings,
    /// The updater's inbox, where there is an updater.
    pub inbox: Option<&'a Path>,
    /// What the updater says of itself.
    pub status_file: Option<PathBuf>,
    /// Where to remember what the update URL has.
    pub data_dir: &'a Path,
    /// When to break off.
    pub stopping: Shutdown,
}

/// The edge.
pub struct Updates {
    router: Router,
    plain_http: PlainHttp,
    settings: appliance::Updates,
    inbox: Option<Inbox>,
    status_file: Option<PathBuf>,
    source: Result<Option<Source>, FetchError>,
    schedule: Schedule,
    keeping: Keeping,
    stopping: Shutdown,
    senses: Senses,
    live: Mutex<Live>,
    /// Held by who sends a bundle.
    sending: Turns<()>,
    /// Held while something comes from the update URL.
    fetching: Turns<()>,
    /// Tells the keeper that something is wanted.
    nudge: Notify,
}

/// What changes.
#[derive(Clone, Debug)]
struct Live {
    kept: Kept,
    progress: Option<UpdateProgress>,
    /// Why the update URL gave nothing last.
    problem: Option<String>,
    /// Since when.
    failed: Option<Instant>,
    /// Who wants what the update URL has, now.
    wanted: Option<String>,
}

/// What tells of the world.
#[derive(Clone, Copy)]
struct Senses {
    /// Milliseconds since 1970.
    now_ms: fn() -> u64,
    /// Whether a time server has set the clock.
    is_synchronised: fn() -> bool,
}

impl Updates {
    /// With what it needs. An inbox that can't be made is as none: it never keeps the server from starting.
    pub fn new(wiring: Wiring<'_>) -> Arc<Self> {
        let settings = wiring.settings.updates.clone();
        let inbox = wiring.inbox.and_then(|folder| match Inbox::open(folder) {
            Ok(inbox) => Some(inbox),
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "the updater's inbox can't be used");
                None
            }
        });
        let source = Source::new(&settings);
        if let Err(error) = &source {
            tracing::warn!(%error, "the box looks for no updates by itself");
        }
        let schedule = Schedule { window: settings.window, zone: TimeZone::system() };
        let keeping = Keeping::new(wiring.data_dir);
        let kept = keeping.read();
        let live = Live { kept, progress: None, problem: None, failed: None, wanted: None };
        Arc::new(Self {
            router: wiring.router,
            plain_http: wiring.settings.plain_http,
            settings,
            inbox,
            status_file: wiring.status_file,
            source,
            schedule,
            keeping,
            stopping: wiring.stopping,
            senses: Senses { now_ms, is_synchronised: clock::is_synchronised },
            live: Mutex::new(live),
            sending: Turns::default(),
            fetching: Turns::default(),
            nudge: Notify::new(),
        })
    }

    /// Answers what is about updates, and leaves the rest to `other`.
    pub fn handler(self: &Arc<Self>, other: Handler) -> Handler {
        let updates = Arc::clone(self);
        Arc::new(move |request, visit| {
            if !routes::is_ours(request.uri().path()) {
                return other(request, visit);
            }
            let updates = Arc::clone(&updates);
            Box::pin(async move { updates.respond(request, visit).await })
        })
    }

    /// What those who look after the box should know, a line for people, if there is something.
    pub fn notice(&self) -> Option<String> {
        // Asked every second, and mostly there is nothing.
        self.live().kept.found.as_ref()?;
        self.status().notice
    }

    fn inbox(&self) -> Result<&Inbox, Refused> {
        self.inbox.as_ref().ok_or(Refused::NoUpdater)
    }

    fn sending(&self) -> Result<Turn<'_, ()>, Refused> {
        let busy = |_| Refused::Conflict("a bundle is being sent already: wait for it".to_owned());
        self.sending.try_lock().map_err(busy)
    }

    fn fetching(&self) -> Result<Turn<'_, ()>, Refused> {
        let busy = |_| Refused::Conflict("the box is at its update URL already: wait for it".to_owned());
        self.fetching.try_lock().map_err(busy)
    }

    fn kept(&self) -> Kept {
        self.live().kept.clone()
    }

    fn tell(&self, progress: Option<UpdateProgress>) {
        self.live().progress = progress;
    }

    /// Remembers it, over a restart as well, if the card takes it.
    fn keep_in_mind(&self, live: &mut Live, kept: Kept) {
        if live.kept != kept {
            if let Err(error) = self.keeping.write(&kept) {
                tracing::warn!(%error, "what the update URL has will be forgotten at the next restart");
            }
            live.kept = kept;
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        // Each change leaves it whole, so that a panic elsewhere does not matter.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
