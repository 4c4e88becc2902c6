//! Keeps the console of a failed boot where a person finds it, and shows its end.

use std::path::Path;

/// Enough to see what the box was at.
const LINES_SHOWN: usize = 25;

/// Says where the console's log is and prints its last lines; for use when the test is about to fail.
pub fn show_end(log: &Path) {
    let Ok(bytes) = std::fs::read(log) else { return };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LINES_SHOWN);
    eprintln!("test-image: the end of the console:");
    for line in &lines[from..] {
        eprintln!("    {}", line.trim_end());
    }
    eprintln!("test-image: the whole console is in {}", log.display());
}
