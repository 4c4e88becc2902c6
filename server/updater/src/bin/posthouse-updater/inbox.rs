//! `inbox`: does what the server asks for: tries a bundle that it has got, or goes back to the version before.
//!
//! The server is on the network, so nothing that it says is believed: neither the request nor the bundle, and neither is used
//! where the server could still change it. It can ask for nothing that the keys have not signed, or that is below the ratchet.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use posthouse_protocol::update::{UpdateRefusal, UpdateRequest};
use posthouse_updater::{Slot, State};

use crate::failpoints::reach;
use crate::kept::{now_ms, short};
use crate::measure::{Baseline, Sample};
use crate::paths::Paths;
use crate::records::{LOCK_WAIT, Records, Transition};
use crate::request::Request;
use crate::{control, files, pick, request, say, selfcheck, slots, verify};

/// Uploads that nobody goes on with are removed after this time. By the box's clock; at worst one begins anew.
const PART_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// For this long at least it is measured what the server takes.
const MEASURED: Duration = Duration::from_secs(1);

/// Answers one request, and what was interrupted before it.
///
/// # Errors
/// When another one is being carried out, or the disk fails.
pub fn run(paths: &Paths) -> anyhow::Result<()> {
    pick::prepare(paths);
    let _turn = turn(paths)?;
    // What is left over takes space that a new version needs.
    drop(tidy(paths)?);
    while let Some(request) = request::take(paths)? {
        answer(paths, &request)?;
        tidy(paths)?;
        // Last: as long as it is there, the next start goes on with what is left to do.
        request.forget(paths)?;
    }
    restart_if_another_runs(tidy(paths)?)
}

/// One at a time: what the second one finds half done would not be what it seems.
///
/// # Errors
/// When another one is being carried out.
pub fn turn(paths: &Paths) -> anyhow::Result<File> {
    let path = paths.state_dir.join("turn");
    let open = || OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path);
    let file = open().with_context(|| format!("nothing can be installed: cannot use {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another request is being carried out: wait for it"),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the inbox"),
    }
}

fn answer(paths: &Paths, request: &Request) -> anyhow::Result<()> {
    let mut records = Records::open(paths, LOCK_WAIT);
    // It was answered, and the power went before that was tidied up.
    if records.kept.answered != Some(request.number) {
        records.is_busy = true;
        records.tell();
        let refused = match &request.content {
            Ok(UpdateRequest::Install { .. }) => install(records, request),
            Ok(UpdateRequest::Rollback { by, needs }) => go_back(records, request, by, *needs),
            Err(error) => {
                drop(records);
                Err(anyhow!("{error:#}"))
            }
        };
        if let Err(error) = refused {
            refuse(paths, request, &format!("{error:#}"));
        }
    }
    if let Some((_, bundle)) = request.bundle(paths) {
        files::remove_all(&bundle)?;
    }
    reach("bundle.removed");
    Ok(())
}

fn install(records: Records, request: &Request) -> anyhow::Result<()> {
    let paths = records.paths.clone();
    let (state, trust) = (records.kept.state.clone(), records.trust.clone());
    // The server may be started meanwhile.
    drop(records);
    let trust = trust.map_err(|reason| anyhow!("{reason}"))?;
    may_stage_anything(&state)?;
    let (hash, bundle) = request.bundle(&paths).context("the request names its bundle by no SHA-256")?;
    let before = Measurement::begin(&paths);
    let slot = verify::install(&paths, &state, &trust, (hash, &bundle))?;
    let baseline = before.and_then(Measurement::end);
    let mut records = Records::open(&paths, LOCK_WAIT);
    let mut next = records.kept.clone();
    let version = slot.version.to_string();
    next.state.stage(slot)?;
    next.baseline = baseline;
    next.answered = Some(request.number);
    next.refused = None;
    records.note(&mut next, "installed", Some(version), request.by(), None);
    records.commit(Transition::Stage, next)
}

/// Before much work is done for nothing.
fn may_stage_anything(state: &State) -> anyhow::Result<()> {
    match &state.trial {
        Some(trial) => Err(posthouse_updater::StateError::TrialUnderWay(trial.slot.version.clone()).into()),
        None => Ok(()),
    }
}

