//! Settles what a build makes: base, version, profile, lock, commit, time and disk identifier. Nothing here touches the disk.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::developer;

/// Where Raspberry Pi's kernel and firmware come from, unless POSTHOUSE_RASPIOS_MIRROR names another place.
const RASPIOS_MIRROR: &str = "http://archive.raspberrypi.com/debian";
/// The archive answers within a second or not at all.
const PROBE_TIMEOUT_S: &str = "10";

#[derive(Debug, Args)]
pub struct Wanted {
    /// The checkout.
    #[arg(long)]
    root: PathBuf,
    /// auto, raspios or debian.
    #[arg(long)]
    base: String,
    /// A semantic version; empty for the workspace's own.
    #[arg(long)]
    version: String,
    /// release or dev.
    #[arg(long)]
    profile: String,
    /// strict, prefer or off.
    #[arg(long)]
    lock: String,
}

#[derive(Debug, Error, PartialEq)]
pub enum SettleError {
    #[error("unknown BASE '{0}'; take auto, raspios or debian")]
    UnknownBase(String),
    #[error("unknown PROFILE '{0}'; take release or dev")]
    UnknownProfile(String),
    #[error("unknown LOCK '{0}'; take strict, prefer or off")]
    UnknownLock(String),
    #[error("VERSION '{version}' is not a semantic version such as 1.2.3 or 1.2.3-rc.1: {reason}")]
    BadVersion { version: String, reason: String },
    #[error("SOURCE_DATE_EPOCH '{0}' is not a number of seconds; unset it or give one")]
    BadEpoch(String),
    #[error("no git commit to name in the manifest; build in a clone, or set POSTHOUSE_COMMIT and SOURCE_DATE_EPOCH")]
    NoCommit,
}

/// A base and why it is this one, as the manifest tells it.
#[derive(Debug, PartialEq)]
struct Base {
    name: &'static str,
    reason: String,
}

/// Prints one `NAME='value'` a line; the values hold no quote.
pub fn settle(wanted: &Wanted) -> anyhow::Result<String> {
    let version = parse_version(&wanted.version)?;
    let profile = parse_profile(&wanted.profile)?;
    let lock = parse_lock(&wanted.lock)?;
    if profile == "dev" {
        developer::keys()?;
    }
    let mirror = setting("POSTHOUSE_RASPIOS_MIRROR").unwrap_or_else(|| RASPIOS_MIRROR.to_owned());
    let base = choose_base(&wanted.base, &mirror, archive_answers)?;
    let commit = setting("POSTHOUSE_COMMIT").or_else(|| checked_out(&wanted.root)).ok_or(SettleError::NoCommit)?;
    let epoch = parse_epoch(
        &setting("SOURCE_DATE_EPOCH")
            .or_else(|| git(&wanted.root, &["log", "-1", "--format=%ct"]))
            .ok_or(SettleError::NoCommit)?,
    )?;
    let name = if profile == "dev" { "-dev" } else { "" };
    let mut out = String::new();
    for (key, value) in [
        ("BASE", base.name),
        ("BASE_REASON", &base.reason),
        ("VERSION", &version),
        ("PROFILE", profile),
        ("LOCK", lock),
        ("COMMIT", &commit),
        ("SOURCE_DATE_EPOCH", &epoch.to_string()),
        ("DISK_ID", &disk_id(&[&version, &commit, base.name, profile])),
        ("IMAGE_NAME", &format!("posthouse-{version}-pi4{name}")),
    ] {
        writeln!(out, "{key}='{}'", value.replace('\'', ""))?;
    }
    Ok(out)
}

fn parse_version(given: &str) -> Result<String, SettleError> {
    let given = if given.is_empty() { env!("CARGO_PKG_VERSION") } else { given };
    semver::Version::parse(given)
        .map(|version| version.to_string())
        .map_err(|error| SettleError::BadVersion { version: given.to_owned(), reason: error.to_string() })
}

fn parse_profile(given: &str) -> Result<&'static str, SettleError> {
    match given {
        "release" => Ok("release"),
        "dev" => Ok("dev"),
        other => Err(SettleError::UnknownProfile(other.to_owned())),
    }
}

/// How the package lock is kept to: always; as long as its packages can be had; not at all.
fn parse_lock(given: &str) -> Result<&'static str, SettleError> {
    let known = ["strict", "prefer", "off"].into_iter().find(|word| *word == given);
    known.ok_or_else(|| SettleError::UnknownLock(given.to_owned()))
}

fn parse_epoch(given: &str) -> Result<u64, SettleError> {
    given.parse().map_err(|_| SettleError::BadEpoch(given.to_owned()))
}

