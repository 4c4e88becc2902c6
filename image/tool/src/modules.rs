//! Prunes the kernel modules of a tree to image/modules.list: what is listed, and what that depends on, by modules.dep.
//!
//! The stage `tree` calls it before it has depmod write the indexes anew. It touches nothing beside the modules' files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum ModulesError {
    #[error("cannot {verb} {path}: {source}")]
    Io { verb: &'static str, path: String, source: std::io::Error },
    #[error("expected one kernel's modules in {0}")]
    NotOneKernel(String),
    #[error("{list}:{line}: '{entry}' matches no module of kernel {kernel}; correct it or take it out")]
    NoMatch { list: String, line: usize, entry: String, kernel: String },
    #[error(
        "{list}:{line}: '{text}' is neither '[group]', '[group base …]' nor one module's name or folder in a group"
    )]
    Syntax { list: String, line: usize, text: String },
}

/// What became of the modules, for the size report. Every kept module counts in the first group that needs it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pruned {
    pub groups: Vec<Group>,
    pub removed_count: usize,
    pub removed_bytes: u64,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    pub reason: String,
    pub count: usize,
    pub bytes: u64,
}

#[derive(Debug, PartialEq)]
struct Entry {
    line: usize,
    group: usize,
    text: String,
}

#[derive(Debug)]
struct List {
    groups: Vec<Group>,
    entries: Vec<Entry>,
}

/// Removes the modules that the list doesn't need from `<tree>/usr/lib/modules/<kernel>`.
pub fn prune(list: &Path, base: &str, tree: &Path) -> Result<Pruned, ModulesError> {
    let folder = kernel_folder(tree)?;
    let kernel = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let List { mut groups, entries } = parse(&list.display().to_string(), &read(list)?, base)?;
    let dependencies = dependencies(&read(&folder.join("modules.dep"))?);
    let builtin = read(&folder.join("modules.builtin"))?;
    let builtin: Vec<&str> = builtin.lines().collect();
    let mut kept = BTreeSet::new();
    for entry in entries {
        let wanted: Vec<&String> = dependencies.keys().filter(|path| matches(&entry.text, path)).collect();
        if wanted.is_empty() && !builtin.iter().any(|path| matches(&entry.text, path)) {
            let list = list.display().to_string();
            return Err(ModulesError::NoMatch { list, line: entry.line, entry: entry.text, kernel });
        }
        let group = &mut groups[entry.group];
        for path in wanted.into_iter().flat_map(|path| std::iter::once(path).chain(&dependencies[path])) {
            if kept.insert(path.clone()) {
                group.count += 1;
                group.bytes += size(&folder.join(path))?;
            }
        }
    }
    let mut pruned = Pruned { groups, ..Pruned::default() };
    for path in dependencies.keys().filter(|path| !kept.contains(*path)) {
        let file = folder.join(path);
        pruned.removed_count += 1;
        pruned.removed_bytes += size(&file)?;
        fs::remove_file(&file).map_err(|source| failed("remove", &file, source))?;
    }
    remove_empty(&folder.join("kernel"))?;
    Ok(pruned)
}

fn kernel_folder(tree: &Path) -> Result<PathBuf, ModulesError> {
    let folder = tree.join("usr/lib/modules");
    let entries = fs::read_dir(&folder).map_err(|source| failed("read", &folder, source))?;
    let kernels: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    match kernels.as_slice() {
        [only] => Ok(only.clone()),
        _ => Err(ModulesError::NotOneKernel(folder.display().to_string())),
    }
}

fn parse(list: &str, text: &str, base: &str) -> Result<List, ModulesError> {
    let mut parsed = List { groups: Vec::new(), entries: Vec::new() };
    let mut reason = Vec::new();
    // None before the first group.
    let mut ours = None;
    for (line, text) in text.lines().enumerate().map(|(index, text)| (index + 1, text.trim())) {
        let syntax = || ModulesError::Syntax { list: list.to_owned(), line, text: text.to_owned() };
        if text.is_empty() {
            reason.clear();
        } else if let Some(words) = text.strip_prefix('#') {
            reason.push(words.trim());
        } else if let Some(header) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let mut words = header.split_whitespace();
            let name = words.next().ok_or_else(syntax)?.to_owned();
            let bases: Vec<&str> = words.collect();
            ours = Some(bases.is_empty() || bases.contains(&base));
            if reason.is_empty() || bases.iter().any(|base| !["debian", "raspios"].contains(base)) {
                return Err(syntax());
            }
            if ours == Some(true) {
                parsed.groups.push(Group { name, reason: reason.join(" "), ..Group::default() });
            }
        } else if text.contains([' ', '*', '[', ']']) || reason.is_empty() || ours.is_none() {
            return Err(syntax());
        } else if ours == Some(true) {
            parsed.entries.push(Entry { line, group: parsed.groups.len() - 1, text: text.to_owned() });
        }
    }
    Ok(parsed)
}

/// Each module's path, and the paths of all that it needs: depmod lists them transitively.
fn dependencies(text: &str) -> BTreeMap<String, Vec<String>> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(module, needs)| (module.to_owned(), needs.split_whitespace().map(str::to_owned).collect())).collect()
}

