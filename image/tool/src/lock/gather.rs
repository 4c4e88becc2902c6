//! Brings a lock's .debs together in one folder: from the cache, from the archives as they are now, from a snapshot of them.
//! Whatever the way, a file counts only with the lock's hash; the folder holds nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use thiserror::Error;

use super::file::{Lock, Package};
use super::snapshot::Snapshots;

#[derive(Debug, Error, PartialEq)]
pub enum GatherError {
    /// Here another lock helps, and nothing else.
    #[error(
        "{package} is in the lock, but the archive has it no longer and {snapshot}; run 'make lock' to take what the \
         archive has now, or build with LOCK=prefer"
    )]
    Gone { package: String, snapshot: String },
    #[error(
        "what the mirror sent for {package} is not the file that the lock names; nothing of it was used: try again later, or \
         name another mirror by POSTHOUSE_DEBIAN_MIRROR or POSTHOUSE_RASPIOS_MIRROR"
    )]
    Another { package: String },
    /// The words of the log that stand for "no network".
    #[error("Could not connect to {address}: {words}")]
    Silent { address: String, words: String },
}

/// How a transfer ended: an address of the package, and curl's own words.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    Arrived,
    /// The server has no such file.
    Missing,
    Failed(String),
}

pub struct Gathering<'a> {
    pub lock: &'a Lock,
    /// The archives' addresses; each may have what another lacks.
    pub mirrors: Vec<String>,
    pub snapshots: &'a Snapshots,
    pub cache: PathBuf,
    pub folder: &'a Path,
}

/// A package's name in the folder and in the cache.
pub fn file_name(package: &Package) -> String {
    format!("{}.deb", package.sha256)
}

impl Gathering<'_> {
    /// Fills the folder. Ends with the first package that can't be had.
    pub fn run(&self) -> anyhow::Result<()> {
        let mut missing = self.take_cached()?;
        let cached = self.lock.packages.len() - missing.len();
        let mut history = BTreeMap::new();
        let mut complaint = None;
        let sources = self.mirrors.iter().map(|mirror| Source::Mirror(mirror)).chain([Source::Snapshot]);
        for source in sources {
            if missing.is_empty() {
                break;
            }
            let left = self.ask(&source, &missing, &mut history)?;
            let fetched: Vec<_> = missing.iter().copied().filter(|package| !left.contains(package)).collect();
            complaint = self.keep(&fetched).err().or(complaint);
            missing = left;
        }
        if let Some(error) = complaint {
            println!("the packages were not kept in the cache: {error:#}");
        }
        if let Some(package) = missing.first() {
            return Err(self.reason(package, &history).into());
        }
        println!("{} packages, {cached} of them from the cache", self.lock.packages.len());
        Ok(())
    }

    /// Takes what the cache has; what of it is not what its name says is removed. Returns what is still missing.
    fn take_cached(&self) -> anyhow::Result<Vec<&Package>> {
        let kept = |package: &&Package| self.cache.join(file_name(package)).is_file();
        let (cached, mut missing): (Vec<_>, Vec<_>) = self.lock.packages.iter().partition(kept);
        for package in cached {
            let (from, to) = (self.cache.join(file_name(package)), self.folder.join(file_name(package)));
            // Another file system can't be linked to.
            if fs::hard_link(&from, &to).is_err() && fs::copy(&from, &to).is_err() {
                missing.push(package);
            }
            // What is not used for long is forgotten (image/prepare.sh). A cache that can only be read is one too.
            let _ = fs::File::options().append(true).open(&from).and_then(|file| file.set_modified(SystemTime::now()));
        }
        let wrong = self.wrong()?;
        for name in &wrong {
            let _ = fs::remove_file(self.cache.join(name));
        }
        missing.extend(self.lock.packages.iter().filter(|package| wrong.contains(&file_name(package))));
        Ok(missing)
    }

    /// Asks one source for all that is missing; returns what still is, and writes down why.
    fn ask<'a>(
        &self,
        source: &Source<'_>,
        missing: &[&'a Package],
        history: &mut BTreeMap<String, Vec<Attempt>>,
    ) -> anyhow::Result<Vec<&'a Package>> {
        let wanted: Vec<_> = missing
            .iter()
            .filter_map(|package| Some((*package, address(&source.base(self, package)?, package))))
            .collect();
        let outcomes = fetch(&wanted, self.folder)?;
        let wrong = self.wrong()?;
        let mut left = Vec::new();
        for package in missing {
            let Some((_, address)) = wanted.iter().find(|(other, _)| other == package) else {
                left.push(*package);
                continue;
            };
            let name = file_name(package);
            let outcome = outcomes.get(&name).cloned().unwrap_or(Outcome::Failed("curl did not try".to_owned()));
            let arrived = outcome == Outcome::Arrived && !wrong.contains(&name);
            if !arrived {
                left.push(*package);
                let from_snapshot = matches!(source, Source::Snapshot);
                let attempt = Attempt { address: address.clone(), outcome, from_snapshot };
                history.entry(name).or_default().push(attempt);
            }
        }
        Ok(left)
    }

    /// The files in the folder that are not what their names say; they are removed.
    fn wrong(&self) -> anyhow::Result<Vec<String>> {
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(self.folder).with_context(|| format!("cannot read {}", self.folder.display()))? {
            files.push(entry?.path());
        }
        let mut wrong = Vec::new();
        // Some hundred names fit a command line.
        let output = Command::new("sha256sum").arg("--").args(&files).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "sha256sum: {}", String::from_utf8_lossy(&output.stderr).trim());
        for (line, file) in String::from_utf8(output.stdout)?.lines().zip(&files) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let hash = line.trim_start_matches('\\').split(' ').next().unwrap_or_default();
            if name != format!("{hash}.deb") {
                fs::remove_file(file)?;
                wrong.push(name);
            }
        }
        Ok(wrong)
    }

    /// Keeps what was fetched for the next build, each file whole or not at all.
    fn keep(&self, fetched: &[&Package]) -> anyhow::Result<()> {
        fs::create_dir_all(&self.cache)?;
        for package in fetched {
            let name = file_name(package);
            let fresh = tempfile::Builder::new()
                .prefix(".fresh-")
                .permissions(fs::Permissions::from_mode(0o644))
                .tempfile_in(&self.cache)?;
            fs::copy(self.folder.join(&name), fresh.path())?;
            fresh.persist(self.cache.join(&name))?;
        }
        Ok(())
    }

    fn reason(&self, package: &Package, history: &BTreeMap<String, Vec<Attempt>>) -> GatherError {
        let name = format!("{} {}", package.name, package.version);
        let attempts = history.get(&file_name(package)).map(Vec::as_slice).unwrap_or_default();
        if attempts.iter().any(|attempt| attempt.outcome == Outcome::Arrived) {
            return GatherError::Another { package: name };
        }
        let now: Vec<_> = attempts.iter().filter(|attempt| !attempt.from_snapshot).collect();
        if let Some(Attempt { address, outcome: Outcome::Failed(words), .. }) =
            now.iter().find(|attempt| attempt.outcome != Outcome::Missing)
        {
            return GatherError::Silent { address: address.clone(), words: words.clone() };
        }
        let snapshot = match attempts.iter().find(|attempt| attempt.from_snapshot) {
            None if self.snapshots.address(self.lock, &package.archive).is_none() => {
                "no snapshot archive is known (POSTHOUSE_SNAPSHOT)".to_owned()
            }
            Some(Attempt { address, outcome: Outcome::Failed(words), .. }) => {
                format!("the snapshot archive does not answer ({address}: {words})")
            }
            _ => format!("neither has the snapshot of {}", self.lock.snapshot),
        };
        GatherError::Gone { package: name, snapshot }
    }
}

