//! The package lock of a base: a TOML file that names each .deb of the image, its hash, and where archives keep it. Owns its
//! form and that nothing in it can lead out of a folder or an archive; `make lock` writes it, the stage `packages` reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use serde::Deserialize;
use thiserror::Error;

/// Raised when an older builder would read a lock wrongly.
const FORMAT: u32 = 1;

#[derive(Debug, Error)]
pub enum LockError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} is not a package lock: {reason}; run 'make lock'")]
    Broken { path: String, reason: String },
    #[error("image/packages asks for {names}, which the lock of base {base} was not made for; run 'make lock'")]
    Lacks { names: String, base: String },
    #[error(
        "the lock of base {base} was made for {names} too, which image/packages no longer asks for; run 'make lock'"
    )]
    Exceeds { names: String, base: String },
}

/// All that is known of a base's packages.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    format: u32,
    pub base: String,
    /// A time at which the snapshot archive has all of it, as `YYYYMMDDTHHMMSSZ`.
    pub snapshot: String,
    /// The packages that image/packages asked for; the others are what these need.
    pub wants: BTreeSet<String>,
    pub archives: BTreeMap<String, Archive>,
    pub packages: Vec<Package>,
}

/// What an archive calls itself in its signed index.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    pub origin: String,
    pub label: String,
    pub suites: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// SHA-256 of the .deb, in hexadecimal.
    pub sha256: String,
    /// Bytes of the .deb.
    pub size: u64,
    /// The archive's name in this lock.
    pub archive: String,
    /// Below the archive's address.
    pub path: String,
}

impl Lock {
    pub fn new(
        base: &str,
        snapshot: String,
        wants: BTreeSet<String>,
        archives: BTreeMap<String, Archive>,
        mut packages: Vec<Package>,
    ) -> Self {
        packages.sort();
        Self { format: FORMAT, base: base.to_owned(), snapshot, wants, archives, packages }
    }

    pub fn read(path: &Path) -> Result<Self, LockError> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| LockError::Read { path: name(), source })?;
        Self::parse(&text).map_err(|reason| LockError::Broken { path: name(), reason })
    }

    /// The reason why it is none is one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lock: Self = toml::from_str(text).map_err(|error| error.message().replace('\n', " "))?;
        if lock.format != FORMAT {
            return Err(format!("its format is {}, this builder knows {FORMAT}", lock.format));
        }
        if lock.snapshot.len() != 16
            || !lock.snapshot.bytes().all(|byte| byte.is_ascii_digit() || b"TZ".contains(&byte))
        {
            return Err(format!("'{}' is no time", lock.snapshot));
        }
        let mut names = BTreeSet::new();
        for package in &lock.packages {
            package.check(&lock.archives)?;
            if !names.insert(&package.name) {
                return Err(format!("it names {} twice", package.name));
            }
        }
        match lock.wants.iter().find(|name| !names.contains(name)) {
            Some(name) => Err(format!("it lacks {name}")),
            None => Ok(lock),
        }
    }

    /// Asserts that it was made for these packages and no others.
    pub fn fits(&self, wanted: &BTreeSet<String>) -> Result<(), LockError> {
        let words = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let base = self.base.clone();
        let lacking: Vec<_> = wanted.difference(&self.wants).collect();
        if !lacking.is_empty() {
            return Err(LockError::Lacks { names: words(lacking), base });
        }
        let exceeding: Vec<_> = self.wants.difference(wanted).collect();
        if !exceeding.is_empty() {
            return Err(LockError::Exceeds { names: words(exceeding), base });
        }
        Ok(())
    }

    /// As it stands in the file: a line a package, so that a renewed lock reads well in a diff.
    pub fn print(&self) -> String {
        let list =
            |words: &BTreeSet<String>| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let mut out = format!(
            "# The .deb packages of base {0}, written by `make lock`; image/README.md says what for. Not to be edited.\n\
             format = {1}\nbase = \"{0}\"\nsnapshot = \"{2}\"\nwants = [{3}]\n\npackages = [\n",
            self.base,
            self.format,
            self.snapshot,
            list(&self.wants)
        );
        for package in &self.packages {
            let Package { name, version, architecture, sha256, size, archive, path } = package;
            let _ = writeln!(
                out,
                "  {{ name = \"{name}\", version = \"{version}\", architecture = \"{architecture}\", size = {size}, \
                 sha256 = \"{sha256}\", archive = \"{archive}\", path = \"{path}\" }},"
            );
        }
        out.push_str("]\n");
        for (name, archive) in &self.archives {
            let Archive { origin, label, suites } = archive;
            let _ = write!(
                out,
                "\n[archives.{name}]\norigin = \"{origin}\"\nlabel = \"{label}\"\nsuites = [{}]\n",
                list(suites)
            );
        }
        out
    }
}