/// `ext4` is kernel/fs/ext4/ext4.ko.xz, `fs/ext4/` all below kernel/fs/ext4; to the kernel `-` and `_` are the same.
fn matches(entry: &str, path: &str) -> bool {
    if entry.ends_with('/') {
        return path.strip_prefix("kernel/").is_some_and(|path| path.starts_with(entry));
    }
    let file = path.rsplit('/').next().unwrap_or_default();
    let name = file.split(".ko").next().unwrap_or_default();
    name.replace('-', "_") == entry.replace('-', "_")
}

fn remove_empty(folder: &Path) -> Result<(), ModulesError> {
    let entries = fs::read_dir(folder).map_err(|source| failed("read", folder, source))?;
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        remove_empty(&path)?;
    }
    // A folder that still holds something stays.
    let _ = fs::remove_dir(folder);
    Ok(())
}

fn size(path: &Path) -> Result<u64, ModulesError> {
    Ok(fs::metadata(path).map_err(|source| failed("read", path, source))?.len())
}

fn read(path: &Path) -> Result<String, ModulesError> {
    fs::read_to_string(path).map_err(|source| failed("read", path, source))
}

fn failed(verb: &'static str, path: &Path, source: std::io::Error) -> ModulesError {
    ModulesError::Io { verb, path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n\
                       kernel/fs/jbd2/jbd2.ko.xz:\nkernel/lib/crc16.ko.xz:\nkernel/drivers/usb/storage/usb-storage.ko.xz:\n\
                       kernel/sound/snd.ko.xz:\n";

    /// A tree with the modules of DEP, ten bytes each, and vfat built in.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("temporary folder");
        let folder = tree.path().join("usr/lib/modules/6.12");
        for path in DEP.lines().map(|line| line.split(':').next().expect("a path")) {
            let file = folder.join(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("folder");
            fs::write(file, "0123456789").expect("write");
        }
        fs::write(folder.join("modules.dep"), DEP).expect("write");
        fs::write(folder.join("modules.builtin"), "kernel/fs/fat/vfat.ko\n").expect("write");
        tree
    }

    fn prune_to(tree: &Path, list: &str) -> Result<Pruned, String> {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        fs::write(file.path(), list).expect("write");
        prune(file.path(), "debian", tree).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_listed_stays_with_what_it_needs_and_the_rest_goes() {
        let tree = tree();
        let list = "# root\n[ext4]\next4\n\n# disks\n[usb]\nusb_storage\ncrc16\nvfat\n";
        let pruned = prune_to(tree.path(), list).expect("pruned");
        let counts: Vec<_> =
            pruned.groups.iter().map(|group| (group.name.as_str(), group.count, group.bytes)).collect();
        assert_eq!(counts, [("ext4", 3, 30), ("usb", 1, 10)]);
        assert_eq!((pruned.removed_count, pruned.removed_bytes), (1, 10));
        let kernel = tree.path().join("usr/lib/modules/6.12/kernel");
        assert!(kernel.join("fs/jbd2/jbd2.ko.xz").exists());
        assert!(!kernel.join("sound").exists(), "an empty folder is left");
    }

    #[test]
    fn a_folder_means_all_below_it() {
        let tree = tree();
        let pruned = prune_to(tree.path(), "# disks\n[usb]\ndrivers/usb/\n").expect("pruned");
        assert_eq!((pruned.groups[0].count, pruned.removed_count), (1, 4));
    }

    #[test]
    fn an_entry_that_matches_nothing_is_named_and_nothing_is_removed() {
        for entry in ["ext5", "drivers/sound/", "ext"] {
            let tree = tree();
            let error = prune_to(tree.path(), &format!("# root\n[ext4]\next4\n{entry}\n")).expect_err("it was taken");
            assert!(error.contains(&format!(":4: '{entry}' matches no module of kernel 6.12;")), "{error}");
            assert!(tree.path().join("usr/lib/modules/6.12/kernel/sound/snd.ko.xz").exists());
        }
    }

    #[test]
    fn a_group_of_another_base_is_passed_over() {
        let tree = tree();
        let pruned = prune_to(tree.path(), "# x\n[a raspios]\nmissing\n\n# y\n[b debian]\next4\n").expect("pruned");
        assert_eq!(pruned.groups.len(), 1);
        assert_eq!((pruned.groups[0].name.as_str(), pruned.groups[0].reason.as_str()), ("b", "y"));
    }

    #[test]
    fn a_group_without_a_reason_or_with_an_unknown_base_is_refused() {
        for list in [
            "[a]\next4\n",
            "# x\n[a ubuntu]\next4\n",
            "# x\next4\n",
            "# x\n[a]\n\next4\n",
            "# x\n[a]\next4 usb\n",
            "# x\n[]\n",
        ] {
            let error = prune_to(tree().path(), list).expect_err("it was taken");
            assert!(error.contains("is neither '[group]'"), "{list}: {error}");
        }
    }
}
