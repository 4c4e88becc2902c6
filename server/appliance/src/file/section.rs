//! A section of a TOML file, read key by key, so that each mistake is told and none hides another.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::values::nearest;
use crate::problem::Problem;

/// What was found wrong, and which parts of the file are not to be used for it.
pub struct Findings<'a> {
    pub file: &'a str,
    pub text: &'a str,
    pub problems: Vec<Problem>,
    /// Keys of the top level whose values are not to be used.
    pub broken: BTreeSet<String>,
    /// Where secrets stand, by the key of the top level that they belong to.
    pub secrets: Vec<(String, Range<usize>)>,
    /// The keys that are known, with their section's before them: what the schema has to have.
    pub known: BTreeSet<String>,
}

impl Findings<'_> {
    pub fn object(&mut self, at: usize, what: impl Into<String>) {
        self.problems.push(Problem::at(self.file, self.text, at, what));
    }
}

/// One table, with the name that it has at the top level; the top level itself has none.
pub struct Section<'s, 'f, 't> {
    table: &'s DeTable<'t>,
    name: Option<&'static str>,
    at: usize,
    asked: Vec<&'static str>,
    pub findings: &'s mut Findings<'f>,
}

/// The longest list that a file may have.
const LIST_LEN_MAX: usize = 16;

impl<'s, 'f, 't> Section<'s, 'f, 't> {
    pub fn top(table: &'s DeTable<'t>, findings: &'s mut Findings<'f>) -> Self {
        Self { table, name: None, at: 0, asked: Vec::new(), findings }
    }

    /// A table in this one; nothing where there is none.
    pub fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_, 'f, 't>) -> T) -> Option<T> {
        let value = self.value(key)?;
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(key, value, "a section, [NAME] with keys below it");
            return None;
        };
        let mut section = Section {
            table,
            name: Some(key),
            at: value.span().start,
            asked: Vec::new(),
            findings: &mut *self.findings,
        };
        let result = read(&mut section);
        section.tell_unknown();
        Some(result)
    }

    /// A text; nothing where it is missing or empty.
    pub fn text<T>(&mut self, key: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = self.value(key)?;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, "a text in \"quotation marks\"");
            return None;
        };
        if text.trim().is_empty() {
            return None;
        }
        match read(text) {
            Ok(read) => Some(read),
            Err(what) => {
                self.object(key, value.span().start, what);
                None
            }
        }
    }

    /// A text that nobody is to read once it was used.
    pub fn secret(&mut self, key: &'static str, read: impl FnOnce(&str) -> Result<String, String>) -> Option<String> {
        let place = self.table.get(key).map(Spanned::span);
        let secret = self.text(key, read)?;
        let place = place?;
        let raw = &self.findings.text[place.clone()];
        let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| raw.starts_with(quotes));
        let quotes = quotes.map_or(0, str::len);
        let unit = self.name.unwrap_or(key).to_owned();
        self.findings.secrets.push((unit, place.start + quotes..place.end - quotes));
        Some(secret)
    }

    /// One text or a list of them.
    pub fn texts<T>(&mut self, key: &'static str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        const EXPECTED: &str = "a text in \"quotation marks\", or a list of them: [\"one\", \"two\"]";
        let Some(value) = self.value(key) else { return Vec::new() };
        let one = std::slice::from_ref(value);
        let list = value.get_ref().as_array().map_or(one, |list| &list[..]);
        if list.len() > LIST_LEN_MAX {
            self.object(
                key,
                value.span().start,
                format!("{key} has {} entries, and may have {LIST_LEN_MAX}", list.len()),
            );
            return Vec::new();
        }
        let mut found = Vec::new();
        for item in list {
            match item.get_ref().as_str() {
                None => self.wrong_type(key, item, EXPECTED),
                Some(text) if text.trim().is_empty() => {}
                Some(text) => match read(text) {
                    Ok(read) => found.push(read),
                    Err(what) => self.object(key, item.span().start, what),
                },
            }
        }
        found
    }

    /// true or false.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "true or false, without quotation marks");
        }
        flag
    }

    /// Whether the file gives the key a value; an empty text is none.
    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().as_str().is_none_or(|text| !text.trim().is_empty()))
    }

    /// Something is wrong with a key, so that its part of the file is not used.
    pub fn object_to(&mut self, key: &str, what: impl Into<String>) {
        let at = self.table.get(key).map_or(self.at, |value| value.span().start);
        self.object(key, at, what);
    }

    /// Tells of keys that nobody has asked for.
    pub fn tell_unknown(&mut self) {
        for key in self.table.keys().filter(|key| !self.asked.contains(&key.get_ref().as_ref())) {
            let near = nearest(key.get_ref(), self.asked.iter().copied());
            let place = self.name.map_or_else(String::new, |name| format!(" in [{name}]"));
            let what = format!("there is no setting {:?}{place}{near}", key.get_ref());
            self.findings.object(key.span().start, what);
            // A section with a word that is not understood may mean something else than the rest of it says.
            self.findings.broken.extend(self.name.map(str::to_owned));
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'s Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.findings.known.insert(self.name.map_or_else(|| key.to_owned(), |name| format!("{name}.{key}")));
        self.table.get(key)
    }

    fn wrong_type(&mut self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = value.get_ref().type_str();
        self.object(key, value.span().start, format!("{key} has to be {expected}; this is of the type {found}"));
    }

    fn object(&mut self, key: &str, at: usize, what: impl Into<String>) {
        self.findings.object(at, what);
        self.findings.broken.insert(self.name.unwrap_or(key).to_owned());
    }
}
