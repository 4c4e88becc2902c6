//! Removes from a tree what image/packages/remove.list names, and says how much each line freed.
//!
//! The stage `tree` calls it. It follows no symbolic link, so that it never leaves the tree.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum RemovalError {
    #[error("cannot {verb} {path}: {source}")]
    Io { verb: &'static str, path: String, source: std::io::Error },
    #[error("{list}:{line}: '{entry}' matches nothing in the image; correct it or take it out")]
    NoMatch { list: String, line: usize, entry: String },
    #[error(
        "{list}:{line}: '{entry}' is no absolute path below the root, optionally after '!', 'debian:' or 'raspios:'"
    )]
    Syntax { list: String, line: usize, entry: String },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Removed {
    pub entry: String,
    pub reason: String,
    pub count: usize,
    pub bytes: u64,
}

struct Entry<'a> {
    text: &'a str,
    pattern: &'a str,
    keep: bool,
    reason: String,
    line: usize,
}

pub fn remove(list: &Path, base: &str, tree: &Path) -> Result<Vec<Removed>, RemovalError> {
    let text = fs::read_to_string(list).map_err(|source| failed("read", list, source))?;
    let name = list.display().to_string();
    let entries = parse(&name, &text, base)?;
    // All are looked up before any is removed: a typing error costs nothing, and an earlier line can't hide a later one.
    let mut found = Vec::new();
    for entry in &entries {
        let paths = expand(tree, entry.pattern)?;
        if paths.is_empty() {
            return Err(RemovalError::NoMatch { list: name, line: entry.line, entry: entry.text.to_owned() });
        }
        found.push(paths);
    }
    let kept: BTreeSet<&PathBuf> =
        entries.iter().zip(&found).filter(|(entry, _)| entry.keep).flat_map(|(_, paths)| paths).collect();
    let mut removed = Vec::new();
    for (entry, paths) in entries.iter().zip(&found).filter(|(entry, _)| !entry.keep) {
        let mut freed = Removed { entry: entry.text.to_owned(), reason: entry.reason.clone(), count: 0, bytes: 0 };
        for path in paths {
            remove_path(path, &kept, &mut freed)?;
        }
        removed.push(freed);
    }
    Ok(removed)
}

fn parse<'a>(list: &str, text: &'a str, base: &str) -> Result<Vec<Entry<'a>>, RemovalError> {
    let mut entries = Vec::new();
    let mut reason: Vec<&str> = Vec::new();
    let mut in_comment = false;
    for (index, text) in text.lines().map(str::trim).enumerate() {
        if let Some(words) = text.strip_prefix('#') {
            if !in_comment {
                reason.clear();
            }
            reason.push(words.trim());
        }
        in_comment = text.starts_with('#');
        if in_comment || text.is_empty() {
            continue;
        }
        let (bases, rest) = match text.split_once(':') {
            Some((only, rest)) => (Some(only), rest),
            None => (None, text),
        };
        let (keep, pattern) = rest.strip_prefix('!').map_or((false, rest), |pattern| (true, pattern));
        let sound =
            pattern.strip_prefix('/').is_some_and(|path| path.split('/').all(|part| !["", ".", ".."].contains(&part)));
        if !sound || bases.is_some_and(|base| !["debian", "raspios"].contains(&base)) {
            return Err(RemovalError::Syntax { list: list.to_owned(), line: index + 1, entry: text.to_owned() });
        }
        if bases.is_none_or(|only| only == base) {
            entries.push(Entry { text, pattern, keep, reason: reason.join(" "), line: index + 1 });
        }
    }
    Ok(entries)
}

/// The paths in the tree that a pattern names, in order.
fn expand(tree: &Path, pattern: &str) -> Result<Vec<PathBuf>, RemovalError> {
    let mut found = vec![tree.to_owned()];
    for part in pattern.trim_start_matches('/').split('/') {
        let mut next = Vec::new();
        for folder in found.iter().filter(|path| is_folder(path)) {
            let entries = fs::read_dir(folder).map_err(|source| failed("read", folder, source))?;
            let names = entries.flatten().map(|entry| entry.file_name());
            next.extend(names.filter(|name| fits(part, &name.to_string_lossy())).map(|name| folder.join(name)));
        }
        next.sort();
        found = next;
    }
    Ok(found)
}

