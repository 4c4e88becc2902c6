//! Explains an image's size: bytes by package and by group of kernel modules, what was removed, and how much of the budget
//! is used. The stage `pack` calls it, and stops where the budget is exceeded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::modules::{self, Pruned};
use crate::packages;
use crate::removal::{self, Removed};

/// Debian's merged /usr: package lists may name the old places.
const MERGED: [&str; 3] = ["/bin/", "/sbin/", "/lib/"];

#[derive(Debug, Args)]
pub struct Trimming {
    #[arg(long)]
    tree: PathBuf,
    #[arg(long, env = "BASE")]
    base: String,
    /// image/modules.list
    #[arg(long)]
    modules: PathBuf,
    /// image/packages/remove.list
    #[arg(long)]
    remove: PathBuf,
    /// Where to note what was done, for the report.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Measured {
    /// The build's work folder, with boot/, tree/, packages.stanzas and trim.json.
    #[arg(long)]
    work: PathBuf,
    /// The compressed image.
    #[arg(long)]
    image: PathBuf,
    #[arg(long)]
    budget: PathBuf,
    /// A developer's image is measured, but not held to the budget.
    #[arg(long, env = "PROFILE")]
    profile: String,
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Trimmed {
    modules: Pruned,
    removed: Vec<Removed>,
}

pub fn trim(parts: &Trimming) -> anyhow::Result<()> {
    let removed = removal::remove(&parts.remove, &parts.base, &parts.tree)?;
    let modules = modules::prune(&parts.modules, &parts.base, &parts.tree)?;
    let text = serde_json::to_string(&Trimmed { modules, removed })?;
    fs::write(&parts.out, text).with_context(|| format!("cannot write {}", parts.out.display()))
}

pub fn report(parts: &Measured) -> anyhow::Result<()> {
    let budget = Budget::read(&parts.budget)?;
    let trimmed = parts.work.join("trim.json");
    let text = fs::read_to_string(&trimmed).with_context(|| format!("cannot read {}", trimmed.display()))?;
    let trimmed: Trimmed = serde_json::from_str(&text).context("trim.json is not what the stage tree writes")?;
    let tree = parts.work.join("tree");
    let files = Files::of(&tree)?;
    let by_package = by_package(&tree, &files)?;
    let packages = packages::read(&tree.join("var/lib/dpkg/status"), &parts.work.join("packages.stanzas"))?;
    let actual = Budget {
        image_xz_bytes: fs::metadata(&parts.image).context("no compressed image")?.len(),
        packages: packages.len() as u64,
        root_bytes: files.total(),
        boot_bytes: Files::of(&parts.work.join("boot"))?.total(),
        modules_bytes: trimmed.modules.groups.iter().map(|group| group.bytes).sum(),
    };
    let name = parts.image.file_name().unwrap_or_default().to_string_lossy();
    let text = render(&name, &actual, &budget, &by_package, &trimmed);
    fs::write(&parts.out, text).with_context(|| format!("cannot write {}", parts.out.display()))?;
    if parts.profile == "release" {
        budget.allow(&actual, &parts.budget, &parts.out)?;
    }
    Ok(())
}

/// Bytes by path from a folder's root; a file with several names counts at the first.
struct Files(BTreeMap<String, u64>);

impl Files {
    fn of(root: &Path) -> anyhow::Result<Self> {
        let mut files = Self(BTreeMap::new());
        files.walk(root, root, &mut BTreeSet::new())?;
        Ok(files)
    }

    fn walk(&mut self, root: &Path, folder: &Path, seen: &mut BTreeSet<u64>) -> anyhow::Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut paths: Vec<PathBuf> = entries.collect::<Result<Vec<_>, _>>()?.iter().map(fs::DirEntry::path).collect();
        paths.sort();
        for path in paths {
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                self.walk(root, &path, seen)?;
            } else if metadata.is_file() && seen.insert(metadata.ino()) {
                self.0.insert(format!("/{}", path.strip_prefix(root)?.display()), metadata.size());
            }
        }
        Ok(())
    }

    fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Bytes by package, by dpkg's lists; what no package brought is under names in brackets.
fn by_package(tree: &Path, files: &Files) -> anyhow::Result<BTreeMap<String, u64>> {
    let info = tree.join("var/lib/dpkg/info");
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for path in fs::read_dir(&info).context("no list of packages in the tree")?.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(package) = name.strip_suffix(".list") else { continue };
        for file in fs::read_to_string(&path)?.lines() {
            let merged = MERGED.iter().any(|old| file.starts_with(old));
            let file = if merged { format!("/usr{file}") } else { file.to_owned() };
            owners.insert(file, package.trim_end_matches(":arm64").to_owned());
        }
    }
    let mut sums = BTreeMap::new();
    for (file, bytes) in &files.0 {
        let owner = owners.get(file).map_or_else(|| unowned(file).to_owned(), Clone::clone);
        *sums.entry(owner).or_default() += bytes;
    }
    if sums.is_empty() {
        bail!("the tree {} is empty", tree.display());
    }
    Ok(sums)
}

