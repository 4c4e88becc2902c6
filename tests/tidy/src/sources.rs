//! What every source file owes its reader: a head that says what the module is for, a length that can be read in one
//! sitting, and no mark of unfinished work.

use crate::{File, Finding};

/// Past this a file does more than one job.
const LINES_MAX: usize = 500;

/// Written in two halves, so that this file does not find itself.
const MARKS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("dbg", "!"),
];

/// Files that are text but not ours to shape.
const FOREIGN: [&str; 3] = ["Cargo.lock", "package-lock.json", "LICENSE"];

/// Findings in one source file; none in files that others shape.
pub fn check(file: &File) -> Vec<Finding> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if FOREIGN.iter().any(|foreign| name.starts_with(foreign)) {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = file
        .lines()
        .flat_map(|(number, line)| {
            MARKS.iter().filter(move |mark| has_word(line, mark)).map(move |mark| (number, mark))
        })
        .map(|(number, mark)| {
            file.finding(number, format!("`{mark}` marks unfinished work: finish it, or take it out"))
        })
        .collect();
    if !matches!(file.extension(), "rs" | "ts" | "tsx") {
        return findings;
    }
    let count = file.text.lines().count();
    if count > LINES_MAX {
        findings
            .push(file.finding(count, format!("{count} lines are more than {LINES_MAX}: split the file by its jobs")));
    }
    if file.extension() == "rs" && !file.text.starts_with("//! ") {
        findings.push(file.finding(1, "open the module with `//!`: what it owns, what it must never do, who calls it"));
    }
    findings
}

/// True when `mark` stands in the line and is not part of a longer word.
fn has_word(line: &str, mark: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(mark).any(|(at, _)| {
        let after = &line[at + mark.len()..];
        !line[..at].ends_with(is_word) && (mark.ends_with('!') || !after.starts_with(is_word))
    })
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, MARKS, check};
    use crate::{File, lines_of};

    fn lines(path: &str, text: &str) -> Vec<usize> {
        lines_of(&check(&File::new(path, text)))
    }

    #[test]
    fn every_mark_of_unfinished_work_is_found() {
        for mark in MARKS {
            assert_eq!(lines("server/src/a.rs", &format!("//! Head.\n\n// {mark}(\"later\")\n")), [3], "{mark}");
            assert_eq!(lines("Makefile", &format!("x:\n\t@true # {mark}\n")), [2], "{mark}");
        }
    }

    #[test]
    fn a_mark_within_a_word_is_none() {
        let text = format!("//! Head.\nconst {}S: u8 = 0;\n", MARKS[0]);
        assert!(lines("server/src/a.rs", &text).is_empty());
    }

    #[test]
    fn a_module_without_a_head_is_found() {
        assert_eq!(lines("server/src/a.rs", "use std::fmt;\n"), [1]);
        assert!(lines("server/src/a.rs", "//! Owns a.\n").is_empty());
    }

    #[test]
    fn a_file_that_grew_too_long_is_found() {
        let long = format!("//! Head.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(lines("server/src/a.rs", &long), [LINES_MAX + 1]);
    }
}
