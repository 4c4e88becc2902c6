//! Runs every rule over this repository, and shows that the rules see its files at all.

use posthouse_tidy::{check, tree};

#[test]
fn the_repository_keeps_the_house_rules() {
    let files = tree::files(&tree::top()).expect("the repository can be read");
    let findings: Vec<String> = files.iter().flat_map(check).map(|finding| finding.to_string()).collect();
    assert!(findings.is_empty(), "\n\n{}\n", findings.join("\n"));
}

/// A rule whose files moved away would pass for ever.
#[test]
fn the_files_that_the_rules_are_for_are_there() {
    let files = tree::files(&tree::top()).expect("the repository can be read");
    for needed in
        ["server/src/store/", "server/protocol/src/", "image/packages/", "image/boot/", "image/toolchain/packages/"]
    {
        assert!(
            files.iter().any(|file| file.path.starts_with(needed)),
            "no file in {needed}: tell the rules where it went"
        );
    }
}
