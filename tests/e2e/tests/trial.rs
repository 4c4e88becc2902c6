//! A release on trial: what it says of itself before it runs, who may try it, and what it leaves behind.

use std::process::Command;

use posthouse_e2e::binaries;
use serde_json::Value;

#[test]
fn a_build_says_what_it_is_and_touches_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(binaries::server());
    // As the box calls it: nothing in the environment, and folders that are not there.
    command.env_clear().current_dir(folder.path()).arg("--selfcheck");
    command.args([
        "--data-dir",
        "data",
        "--update-inbox",
        "inbox",
        "--update-status",
        "status",
        "--probe-secret",
        "secret",
    ]);
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(said["arch"], std::env::consts::ARCH);
    let (schema, min_reader) =
        (said["schema"].as_u64().expect("a number"), said["min_reader"].as_u64().expect("a number"));
    assert!(0 < min_reader && min_reader <= schema, "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0, "nothing was made");
}
