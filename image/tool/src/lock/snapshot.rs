//! Where an archive's past is kept: a snapshot service's address for a time. apt 3 knows Debian's; a setting can name another.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::file::{Archive, Lock};

/// What apt puts the time in place of.
const TIME: &str = "@SNAPSHOTID@";
/// What apt puts the archive's own path in place of; here its name in the lock, which is the same for Debian's.
const PATH: &str = "@PATH@";

pub struct Snapshots {
    /// For all archives, where somebody has said so.
    named: Option<String>,
    /// `Acquire::Snapshots::URI::…` and its value, as apt is set up here.
    of_apt: Vec<(String, String)>,
}

impl Snapshots {
    /// From POSTHOUSE_SNAPSHOT, or else from this machine's apt.
    pub fn new(named: Option<&str>) -> anyhow::Result<Self> {
        let named = named.filter(|text| !text.is_empty()).map(str::to_owned);
        if let Some(text) = &named {
            ensure!(text.contains(TIME), "POSTHOUSE_SNAPSHOT '{text}' has no {TIME} in it, where the time is to stand");
            return Ok(Self { named, of_apt: Vec::new() });
        }
        let output = Command::new("apt-config").arg("dump").output().context("cannot run apt-config")?;
        Ok(Self { named, of_apt: settings(&String::from_utf8_lossy(&output.stdout)) })
    }

    /// The address that takes the place of the archive's own, at the lock's time.
    pub fn address(&self, lock: &Lock, name: &str) -> Option<String> {
        let archive = lock.archives.get(name)?;
        let template = self.named.as_deref().or_else(|| self.by_apt(archive))?;
        Some(template.replace(TIME, &lock.snapshot).replace(PATH, name).trim_end_matches('/').to_owned())
    }

    /// In apt's own order.
    fn by_apt(&self, archive: &Archive) -> Option<&str> {
        let Archive { origin, label, .. } = archive;
        let keys = [
            format!("Override::Label::{label}"),
            format!("Override::Origin::{origin}"),
            format!("Label::{label}"),
            format!("Origin::{origin}"),
        ];
        let value = |key: &String| self.of_apt.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        keys.iter().find_map(value).filter(|value| value.contains(TIME))
    }
}

fn settings(dump: &str) -> Vec<(String, String)> {
    let lines = dump.lines().filter_map(|line| line.strip_prefix("Acquire::Snapshots::URI::")?.split_once(' '));
    lines.map(|(key, value)| (key.to_owned(), value.trim_end_matches(';').trim_matches('"').to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::lock;
    use super::*;

    /// As apt 3 prints them, on another host.
    const DUMP: &str = "Acquire::Snapshots \"\";\n\
        Acquire::Snapshots::URI::Host::deb.example.org \"https://past/archive/@PATH@/@SNAPSHOTID@/\";\n\
        Acquire::Snapshots::URI::Origin::Debian \"https://past/archive/debian/@SNAPSHOTID@/\";\n\
        Acquire::Snapshots::URI::Override::Label::Debian-Security \"https://past/archive/security/@SNAPSHOTID@/\";\n";

    #[test]
    fn apt_is_asked_by_label_before_origin() {
        let snapshots = Snapshots { named: None, of_apt: settings(DUMP) };
        let mut lock = lock(&["udev"]);
        assert_eq!(snapshots.address(&lock, "debian").as_deref(), Some("https://past/archive/debian/20261123T190500Z"));
        let archive = lock.archives.get_mut("debian").expect("an archive");
        archive.label = "Debian-Security".to_owned();
        assert_eq!(
            snapshots.address(&lock, "debian").as_deref(),
            Some("https://past/archive/security/20261123T190500Z")
        );
        let archive = lock.archives.get_mut("debian").expect("an archive");
        (archive.label, archive.origin) = ("Other".to_owned(), "Other".to_owned());
        assert_eq!(snapshots.address(&lock, "debian"), None);
    }

    #[test]
    fn a_named_service_serves_every_archive() {
        let snapshots = Snapshots::new(Some("http://past/@PATH@/@SNAPSHOTID@")).expect("it has both");
        assert_eq!(
            snapshots.address(&lock(&["udev"]), "debian").as_deref(),
            Some("http://past/debian/20261123T190500Z")
        );
        assert!(Snapshots::new(Some("http://past/")).is_err(), "no time");
    }
}
