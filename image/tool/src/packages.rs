//! The packages of an image: dpkg's status says which are installed, apt's signed indexes what each .deb's hash is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum PackagesError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{0} names no installed package")]
    NoneInstalled(String),
    #[error("no archive index has {package} {version} ({architecture}); build again with image/build --fresh")]
    NoHash { package: String, version: String, architecture: String },
    #[error("two archives offer different files as {package} {version}; which one was installed can't be told")]
    Ambiguous { package: String, version: String },
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// SHA-256 of the .deb, in hexadecimal.
    pub sha256: String,
}

type Stanza<'a> = BTreeMap<&'a str, &'a str>;

/// The installed packages, by name.
pub fn read(status: &Path, stanzas: &Path) -> Result<Vec<Package>, PackagesError> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|source| PackagesError::Read { path: path.display().to_string(), source })
    };
    let mut packages = join(&read(status)?, &read(stanzas)?)?;
    if packages.is_empty() {
        return Err(PackagesError::NoneInstalled(status.display().to_string()));
    }
    packages.sort();
    Ok(packages)
}

fn join(status: &str, stanzas: &str) -> Result<Vec<Package>, PackagesError> {
    let mut hashes: BTreeMap<(&str, &str, &str), Vec<&str>> = BTreeMap::new();
    for stanza in parse(stanzas) {
        if let (Some(identity), Some(hash)) = (identity(&stanza), stanza.get("SHA256")) {
            hashes.entry(identity).or_default().push(hash);
        }
    }
    let installed = parse(status).filter(|stanza| stanza.get("Status") == Some(&"install ok installed"));
    installed.filter_map(|stanza| identity(&stanza)).map(|identity| with_hash(identity, &hashes)).collect()
}

fn with_hash(
    identity: (&str, &str, &str),
    hashes: &BTreeMap<(&str, &str, &str), Vec<&str>>,
) -> Result<Package, PackagesError> {
    let (package, version, architecture) = (identity.0.to_owned(), identity.1.to_owned(), identity.2.to_owned());
    match hashes.get(&identity).map(Vec::as_slice) {
        None | Some([]) => Err(PackagesError::NoHash { package, version, architecture }),
        Some([first, rest @ ..]) if rest.iter().all(|other| other == first) => {
            Ok(Package { name: package, version, architecture, sha256: (*first).to_owned() })
        }
        Some(_) => Err(PackagesError::Ambiguous { package, version }),
    }
}

fn identity<'a>(stanza: &Stanza<'a>) -> Option<(&'a str, &'a str, &'a str)> {
    Some((stanza.get("Package")?, stanza.get("Version")?, stanza.get("Architecture")?))
}

/// Stanzas of the form that deb822(5) describes; continuation lines hold nothing that is asked for here.
fn parse(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    text.split("\n\n").map(|stanza| {
        let fields = stanza.lines().filter(|line| !line.starts_with([' ', '\t', '#']));
        fields.filter_map(|line| line.split_once(':')).map(|(key, value)| (key, value.trim())).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: udev\nStatus: install ok installed\nArchitecture: arm64\nVersion: 257-1\n\n\
                          Package: gone\nStatus: deinstall ok config-files\nArchitecture: arm64\nVersion: 1\n";

    fn stanza(version: &str, hash: &str) -> String {
        format!(
            "Package: udev\nVersion: {version}\nArchitecture: arm64\nDescription: x\n Package: no\nSHA256: {hash}\n\n"
        )
    }

    #[test]
    fn an_installed_package_gets_the_hash_of_its_very_version() {
        let stanzas = stanza("256-1", "old") + &stanza("257-1", "new");
        let packages = join(STATUS, &stanzas).expect("joined");
        assert_eq!(packages.len(), 1);
        assert_eq!((packages[0].name.as_str(), packages[0].sha256.as_str()), ("udev", "new"));
    }

    #[test]
    fn a_package_without_a_hash_stops_the_manifest() {
        let error = join(STATUS, &stanza("256-1", "old")).expect_err("no such version");
        assert!(error.to_string().starts_with("no archive index has udev 257-1 (arm64)"), "{error}");
    }

    #[test]
    fn the_same_file_in_two_indexes_is_one_file() {
        assert!(join(STATUS, &(stanza("257-1", "x") + &stanza("257-1", "x"))).is_ok());
        assert!(join(STATUS, &(stanza("257-1", "x") + &stanza("257-1", "y"))).is_err());
    }

    #[test]
    fn a_status_that_names_nothing_is_refused() {
        let empty = tempfile::NamedTempFile::new().expect("temporary file");
        assert!(matches!(read(empty.path(), empty.path()), Err(PackagesError::NoneInstalled(_))));
    }
}
