//! The writer thread: the file where a message becomes durable.
//!
//! It takes whatever waits in the queue, up to [`GROUP_LEN_MAX`] commands, decides them one after the
//! other, appends what they come to to the log with one sync, and only then hands out its answers and records. An
//! idle queue adds no delay: a lone command is a group of one. Any error ends the thread, and with it the
//! server: what failed to become durable is never answered, and a failed sync is never tried again.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use posthouse_protocol::TimestampMs;
use tokio::sync::mpsc::error::{SendError, TrySendError};
use tokio::sync::{mpsc, oneshot};

use super::codec::encode;
use super::command::{Group, Write};
use super::committed::Committed;
use super::device_index::SignedOut;
use super::handoff::Handoff;
use super::overlay::Overlay;
use super::queue::Waiting;
use super::record::Entry;
use super::settled::{Reply, Settled};
use super::state::State;
use super::wal::{Log, Storage};
use super::{Answer, StoreError};

/// Most commands in one sync: enough to pay for it, and few enough that the first of them does not wait
/// long for the last.
const GROUP_LEN_MAX: usize = 256;

/// A group is cut when its payload passes this: room is left for one more command of any size.
const PAYLOAD_LEN: usize = super::wal::PAYLOAD_LEN_MAX / 2;

/// What the queue carries.
pub(super) enum Job {
    Write(Box<dyn PendingWrite>),
    Stop,
}

impl Job {
    pub fn write<W: Write>(command: W, reply: oneshot::Sender<Answer<W>>) -> Self {
        Self::Write(Box::new(Queued { command, reply }))
    }
}

/// A command with the way back to its caller, before it was decided.
pub(super) trait PendingWrite: Send {
    fn decide(self: Box<Self>, group: &mut Group<'_>) -> Result<Reply, StoreError>;
}

struct Queued<W: Write> {
    command: W,
    reply: oneshot::Sender<Answer<W>>,
}

impl<W: Write> PendingWrite for Queued<W> {
    fn decide(self: Box<Self>, group: &mut Group<'_>) -> Result<Reply, StoreError> {
        let Self { command, reply } = *self;
        let outcome = command.decide(group)?;
        Ok(Box::new(move || {
            // A caller that went away meanwhile needs no answer; its command stands.
            let _ = reply.send(outcome.map(Committed::after_commit));
        }))
    }
}

/// Everything that the thread owns.
pub(super) struct Writer<S: Storage> {
    pub log: Log<S>,
    pub state: State,
    pub overlay: Overlay,
    pub handoff: Arc<Handoff>,
    pub settled: mpsc::Sender<Settled>,
    pub sign_out: mpsc::Sender<Committed<SignedOut>>,
}

impl<S: Storage> Writer<S> {
    /// Runs until [`Job::Stop`]; then until everything accepted before it is durable.
    pub fn run(mut self, mut jobs: Waiting) -> Result<(), StoreError> {
        let mut waiting = Vec::with_capacity(GROUP_LEN_MAX);
        let mut payload = Vec::new();
        loop {
            jobs.take(&mut waiting, GROUP_LEN_MAX);
            if waiting.is_empty() {
                return Ok(());
            }
            let mut rest = waiting.drain(..).peekable();
            while rest.peek().is_some() {
                let writes = std::iter::from_fn(|| rest.next()).filter_map(|job| match job {
                    Job::Write(write) => Some(write),
                    Job::Stop => {
                        jobs.close();
                        None
                    }
                });
                let settled = self.commit(writes, &mut payload)?;
                if let Err(SendError(settled)) = self.settled.blocking_send(settled) {
                    // A router that is gone has nobody left to tell but those who wait.
                    settled.answer();
                }
            }
        }
    }