/// As a shell matches `*`, hidden names included.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len()).filter(|at| name.is_char_boundary(*at)).any(|at| fits(rest, &name[at..]))
        }),
    }
}

fn remove_path(path: &Path, kept: &BTreeSet<&PathBuf>, freed: &mut Removed) -> Result<(), RemovalError> {
    if kept.contains(&path.to_owned()) {
        return Ok(());
    }
    // An earlier line may have taken it.
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if metadata.is_dir() {
        let entries = fs::read_dir(path).map_err(|source| failed("read", path, source))?;
        for entry in entries.flatten() {
            remove_path(&entry.path(), kept, freed)?;
        }
        // One that still holds something that is kept stays.
        let _ = fs::remove_dir(path);
        return Ok(());
    }
    freed.count += 1;
    if metadata.nlink() == 1 {
        freed.bytes += metadata.size();
    }
    fs::remove_file(path).map_err(|source| failed("remove", path, source))
}

fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

fn failed(verb: &'static str, path: &Path, source: std::io::Error) -> RemovalError {
    RemovalError::Io { verb, path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("temporary folder");
        for file in ["boot/vmlinuz-6", "fw/brcm/a.bin", "fw/brcm/b.bin", "fw/intel/c.bin", "fw/reg.db", "etc/hostname"]
        {
            let file = tree.path().join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("folder");
            fs::write(file, "0123456789").expect("write");
        }
        std::os::unix::fs::symlink("../etc", tree.path().join("boot/etc")).expect("link");
        tree
    }

    fn remove_by(tree: &Path, list: &str) -> Result<Vec<Removed>, String> {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        fs::write(file.path(), list).expect("write");
        remove(file.path(), "debian", tree).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_listed_goes_and_what_is_kept_stays() {
        let tree = tree();
        let removed =
            remove_by(tree.path(), "# Other\n# devices.\n/fw/*\n!/fw/brcm/a*\n!/fw/reg.db\n").expect("removed");
        assert_eq!(removed.len(), 1);
        assert_eq!((removed[0].count, removed[0].bytes, removed[0].reason.as_str()), (2, 20, "Other devices."));
        assert!(tree.path().join("fw/brcm/a.bin").exists() && tree.path().join("fw/reg.db").exists());
        assert!(!tree.path().join("fw/brcm/b.bin").exists() && !tree.path().join("fw/intel").exists());
    }

    #[test]
    fn a_link_is_removed_and_never_followed() {
        let tree = tree();
        remove_by(tree.path(), "# x\n/boot/*\n").expect("removed");
        assert!(tree.path().join("etc/hostname").exists());
        assert!(fs::symlink_metadata(tree.path().join("boot/etc")).is_err());
        let error = remove_by(self::tree().path(), "# x\n/boot/etc/hostname\n").expect_err("it was followed");
        assert!(error.contains("matches nothing"), "{error}");
    }

    #[test]
    fn a_line_that_matches_nothing_is_named_and_nothing_is_removed() {
        for line in ["/usr/lib/gconv", "!/fw/none", "/fw/brcm/*.txt", "/etc/hostname/x"] {
            let tree = tree();
            let error = remove_by(tree.path(), &format!("# x\n/boot/*\n{line}\n")).expect_err("it was taken");
            assert!(error.contains(&format!(":3: '{line}' matches nothing in the image")), "{error}");
            assert!(tree.path().join("boot/vmlinuz-6").exists());
        }
    }

    #[test]
    fn a_line_of_another_base_is_passed_over() {
        assert!(remove_by(tree().path(), "# x\nraspios:/none\n").expect("taken").is_empty());
    }

    #[test]
    fn paths_that_could_leave_the_tree_are_refused() {
        for line in ["/../etc", "etc", "/", "//etc", "ubuntu:/etc", "/boot/./x"] {
            let error = remove_by(tree().path(), &format!("# x\n{line}\n")).expect_err("it was taken");
            assert!(error.contains("is no absolute path"), "{line}: {error}");
        }
    }
}
