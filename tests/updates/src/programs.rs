//! Where the programs are that only these tests have: beside the test, as cargo builds them.

use std::path::PathBuf;

/// Becomes a unit's command.
pub fn launcher() -> PathBuf {
    own("unit-launch")
}

/// Plays `systemctl`.
pub fn control() -> PathBuf {
    own("unit-control")
}

/// The server of which builds are made.
pub fn build() -> PathBuf {
    own("posthoused-build")
}

fn own(name: &str) -> PathBuf {
    // target/PROFILE/PROGRAM, target/PROFILE/deps/TEST
    let program = std::env::current_exe().expect("a process knows its program");
    let found = program.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not beside {}: build the whole package", program.display()))
}
