//! What the units' processes write, with the unit's name before it.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// All lines; clones share them.
#[derive(Clone)]
pub struct Journal {
    lines: Arc<Mutex<Vec<String>>>,
    began: Instant,
}

impl Journal {
    /// An empty one.
    pub fn new() -> Self {
        Self { lines: Arc::default(), began: Instant::now() }
    }

    /// Reads a process's stream to its end, on a thread of its own.
    pub fn follow(&self, unit: &str, stream: impl Read + Send + 'static) {
        let (journal, unit) = (self.clone(), unit.to_owned());
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                journal.note(&unit, &String::from_utf8_lossy(&line));
            }
        });
    }

    /// Adds a line, which also goes to the test's output.
    pub fn note(&self, unit: &str, line: &str) {
        let line = format!("{:8.3} {unit}: {line}", self.began.elapsed().as_secs_f64());
        println!("  | {line}");
        self.lines.lock().expect("no writer panics").push(line);
    }

    /// The lines so far that hold these words.
    pub fn with(&self, words: &str) -> Vec<String> {
        self.lines.lock().expect("no writer panics").iter().filter(|line| line.contains(words)).cloned().collect()
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}
