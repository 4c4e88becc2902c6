//! What is wrong with a file on the card, in one line for people.

use std::fmt;

/// Something in a file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name on the card.
    pub file: String,
    /// Where in it, counted from 1.
    pub line: Option<usize>,
    /// What, and what becomes of it.
    pub what: String,
}

impl Problem {
    /// One that no line stands for.
    pub fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, what: what.into() }
    }

    /// One in the line that the byte `at` of `text` is in.
    pub fn at(file: &str, text: &str, at: usize, what: impl Into<String>) -> Self {
        let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        Self { file: file.to_owned(), line: Some(line), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}