struct Attempt {
    address: String,
    outcome: Outcome,
    from_snapshot: bool,
}

enum Source<'a> {
    Mirror(&'a str),
    Snapshot,
}

impl Source<'_> {
    fn base(&self, gathering: &Gathering<'_>, package: &Package) -> Option<String> {
        match self {
            Self::Mirror(mirror) => Some((*mirror).to_owned()),
            Self::Snapshot => gathering.snapshots.address(gathering.lock, &package.archive),
        }
    }
}

/// apt's own way to write a plus sign, which some servers take for a blank.
fn address(base: &str, package: &Package) -> String {
    format!("{}/{}", base.trim_end_matches('/'), package.path.replace('+', "%2b"))
}

/// Fetches the packages side by side, each under its own name. curl goes on after a failure.
fn fetch(wanted: &[(&Package, String)], folder: &Path) -> anyhow::Result<BTreeMap<String, Outcome>> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut settings = String::new();
    for (package, address) in wanted {
        let file = folder.join(file_name(package));
        settings += &format!("url = \"{address}\"\noutput = \"{}\"\n", file.display());
    }
    let list = tempfile::NamedTempFile::new()?;
    fs::write(list.path(), settings)?;
    let output = Command::new("curl")
        .args(["--fail", "--location", "--silent", "--parallel", "--parallel-max", "4", "--remove-on-error"])
        // A mirror that stalls is one that does not answer.
        .args(["--connect-timeout", "20", "--speed-limit", "1000", "--speed-time", "30", "--retry", "2"])
        .args(["--write-out", "%{filename_effective}\\t%{http_code}\\t%{exitcode}\\t%{errormsg}\\n", "--config"])
        .arg(list.path())
        .stdin(Stdio::null())
        .output()
        .context("cannot run curl")?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(outcome).collect())
}

/// From a line of curl's: file, HTTP status, exit code, message.
fn outcome(line: &str) -> Option<(String, Outcome)> {
    let mut words = line.splitn(4, '\t');
    let (file, status, code, message) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let name = Path::new(file).file_name()?.to_string_lossy().into_owned();
    let outcome = match (code, status) {
        ("0", _) => Outcome::Arrived,
        (_, "404" | "410") => Outcome::Missing,
        // curl's number for a local file that is not there.
        ("37", _) => Outcome::Missing,
        _ => Outcome::Failed(message.to_owned()),
    };
    Some((name, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curls_lines_are_told_apart() {
        let of = |line: &str| outcome(line).expect("a line").1;
        assert_eq!(of("/x/00.deb\t200\t0\t"), Outcome::Arrived);
        assert_eq!(of("/x/00.deb\t404\t22\tThe requested URL returned error: 404"), Outcome::Missing);
        assert_eq!(of("/x/00.deb\t503\t22\tbusy"), Outcome::Failed("busy".to_owned()));
        assert_eq!(of("/x/00.deb\t000\t7\tFailed"), Outcome::Failed("Failed".to_owned()));
        assert_eq!(outcome("noise"), None);
    }
}