/// The `auto` base is the Raspberry Pi archive where it answers; the other one is announced, for the kernel differs.
fn choose_base(given: &str, mirror: &str, answers: impl Fn(&str) -> bool) -> Result<Base, SettleError> {
    let asked = || "asked for by BASE".to_owned();
    match given {
        "raspios" => Ok(Base { name: "raspios", reason: asked() }),
        "debian" => Ok(Base { name: "debian", reason: asked() }),
        "auto" if answers(mirror) => Ok(Base { name: "raspios", reason: format!("auto: {mirror} answers") }),
        "auto" => {
            eprintln!("****");
            eprintln!("**** BASE=auto: {mirror} does not answer.");
            eprintln!("**** Kernel and firmware come from Debian instead; BASE=raspios insists on Raspberry Pi's.");
            eprintln!("****");
            Ok(Base { name: "debian", reason: format!("auto: {mirror} does not answer") })
        }
        other => Err(SettleError::UnknownBase(other.to_owned())),
    }
}

/// True when the archive's signed index comes back; a page of a captive portal is not an archive.
fn archive_answers(mirror: &str) -> bool {
    let index = format!("{mirror}/dists/trixie/InRelease");
    Command::new("curl")
        .args(["--fail", "--silent", "--location", "--max-time", PROBE_TIMEOUT_S, &index])
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----"))
}

/// The MBR's disk identifier: the same for the same input, never zero, which means "none".
fn disk_id(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n"));
    let number = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]).max(1);
    format!("{number:08x}")
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The commit, marked where tracked files differ from it: such an image can't be built again from the commit alone.
fn checked_out(root: &Path) -> Option<String> {
    let commit = git(root, &["rev-parse", "HEAD"])?;
    let changed = git(root, &["status", "--porcelain", "--untracked-files=no"]).is_some();
    Some(if changed { format!("{commit}-dirty") } else { commit })
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_the_raspberry_pi_archive_where_it_answers() {
        let base = choose_base("auto", "http://mirror", |_| true).expect("auto is known");
        assert_eq!(base.name, "raspios");
        assert_eq!(base.reason, "auto: http://mirror answers");
    }

    #[test]
    fn auto_falls_back_to_debian_and_says_why() {
        let base = choose_base("auto", "http://mirror", |_| false).expect("auto is known");
        assert_eq!(base.name, "debian");
        assert_eq!(base.reason, "auto: http://mirror does not answer");
    }

    #[test]
    fn a_base_that_was_asked_for_is_never_probed() {
        for name in ["raspios", "debian"] {
            let base = choose_base(name, "http://mirror", |_| panic!("probed")).expect("known base");
            assert_eq!((base.name, base.reason.as_str()), (name, "asked for by BASE"));
        }
    }

    #[test]
    fn unknown_base_profile_and_lock_are_refused() {
        for base in ["", "ubuntu", "Debian", "debian; rm -rf /"] {
            assert_eq!(choose_base(base, "", |_| true), Err(SettleError::UnknownBase(base.to_owned())));
        }
        assert_eq!(parse_profile("debug"), Err(SettleError::UnknownProfile("debug".to_owned())));
        assert_eq!(parse_lock("prefer"), Ok("prefer"));
        assert_eq!(parse_lock("on"), Err(SettleError::UnknownLock("on".to_owned())));
    }

    #[test]
    fn only_semantic_versions_are_taken() {
        assert_eq!(parse_version("1.2.3-rc.1").as_deref(), Ok("1.2.3-rc.1"));
        assert_eq!(parse_version("").as_deref(), Ok(env!("CARGO_PKG_VERSION")));
        for bad in ["1", "1.2", "v1.2.3", "1.2.3/../..", "01.2.3", "latest", "1.2.3 "] {
            assert!(matches!(parse_version(bad), Err(SettleError::BadVersion { .. })), "{bad} was taken");
        }
    }

    #[test]
    fn the_disk_identifier_follows_its_input_alone() {
        assert_eq!(disk_id(&["1.0.0", "abc"]), disk_id(&["1.0.0", "abc"]));
        assert_ne!(disk_id(&["1.0.0", "abc"]), disk_id(&["1.0.1", "abc"]));
        assert_eq!(disk_id(&["x"]).len(), 8);
    }

    #[test]
    fn a_changed_checkout_is_marked() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let run = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.arg("-C").arg(folder.path()).args(["-c", "user.name=x", "-c", "user.email=x@example.org"]);
            assert!(command.args(arguments).output().expect("git").status.success(), "git {arguments:?}");
        };
        run(&["init", "--quiet"]);
        assert_eq!(checked_out(folder.path()), None);
        std::fs::write(folder.path().join("file"), "1").expect("write");
        run(&["add", "file"]);
        run(&["commit", "--quiet", "--message", "x"]);
        let clean = checked_out(folder.path()).expect("a commit");
        std::fs::write(folder.path().join("file"), "2").expect("write");
        assert_eq!(clean.len(), 40);
        assert_eq!(checked_out(folder.path()), Some(format!("{clean}-dirty")));
    }

    #[test]
    fn an_epoch_is_a_number() {
        assert_eq!(parse_epoch("1700000000"), Ok(1_700_000_000));
        assert_eq!(parse_epoch("now"), Err(SettleError::BadEpoch("now".to_owned())));
    }
}