    /// One turn of [`Writer::run`] on the caller's thread: a group of `most` commands at most, of those that wait.
    #[cfg(test)]
    pub fn step(&mut self, jobs: &mut Waiting, most: usize) -> Result<bool, StoreError> {
        let mut waiting = std::iter::from_fn(|| jobs.try_take());
        let writes = waiting.by_ref().take(most).filter_map(|job| match job {
            Job::Write(write) => Some(write),
            Job::Stop => None,
        });
        let writes: Vec<_> = writes.collect();
        let found = !writes.is_empty();
        let settled = self.commit(writes.into_iter(), &mut Vec::new())?;
        match self.settled.try_send(settled) {
            Err(TrySendError::Full(_)) => panic!("the fan-out takes what is there between two groups"),
            Err(TrySendError::Closed(settled)) => drop(settled.answer()),
            Ok(()) => {}
        }
        Ok(found)
    }

    /// Makes one group durable. Takes no more commands than fit.
    fn commit(
        &mut self,
        writes: impl Iterator<Item = Box<dyn PendingWrite>>,
        payload: &mut Vec<u8>,
    ) -> Result<Settled, StoreError> {
        let (durable, applied) = self.handoff.position();
        self.log.release(durable);
        self.overlay.begin(self.log.last_number() + 1, applied);
        payload.clear();
        let mut group = Group {
            state: &mut self.state,
            overlay: &mut self.overlay,
            now: now(),
            entries: Vec::new(),
            published: Vec::new(),
            signed_out: Vec::new(),
        };
        let mut answers = Vec::new();
        for write in writes {
            let before = group.entries.len();
            answers.push(write.decide(&mut group)?);
            group.entries[before..].iter().for_each(|entry| encode(entry, payload));
            if payload.len() > PAYLOAD_LEN {
                break;
            }
        }
        let Group { entries, published, signed_out, .. } = group;
        self.overlay.end();
        if !entries.is_empty() {
            self.append(payload, entries)?;
        }
        // From here on the group survives a power cut.
        for devices in signed_out {
            // A router that is gone has no connections left; one that is behind is waited for.
            if let Err(TrySendError::Full(devices)) = self.sign_out.try_send(Committed::after_commit(devices)) {
                let _ = self.sign_out.blocking_send(devices);
            }
        }
        Ok(Settled { answers, records: published.into_iter().map(Committed::after_commit).collect() })
    }

    /// The sync. Where the log is full, waits until the database has made room: acknowledgements pause.
    fn append(&mut self, payload: &[u8], entries: Vec<Entry>) -> Result<(), StoreError> {
        while !self.log.has_room(payload.len()) {
            // A checkpoint may have ended since the group began. Where it had everything, none would ever go beyond it.
            let (durable, _) = self.handoff.position();
            self.log.release(durable);
            if self.log.has_room(payload.len()) {
                break;
            }
            // Behind that look: a checkpoint that ends meanwhile is then one beyond.
            self.handoff.ask_for_checkpoint();
            self.handoff.wait_durable_beyond(durable)?;
        }
        let segment = self.log.current_segment();
        let number = self.log.append(payload)?;
        if self.log.current_segment() != segment {
            // Long before this segment is full, too, the other one is free again.
            self.handoff.ask_for_checkpoint();
        }
        self.handoff.push(number, entries)
    }
}

fn now() -> TimestampMs {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redb::Builder;

    use super::super::crash_tests::{DATABASE, Disk, new_files};
    use super::super::database::check_versions;
    use super::super::replay::Replay;
    use super::super::{Assembled, Store};

    #[test]
    fn a_full_log_whose_frames_became_durable_meanwhile_is_not_waited_for() {
        let (disk, name) = (Disk::with(new_files()), std::path::Path::new("full"));
        let database = Builder::new().create_with_backend(disk.file(DATABASE)).expect("opens");
        let (epoch, applied) = check_versions(&database, name).expect("sound");
        let replay = Replay::new(name, disk.segments(), epoch, applied).expect("sound");
        let log = replay.apply(&database).expect("replayed");
        let Assembled { mut writer, .. } = Store::assemble(database, log, epoch).expect("assembled");
        while writer.log.has_room(1) {
            writer.append(b"x", Vec::new()).expect("appended");
        }
        // A checkpoint between the beginning of a group and the moment when it is appended.
        writer.handoff.applied(writer.log.last_number(), true);
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(writer.append(b"x", Vec::new())));
        is_done.recv_timeout(Duration::from_secs(5)).expect("no checkpoint can make more room").expect("appended");
    }
}