fn go_back(mut records: Records, request: &Request, by: &str, needs: u32) -> anyhow::Result<()> {
    let trust = records.trust.clone().map_err(|reason| anyhow!("{reason}"))?;
    let mut next = records.kept.clone();
    let schema = match &next.state.previous {
        Some(Slot::Factory) => selfcheck::run(&records.paths, &records.paths.factory)?.schema,
        // It says so itself.
        _ => 0,
    };
    next.state.go_back(&trust, schema, needs)?;
    slots::check(&records.paths, &next.state.current)?;
    next.answered = Some(request.number);
    next.refused = None;
    records.end(Transition::GoBack, next, Some(by))
}

/// One clear line: in the status, the log and the audit.
fn refuse(paths: &Paths, request: &Request, reason: &str) {
    let reason = short(reason);
    say(&format!("refused: {reason}"));
    let mut records = Records::open(paths, LOCK_WAIT);
    let mut next = records.kept.clone();
    let bundle = request.bundle(paths).map(|(hash, _)| hash.to_string());
    next.refused = Some(UpdateRefusal { reason: reason.clone(), at_ms: now_ms(), bundle });
    next.answered = Some(request.number);
    records.note(&mut next, "refused", None, request.by(), Some(&reason));
    if let Err(error) = records.commit(Transition::Refuse, next) {
        records.trouble(format!("a request was refused: {reason}; and that can't be kept: {error:#}"));
        records.tell();
    }
}

/// Removes what is not needed any more: copies, slots that were never whole, that were given up, or of old versions; and uploads
/// that nobody goes on with.
fn tidy(paths: &Paths) -> anyhow::Result<Records> {
    let records = Records::open(paths, LOCK_WAIT);
    for path in left_over(&records).into_iter().chain(old_parts(&paths.inbox)) {
        files::remove_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    records.tell();
    reach("inbox.cleaned");
    Ok(records)
}

/// What an interrupted program, or a trial that was given up, has left. Requests that were interrupted are not among it.
fn left_over(records: &Records) -> Vec<PathBuf> {
    let (paths, needed) = (&records.paths, records.kept.state.needed());
    let needed: Vec<PathBuf> = needed.into_iter().map(|sha256| paths.slot(sha256)).collect();
    let slots = entries(&paths.slots()).filter(|path| records.is_known && !needed.contains(path));
    entries(&paths.incoming()).filter(|path| !request::is_copy(path)).chain(slots).collect()
}

/// Whether there is something to be done for `inbox` although nobody asks.
pub fn is_due(records: &Records) -> bool {
    records.is_writable() && (request::is_interrupted(&records.paths) || !left_over(records).is_empty())
}

/// Has the server started anew where something else runs than should.
///
/// # Errors
/// When the service manager does not do it.
pub fn restart_if_another_runs(records: Records) -> anyhow::Result<()> {
    let (paths, state) = (records.paths.clone(), records.kept.state.clone());
    // The next start waits for the records.
    drop(records);
    let should = state.trial.map_or(state.current, |trial| Slot::Installed(trial.slot));
    let runs = paths.link().read_link();
    // Without a link nothing was started yet.
    if runs.is_ok_and(|runs| runs != paths.program(&should)) {
        control::restart_server(&paths)?;
    }
    Ok(())
}

fn entries(folder: &PathBuf) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn old_parts(inbox: &PathBuf) -> impl Iterator<Item = PathBuf> + use<> {
    let now = SystemTime::now();
    entries(inbox).filter(move |path| {
        let modified = path.symlink_metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
        path.extension().is_some_and(|extension| extension == "part") && age.is_some_and(|age| age > PART_KEPT)
    })
}

/// What the server takes while the bundle is verified.
struct Measurement {
    pid: u32,
    first: Sample,
    begun: std::time::Instant,
}

impl Measurement {
    fn begin(paths: &Paths) -> Option<Self> {
        let pid = control::server(paths).ok()?.pid?;
        Some(Self { pid, first: Sample::of(pid)?, begun: std::time::Instant::now() })
    }

    fn end(self) -> Option<Baseline> {
        std::thread::sleep(MEASURED.saturating_sub(self.begun.elapsed()));
        let last = Sample::of(self.pid)?;
        Some(Baseline { resident: last.resident, cores: last.cores_since(&self.first) })
    }
}