fn unowned(file: &str) -> &'static str {
    match file {
        "/usr/lib/posthouse/posthoused" | "/usr/lib/posthouse/posthouse-ca" | "/usr/bin/posthouse" => {
            "(the server, its authority and its client)"
        }
        _ if file.starts_with("/var/lib/dpkg/") => "(dpkg's record of the packages)",
        _ if file.starts_with("/usr/lib/modules/") => "(indexes of the kernel modules)",
        _ => "(overlays, and what packages made when they were configured)",
    }
}

fn render(
    name: &str,
    actual: &Budget,
    budget: &Budget,
    by_package: &BTreeMap<String, u64>,
    trimmed: &Trimmed,
) -> String {
    let mut out = format!("# Where the bytes of {name} are\n\n| | is | may be |\n| --- | ---: | ---: |\n");
    for ((key, limit), (_, is)) in budget.lines().into_iter().zip(actual.lines()) {
        let _ = writeln!(out, "| {key} | {is} | {limit} |");
    }
    out += "\n## Root, by package\n\nBytes of files, uncompressed.\n\n| package | bytes |\n| --- | ---: |\n";
    let mut packages: Vec<_> = by_package.iter().collect();
    packages.sort_by_key(|(name, bytes)| (std::cmp::Reverse(**bytes), *name));
    for (package, bytes) in packages {
        let _ = writeln!(out, "| {package} | {bytes} |");
    }
    out += "\n## Kernel modules, by group\n\nEach counts in the first group that needs it.\n\n";
    out += "| group | modules | bytes | why |\n| --- | ---: | ---: | --- |\n";
    for group in &trimmed.modules.groups {
        let _ = writeln!(out, "| {} | {} | {} | {} |", group.name, group.count, group.bytes, group.reason);
    }
    out += "\n## What was removed\n\n| what | files | bytes | why |\n| --- | ---: | ---: | --- |\n";
    let (count, bytes) = (trimmed.modules.removed_count, trimmed.modules.removed_bytes);
    let _ = writeln!(out, "| kernel modules that no group needs | {count} | {bytes} | image/modules.list |");
    for removed in &trimmed.removed {
        let entry = removed.entry.replace('*', "\\*");
        let _ = writeln!(out, "| {entry} | {} | {} | {} |", removed.count, removed.bytes, removed.reason);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("temporary folder");
        for (file, content) in [
            ("usr/bin/ls", "12345"),
            ("usr/lib/posthouse/posthoused", "123"),
            ("etc/made", "1"),
            ("var/lib/dpkg/info/coreutils.list", "/.\n/bin/ls\n/usr/share/gone\n"),
        ] {
            let file = tree.path().join(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("folder");
            fs::write(file, content).expect("write");
        }
        fs::hard_link(tree.path().join("usr/bin/ls"), tree.path().join("usr/bin/second-name")).expect("link");
        tree
    }

    #[test]
    fn every_byte_counts_once_and_somewhere() {
        let tree = tree();
        let files = Files::of(tree.path()).expect("files");
        let sums = by_package(tree.path(), &files).expect("sums");
        assert_eq!(sums["coreutils"], 5);
        assert_eq!(sums["(the server, its authority and its client)"], 3);
        assert_eq!(sums["(overlays, and what packages made when they were configured)"], 1);
        assert_eq!(sums.values().sum::<u64>(), files.total());
    }

    #[test]
    fn an_image_past_its_budget_is_refused_and_a_developers_is_not() {
        let work = tempfile::tempdir().expect("temporary folder");
        fs::rename(tree().keep(), work.path().join("tree")).expect("rename");
        fs::create_dir(work.path().join("boot")).expect("folder");
        let identity = "Package: coreutils\nVersion: 1\nArchitecture: arm64\n";
        fs::write(work.path().join("tree/var/lib/dpkg/status"), format!("{identity}Status: install ok installed\n"))
            .expect("write");
        fs::write(work.path().join("packages.stanzas"), format!("{identity}SHA256: 0\n")).expect("write");
        fs::write(work.path().join("image.xz"), "12345678901").expect("write");
        let trimmed = Trimmed { modules: Pruned::default(), removed: Vec::new() };
        fs::write(work.path().join("trim.json"), serde_json::to_string(&trimmed).expect("JSON")).expect("write");
        let budget = work.path().join("budget.toml");
        fs::write(&budget, "image_xz_bytes = 10\npackages = 2\nroot_bytes = 999\nboot_bytes = 0\nmodules_bytes = 0\n")
            .expect("write");
        let measured = |profile: &str| Measured {
            work: work.path().to_owned(),
            image: work.path().join("image.xz"),
            budget: budget.clone(),
            profile: profile.to_owned(),
            out: work.path().join("size.md"),
        };
        let error = report(&measured("release")).expect_err("it was taken").to_string();
        assert!(error.starts_with("over budget: image_xz_bytes is 11, "), "{error}");
        report(&measured("dev")).expect("a developer's image");
        let text = fs::read_to_string(work.path().join("size.md")).expect("the report");
        assert!(text.contains("| image_xz_bytes | 11 | 10 |\n") && text.contains("| coreutils | 5 |\n"), "{text}");
    }
}
