//! House rules that no linter knows, checked over the files that git knows.
//!
//! Each rule is a function from one file to its findings, so that a test can hand it a bad sample. The rules never
//! change a file. `tests/repository.rs` runs all of them over this repository.

pub mod imports;
pub mod overlays;
pub mod reasons;
pub mod scripts;
pub mod sources;
pub mod tree;

use std::fmt;

/// A file of the repository: its path from the top, with `/`, its text, and whether its owner may run it.
pub struct File {
    pub path: String,
    pub text: String,
    pub is_executable: bool,
}

/// One place that breaks a rule, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// Counted from 1.
    pub line: usize,
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.advice)
    }
}

impl File {
    /// One that nobody can run.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), is_executable: false }
    }

    pub(crate) fn finding(&self, line: usize, advice: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, advice: advice.into() }
    }

    /// The lines with their numbers, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    pub(crate) fn extension(&self) -> &str {
        self.path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, extension)| extension)
    }
}

/// All findings in one file.
pub fn check(file: &File) -> Vec<Finding> {
    let rules = [imports::check, overlays::check, reasons::check, scripts::check, sources::check];
    rules.iter().flat_map(|rule| rule(file)).collect()
}

/// The lines of the findings, which is what the tests of rules compare.
#[cfg(test)]
pub(crate) fn lines_of(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|finding| finding.line).collect()
}
