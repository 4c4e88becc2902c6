//! What a process writes, line by line, while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::wait::BOUND;

/// The lines of one stream; clones share them.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<Lines>, Condvar)>,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads a stream to its end, on a thread of its own. The lines also go to the test's output.
    pub fn follow(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let shared = Arc::clone(&log.shared);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                println!("  | {line}");
                shared.0.lock().expect("no reader panics").lines.push(line);
                shared.1.notify_all();
            }
            shared.0.lock().expect("no reader panics").ended = true;
            shared.1.notify_all();
        });
        log
    }

    /// Waits for a line in which `pick` finds something; `None` when the stream ended without one.
    ///
    /// # Panics
    /// When neither happens within the bound.
    pub fn find<T>(&self, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + BOUND;
        let mut lines = self.shared.0.lock().expect("no reader panics");
        let mut seen = 0;
        loop {
            if let Some(found) = lines.lines[seen..].iter().find_map(|line| pick(line)) {
                return Some(found);
            }
            if lines.ended {
                return None;
            }
            seen = lines.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the line that was waited for did not come; there were: {:#?}", lines.lines);
            lines = self.shared.1.wait_timeout(lines, left).expect("no reader panics").0;
        }
    }

    /// How many lines so far hold these words.
    pub fn count(&self, words: &str) -> usize {
        self.shared.0.lock().expect("no reader panics").lines.iter().filter(|line| line.contains(words)).count()
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.shared.0.lock().expect("no reader panics").lines.join("\n")
    }

    /// Everything, once the stream has ended.
    pub fn whole_text(&self) -> String {
        let never: Option<()> = self.find(|_| None);
        debug_assert!(never.is_none());
        self.text()
    }
}
