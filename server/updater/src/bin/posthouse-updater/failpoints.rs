//! Places at which a test ends the program as a power cut would: right there, with nothing tidied up.
//!
//! Each durable step has one before it or behind it. `FAILPOINTS=NAME=return` in the environment ends the program at that
//! place; only where it was compiled with the feature `failpoints`, which no image is.

/// All of them, in the order in which an update passes them. README.md says what each stands behind.
#[cfg(feature = "failpoints")]
pub const ALL: [&str; 49] = [
    "request.kept",
    "request.taken",
    "bundle.copied",
    "slot.begun",
    "slot.unpacked",
    "slot.synced",
    "slot.checked",
    "slot.renamed",
    "stage.before",
    "stage.recorded",
    "stage.audited",
    "stage.told",
    "request.forgotten",
    "bundle.removed",
    "inbox.cleaned",
    "start.before",
    "start.recorded",
    "start.audited",
    "start.told",
    "start.linked",
    "start.secret",
    "crash.before",
    "crash.recorded",
    "crash.audited",
    "crash.told",
    "confirm.before",
    "confirm.recorded",
    "confirm.trusted",
    "confirm.audited",
    "confirm.told",
    "confirm.cleaned",
    "give_up.before",
    "give_up.recorded",
    "give_up.audited",
    "give_up.told",
    "give_up.cleaned",
    "go_back.before",
    "go_back.recorded",
    "go_back.audited",
    "go_back.told",
    "refuse.before",
    "refuse.recorded",
    "refuse.audited",
    "refuse.told",
    "lose.before",
    "lose.recorded",
    "lose.audited",
    "lose.told",
    "audit.rotated",
];

/// The program ends here if a test wants that.
#[cfg(feature = "failpoints")]
pub fn reach(name: &str) {
    assert!(ALL.contains(&name), "the place {name} is not on the list");
    fail::fail_point!(name, |_| std::process::abort());
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
pub fn reach(_name: &str) {}
