//! Where the programs under test are.
//!
//! `POSTHOUSE_BIN_DIR` names their folder. Without it they are built once, in this test's own target
//! folder and profile, with default features.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Names the folder of the programs; who sets it has built them with the feature `systemd`.
const FOLDER_VARIABLE: &str = "POSTHOUSE_BIN_DIR";

/// `posthoused`.
pub fn server() -> PathBuf {
    folder().join("posthoused")
}

/// `posthouse`.
pub fn client() -> PathBuf {
    folder().join("posthouse")
}

/// `posthouse-ca`.
pub fn authority() -> PathBuf {
    folder().join("posthouse-ca")
}

/// `posthouse-updater`, with the places at which tests end it.
pub fn updater() -> PathBuf {
    folder().join("posthouse-updater")
}

/// `posthouse-probe`.
pub fn probe() -> PathBuf {
    folder().join("posthouse-probe")
}

/// Whether the server was built with the feature `systemd`. A folder that was given must have it, so
/// that nobody believes in tests that were left out.
pub fn has_systemd() -> bool {
    let program = std::fs::read(server()).expect("the server was built");
    let linked = String::from_utf8_lossy(&program).contains("libsystemd.so");
    let given = std::env::var_os(FOLDER_VARIABLE).is_some();
    assert!(
        linked || !given,
        "{} lacks the feature systemd: build it with --features posthouse-server/systemd, or unset {FOLDER_VARIABLE}",
        server().display()
    );
    linked
}

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) => folder.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    // target/PROFILE/deps/TEST
    let test = std::env::current_exe().expect("a process knows its program");
    let folder = test.ancestors().nth(2).expect("a test lies in target/PROFILE/deps");
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--quiet",
            "--package",
            "posthouse-server",
            "--package",
            "posthouse-ca",
            "--package",
            "posthouse-client",
            "--package",
            "posthouse-probe",
            "--package",
            "posthouse-updater",
            "--features",
            "posthouse-updater/failpoints",
        ])
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(folder.parent().expect("PROFILE lies in target"))
        .status()
        .expect("cargo starts");
    assert!(status.success(), "the programs could not be built");
    folder.to_owned()
}