impl Package {
    /// Names become file names, paths become addresses: neither may say more than that.
    fn check(&self, archives: &BTreeMap<String, Archive>) -> Result<(), String> {
        let made_of = |text: &str, also: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.as_bytes().contains(&byte))
        };
        let sound = made_of(&self.name, "+-.")
            && made_of(&self.version, "+-.~:")
            && made_of(&self.architecture, "-")
            && self.sha256.len() == 64
            && self.sha256.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
            && made_of(&self.path, "+-.~:_/")
            && !self.path.split('/').any(|part| matches!(part, "" | "." | ".."));
        if !sound {
            return Err(format!("the entry of '{}' is malformed", self.name.escape_default()));
        }
        if !archives.contains_key(&self.archive) {
            return Err(format!("it names no archive '{}', where {} is", self.archive.escape_default(), self.name));
        }
        Ok(())
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn package(name: &str, sha256: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: "1:2~rc+b1".to_owned(),
            architecture: "arm64".to_owned(),
            sha256: sha256.to_owned(),
            size: 7,
            archive: "debian".to_owned(),
            path: format!("pool/main/{name}_2_arm64.deb"),
        }
    }

    pub fn lock(names: &[&str]) -> Lock {
        let suites = BTreeSet::from(["stable".to_owned()]);
        let archive = Archive { origin: "Debian".to_owned(), label: "Debian".to_owned(), suites };
        Lock::new(
            "debian",
            "20261123T190500Z".to_owned(),
            names.iter().map(|&name| name.to_owned()).collect(),
            BTreeMap::from([("debian".to_owned(), archive)]),
            names.iter().map(|name| package(name, &"0a".repeat(32))).collect(),
        )
    }

    fn wanted(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let lock = lock(&["udev", "libstdc++6"]);
        assert_eq!(Lock::parse(&lock.print()), Ok(lock));
    }

    #[test]
    fn an_entry_that_could_lead_elsewhere_is_refused() {
        let good = lock(&["udev"]).print();
        for (from, to) in [
            ("pool/main/udev_2", "pool/../../udev_2"),
            ("pool/main/udev_2", "/pool/udev_2"),
            ("pool/main/udev_2", "pool//udev_2"),
            ("pool/main/udev_2", "pool/%2e%2e/udev_2"),
            ("name = \"udev\"", "name = \"../udev\""),
            ("1:2~rc+b1", "1:2~rc b1"),
            ("0a0a", "0A0A"),
            ("sha256 = \"0a", "sha256 = \""),
            ("archive = \"debian\"", "archive = \"ubuntu\""),
        ] {
            let reason = Lock::parse(&good.replacen(from, to, 1)).expect_err(to);
            assert!(reason.contains("is malformed") || reason.contains("no archive 'ubuntu'"), "{to}: {reason}");
        }
    }

    #[test]
    fn a_broken_lock_is_refused_in_one_line() {
        let good = lock(&["udev"]).print();
        let twice = good.replace("packages = [\n", &format!("packages = [\n{}\n", line(&good)));
        for bad in [
            String::new(),
            good.replace("format = 1", "format = 2"),
            good.replace("20261123T190500Z", "yesterday"),
            good.replace("wants = [\"udev\"]", "wants = [\"udev\", \"iwd\"]"),
            good.replace("size = 7, ", ""),
            good.replace("size = 7", "size = 7, more = 1"),
            twice,
        ] {
            let reason = Lock::parse(&bad).expect_err(&bad);
            assert_eq!(reason.lines().count(), 1, "{reason}");
        }
    }

    fn line(text: &str) -> &str {
        text.lines().find(|line| line.starts_with("  {")).expect("a package")
    }

    #[test]
    fn a_list_that_has_changed_is_told_apart() {
        let lock = lock(&["iwd", "udev"]);
        assert!(lock.fits(&wanted(&["iwd", "udev"])).is_ok());
        let words = lock.fits(&wanted(&["iwd", "nano", "udev"])).expect_err("one is missing").to_string();
        assert_eq!(
            words,
            "image/packages asks for nano, which the lock of base debian was not made for; run 'make lock'"
        );
        let words = lock.fits(&wanted(&["udev"])).expect_err("one is too much").to_string();
        assert!(words.contains("was made for iwd too"), "{words}");
    }
}
