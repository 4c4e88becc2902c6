//! Makes a lock from apt's own words: what it would install (`--print-uris`) and which archives it knows (`indextargets`).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};

use super::file::{Archive, Lock, Package};

/// Longer than the snapshot archive takes to have what is new, shorter than any archive keeps what was replaced.
const SNAPSHOT_DELAY_H: i64 = 24;

/// A lock of what apt would install now.
pub fn lock(
    base: &str,
    wants: BTreeSet<String>,
    uris: &str,
    targets: &str,
    now: jiff::Timestamp,
) -> anyhow::Result<Lock> {
    let known = archives(targets)?;
    let mut packages = Vec::new();
    for line in uris.lines().filter(|line| line.starts_with('\'')) {
        packages.push(package(line, &known).with_context(|| format!("apt says of a package: {line}"))?);
    }
    ensure!(!packages.is_empty(), "apt would install nothing");
    let used: BTreeSet<_> = packages.iter().map(|package| &package.archive).collect();
    let archives = known.into_values().filter(|(name, _)| used.contains(name)).collect();
    let snapshot = now.checked_add(jiff::SignedDuration::from_hours(SNAPSHOT_DELAY_H))?;
    let lock = Lock::new(base, snapshot.strftime("%Y%m%dT%H%M%SZ").to_string(), wants, archives, packages);
    // What could not be read again must not be written.
    Lock::parse(&lock.print()).map_err(|reason| anyhow::anyhow!("apt's answer makes no lock: {reason}"))
}

/// By address: an archive's name and what it calls itself. One `address|origin|label|suite` a line.
fn archives(targets: &str) -> anyhow::Result<BTreeMap<String, (String, Archive)>> {
    let mut known: BTreeMap<String, (String, Archive)> = BTreeMap::new();
    for line in targets.lines() {
        let [address, origin, label, suite] = line.split('|').collect::<Vec<_>>()[..] else {
            anyhow::bail!("apt says of its archives: {line}");
        };
        // What an archive does not say apt leaves as it was asked.
        let said = |text: &'static str, found| if found == text { "" } else { found };
        let (origin, label) = (said("$(ORIGIN)", origin), said("$(LABEL)", label));
        let label = if label.is_empty() { origin } else { label };
        ensure!(!label.is_empty(), "the archive at {address} does not say what it is");
        let name = label.to_lowercase().replace(|char: char| !char.is_ascii_alphanumeric(), "-");
        let plain = |text: &str| text.replace(|char: char| char.is_control() || "\"\\".contains(char), "");
        let archive = Archive { origin: plain(origin), label: plain(label), suites: BTreeSet::new() };
        let entry = known.entry(address.to_owned()).or_insert((name, archive));
        entry.1.suites.insert(plain(suite));
    }
    Ok(known)
}

/// From `'ADDRESS' NAME_VERSION_ARCHITECTURE.deb SIZE SHA256:HASH`.
fn package(line: &str, known: &BTreeMap<String, (String, Archive)>) -> anyhow::Result<Package> {
    let [address, file, size, hash] = line.split(' ').collect::<Vec<_>>()[..] else {
        anyhow::bail!("it has not four words");
    };
    let address = address.trim_matches('\'');
    let (base, (archive, _)) =
        known.iter().find(|(base, _)| address.starts_with(*base)).context("it comes from no known archive")?;
    let parts: Vec<_> = file.strip_suffix(".deb").context("it is no .deb")?.split('_').collect();
    let [name, version, architecture] = parts[..] else { anyhow::bail!("its file's name is of another form") };
    Ok(Package {
        name: name.to_owned(),
        version: decode(version),
        architecture: architecture.to_owned(),
        sha256: hash.strip_prefix("SHA256:").context("it has no SHA256")?.to_owned(),
        size: size.parse().context("it has no size")?,
        archive: archive.clone(),
        path: decode(address[base.len()..].trim_start_matches('/')),
    })
}

/// What apt writes as %xx in addresses and file names.
fn decode(text: &str) -> String {
    ["%3a:", "%2b+", "%7e~"].iter().fold(text.to_owned(), |text, code| {
        let (from, to) = code.split_at(3);
        text.replace(from, to).replace(&from.to_uppercase(), to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "http://mirror/debian/|Debian|Debian|stable\n\
                           http://mirror/debian/|Debian|Debian|stable-updates\n\
                           http://mirror/debian-security/|Debian|Debian-Security|stable-security\n\
                           http://pi/debian/|Raspberry Pi Foundation|$(LABEL)|stable\n";
    const URIS: &str = "Reading package lists...\n\
        'http://mirror/debian-security/pool/updates/main/z/zlib/zlib1g_1.3%2breally1%7edeb13u1_arm64.deb' \
        zlib1g_1%3a1.3+really1~deb13u1_arm64.deb 85028 \
        SHA256:0e41b3d7ad8ad7fcd36dd4d61ca91a70018478fc4af652e044f4be770784ddff\n\
        'http://pi/debian/pool/main/r/raspi-firmware_1_all.deb' raspi-firmware_1_all.deb 1 \
        SHA256:d0681293a160392186c6ef85a165e40603d1628a099936137d24d391bd591f97\n";

    fn made(uris: &str) -> anyhow::Result<Lock> {
        let wants = BTreeSet::from(["raspi-firmware".to_owned()]);
        lock("raspios", wants, uris, TARGETS, "2026-11-22T19:05:00Z".parse().expect("a time"))
    }

    #[test]
    fn apts_words_become_a_lock() {
        let lock = made(URIS).expect("a lock");
        assert_eq!(lock.snapshot, "20261123T190500Z");
        assert_eq!(lock.archives.keys().collect::<Vec<_>>(), ["debian-security", "raspberry-pi-foundation"]);
        let zlib = &lock.packages[1];
        assert_eq!((zlib.name.as_str(), zlib.version.as_str()), ("zlib1g", "1:1.3+really1~deb13u1"));
        assert_eq!(zlib.path, "pool/updates/main/z/zlib/zlib1g_1.3+really1~deb13u1_arm64.deb");
        assert_eq!((zlib.size, zlib.archive.as_str()), (85028, "debian-security"));
    }

    #[test]
    fn what_is_no_lock_is_never_written() {
        assert!(made("nothing to do\n").is_err());
        assert!(made(&URIS.replace("SHA256:d0", "MD5Sum:d0")).is_err());
        assert!(made(&URIS.replace("http://pi", "http://elsewhere")).is_err());
        assert!(made(&URIS.replace("_all.deb 1", "_all.deb many")).is_err());
        assert!(made(&URIS.replace("raspi-firmware", "other")).is_err(), "it lacks what was wanted");
    }
}
