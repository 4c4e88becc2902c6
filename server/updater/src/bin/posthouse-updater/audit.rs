//! The audit: what has happened, a line of JSON each, with the SHA-256 of the line before it.
//!
//! A line that was taken out or changed shows, unless all that follow were changed, too. The state is not read from here: what
//! is wrong with these files is told, and nothing else.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use posthouse_protocol::update::{HISTORY_SHOWN_MAX, HistoryEntry};
use posthouse_updater::Sha256;
use serde::{Deserialize, Serialize};

use crate::failpoints::reach;
use crate::files;
use crate::kept::Event;

/// From this length on a file is put aside and another one begun, in bytes. The one before it is kept: some thousand lines.
const LEN_MAX: u64 = 256 * 1024;

/// More than such a file can have, in bytes.
const READ_MAX: u64 = 2 * LEN_MAX;

#[derive(Serialize, Deserialize)]
struct Line {
    prev: Sha256,
    #[serde(flatten)]
    event: Event,
}

/// The files, read.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    /// Length of the whole lines, in bytes. What stands behind them was cut off.
    len: u64,
    last: Option<(u64, Sha256)>,
    newest: Vec<HistoryEntry>,
    /// What is wrong with it, for people.
    pub damage: Option<String>,
}

impl Audit {
    /// Reads both files. What can't be read is told as damage.
    pub fn open(folder: &Path) -> Self {
        let path = folder.join("audit");
        let mut audit = Self { path: path.clone(), len: 0, last: None, newest: Vec::new(), damage: None };
        for path in [older(&path), path] {
            if let Err(error) = audit.read(&path) {
                audit.damage = Some(format!("cannot read {}: {error}", path.display()));
            }
        }
        audit
    }

    /// Number of the last event in it.
    pub fn last(&self) -> u64 {
        self.last.map_or(0, |(n, _)| n)
    }

    /// The newest entries, the newest first.
    pub fn newest(&self) -> Vec<HistoryEntry> {
        self.newest.iter().rev().take(HISTORY_SHOWN_MAX).cloned().collect()
    }

    /// Takes the events that it does not have yet, durably.
    ///
    /// # Errors
    /// When the disk fails. Then it has none of them.
    pub fn append(&mut self, events: &[Event]) -> io::Result<()> {
        let new: Vec<&Event> = events.iter().filter(|event| event.n > self.last()).collect();
        if new.is_empty() {
            return Ok(());
        }
        if self.len > LEN_MAX {
            self.rotate()?;
        }
        let (mut text, mut prev) = (String::new(), self.last.map_or(NONE, |(_, hash)| hash));
        for event in &new {
            let line = serde_json::to_string(&Line { prev, event: (*event).clone() })?;
            prev = Sha256::of(line.as_bytes());
            text += &line;
            text.push('\n');
        }
        let mut file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&self.path)?;
        // What was cut off goes, and so does what can't be written whole.
        file.set_len(self.len)?;
        file.seek(SeekFrom::End(0))?;
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()) {
            let _ = file.set_len(self.len);
            return Err(error);
        }
        if self.len == 0 {
            files::sync_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        }
        self.len += text.len() as u64;
        self.newest.extend(new.iter().map(|event| event.entry.clone()));
        self.last = new.last().map(|event| (event.n, prev));
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, older(&self.path))?;
        self.len = 0;
        reach("audit.rotated");
        Ok(())
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(READ_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        self.len = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            self.len += line.len() as u64 + 1;
            let hash = Sha256::of(line);
            let n = match serde_json::from_slice::<Line>(line) {
                Ok(Line { prev, event }) => {
                    if self.last.is_some_and(|(_, last)| last != prev) {
                        self.changed(event.n);
                    }
                    self.newest.push(event.entry);
                    event.n
                }
                Err(_) => {
                    self.changed(self.last() + 1);
                    self.last()
                }
            };
            self.last = Some((n, hash));
        }
        // Only the newest are shown.
        let surplus = self.newest.len().saturating_sub(HISTORY_SHOWN_MAX);
        self.newest.drain(..surplus);
        Ok(())
    }

    fn changed(&mut self, n: u64) {
        self.damage.get_or_insert(format!("the audit was changed at its entry {n} or before"));
    }
}

/// Stands in the first line.
const NONE: Sha256 = Sha256::from_bytes([0; 32]);

fn older(path: &Path) -> PathBuf {
    path.with_extension("1")
}
