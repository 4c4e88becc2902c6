//! Makes of gathered .debs an archive that apt can install from, with these packages and no others.
//!
//! Its index is not signed: each .deb was held against the lock's hash, and the lock came with the commit.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::file::{Lock, Package};
use super::gather::file_name;

/// The release that mmdebstrap is told to install.
const SUITE: &str = "trixie";

/// Writes Packages and Release beside the .debs.
pub fn write(lock: &Lock, folder: &Path) -> anyhow::Result<()> {
    let mut index = Vec::new();
    for package in &lock.packages {
        let control = control(&folder.join(file_name(package)))?;
        agrees(package, &control)?;
        let Package { size, sha256, .. } = package;
        writeln!(
            index,
            "{}\nFilename: ./{}\nSize: {size}\nSHA256: {sha256}\n",
            control.trim_end(),
            file_name(package)
        )?;
    }
    fs::write(folder.join("Packages"), &index).with_context(|| format!("cannot write in {}", folder.display()))?;
    let sum = Command::new("sha256sum").arg(folder.join("Packages")).output().context("cannot run sha256sum")?;
    ensure!(sum.status.success(), "sha256sum: {}", String::from_utf8_lossy(&sum.stderr).trim());
    let sum = String::from_utf8(sum.stdout)?;
    let hash = sum.split(' ').next().unwrap_or_default();
    let release = format!(
        "Origin: Posthouse\nLabel: Posthouse\nSuite: {SUITE}\nCodename: {SUITE}\nArchitectures: arm64\nSHA256:\n {hash} {} \
         Packages\n",
        index.len()
    );
    fs::write(folder.join("Release"), release).with_context(|| format!("cannot write in {}", folder.display()))
}

/// A .deb's control file.
fn control(deb: &Path) -> anyhow::Result<String> {
    let output = Command::new("dpkg-deb").arg("--field").arg(deb).output().context("cannot run dpkg-deb")?;
    ensure!(output.status.success(), "dpkg-deb: {}", String::from_utf8_lossy(&output.stderr).trim());
    String::from_utf8(output.stdout).with_context(|| format!("{} says of itself what is no text", deb.display()))
}

/// A lock that calls a package by another's name would install that other.
fn agrees(package: &Package, control: &str) -> anyhow::Result<()> {
    let Package { name, version, architecture, .. } = package;
    for (field, value) in [("Package", name), ("Version", version), ("Architecture", architecture)] {
        let found = control.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
        ensure!(
            found == Some(value.as_str()),
            "the lock says {field} {value} of {name}, the .deb itself says {}; run 'make lock'",
            found.unwrap_or("nothing")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::package;
    use super::*;

    #[test]
    fn a_package_by_the_name_of_another_is_refused() {
        let control = "Package: udev\nVersion: 1:2~rc+b1\nArchitecture: arm64\nDescription: x\n";
        assert!(agrees(&package("udev", ""), control).is_ok());
        let error = agrees(&package("iwd", ""), control).expect_err("it was taken");
        assert!(
            error.to_string().starts_with("the lock says Package iwd of iwd, the .deb itself says udev"),
            "{error}"
        );
        assert!(agrees(&package("udev", ""), &control.replace("1:2~rc+b1", "1:2~rc+b2")).is_err());
    }
}
