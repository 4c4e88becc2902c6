//! The shape of a shell script: first line, header, strict mode, `main` last, short. What shellcheck and shfmt see is theirs.

use crate::{File, Finding};

/// Past this a script does more than one job, or what it does needs a language with types.
const LINES_MAX: usize = 120;

/// What runs in the initramfs has klibc's shell, which knows no `pipefail`.
const INITRAMFS: &str = "image/initramfs/";

/// Findings in one shell script; none in any other file.
pub fn check(file: &File) -> Vec<Finding> {
    let first = file.text.lines().next().unwrap_or_default();
    let is_sourced = file.extension() == "sh";
    if !is_sourced && !is_shell(first) {
        return Vec::new();
    }
    if is_stand_in(&file.text) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let (begin, strict_mode) = if file.path.starts_with(INITRAMFS) {
        ("#!/bin/sh", "set -eu")
    } else {
        ("#!/usr/bin/env bash", "set -euo pipefail")
    };
    let names_its_shell = is_sourced && first == "# shellcheck shell=bash";
    if first != begin && !names_its_shell {
        findings.push(file.finding(1, format!("begin the script with `{begin}`")));
    }
    let header: Vec<&str> = file.text.lines().skip(1).take_while(|line| line.starts_with('#')).collect();
    if header.is_empty() {
        findings.push(file.finding(2, "say in a comment under the first line what the script is for"));
    }
    let count = file.text.lines().count();
    if count > LINES_MAX {
        findings.push(
            file.finding(
                count,
                format!("{count} lines are more than {LINES_MAX}: split the script or write it in Rust"),
            ),
        );
    }
    // A file that others source runs under their strict mode and has nothing to start.
    if is_sourced {
        return findings;
    }
    for part in ["Inputs:", "Outputs:"] {
        if !header.is_empty() && !header.iter().any(|line| line.contains(part)) {
            findings.push(
                file.finding(2, format!("the header names no `{part}`: say what the script reads and what it leaves")),
            );
        }
    }
    if !file.text.lines().any(|line| line == strict_mode) {
        findings.push(file.finding(2, format!("set strict mode under the header: `{strict_mode}`")));
    }
    if file.text.lines().last() != Some("main \"$@\"") {
        findings.push(
            file.finding(count, "end the script with `main \"$@\"`, so that bash has read all of it before it acts"),
        );
    }
    findings
}

/// A program that only has to be there: it says why, and does nothing.
fn is_stand_in(text: &str) -> bool {
    let (comments, code): (Vec<&str>, Vec<&str>) = text.lines().skip(1).partition(|line| line.starts_with('#'));
    !comments.is_empty() && code == ["exit 0"]
}

fn is_shell(first_line: &str) -> bool {
    first_line.strip_prefix("#!").is_some_and(|program| {
        let program = program.split_whitespace().find(|word| !word.ends_with("/env")).unwrap_or_default();
        matches!(program.rsplit('/').next(), Some("bash" | "sh" | "dash"))
    })
}

#[cfg(test)]
mod tests {
    use super::{LINES_MAX, check};
    use crate::{File, lines_of};

    const GOOD: &str = "#!/usr/bin/env bash\n# Does it.\n# Inputs:  none.\n# Outputs: none.\nset -euo pipefail\n\nmain() {\n  true\n}\n\nmain \"$@\"\n";

    fn lines(path: &str, text: &str) -> Vec<usize> {
        lines_of(&check(&File::new(path, text)))
    }

    #[test]
    fn a_script_of_the_house_passes() {
        assert!(lines("image/build", GOOD).is_empty());
        assert!(lines("README.md", "no script\n").is_empty());
        assert!(
            lines("image/stage.sh", "#!/usr/bin/env bash\n# Sourced by the stages.\nfail() { exit 1; }\n").is_empty()
        );
    }

    #[test]
    fn a_stand_in_that_says_why_passes_and_one_that_does_more_does_not() {
        assert!(lines("a", "#!/bin/sh\n# Stands for a hook. Does nothing.\nexit 0\n").is_empty());
        assert!(!lines("a", "#!/bin/sh\nexit 0\n").is_empty());
        assert!(!lines("a", "#!/bin/sh\n# Removes it.\nrm x\nexit 0\n").is_empty());
    }

    #[test]
    fn each_missing_part_is_found() {
        assert_eq!(lines("a", &GOOD.replace("#!/usr/bin/env bash", "#!/bin/sh")), [1]);
        assert_eq!(lines("a", &GOOD.replace("set -euo pipefail\n", "set -e\n")), [2]);
        assert_eq!(lines("a", &GOOD.replace("# Inputs:  none.\n", "")), [2]);
        assert_eq!(lines("a", &GOOD.replace("# Does it.\n# Inputs:  none.\n# Outputs: none.\n", "")), [2]);
        assert_eq!(lines("a", &GOOD.replace("\nmain \"$@\"\n", "\nmain\n")), [11]);
    }

    #[test]
    fn a_script_of_the_initramfs_is_for_its_shell() {
        let script = GOOD.replace("#!/usr/bin/env bash", "#!/bin/sh").replace("set -euo pipefail", "set -eu");
        assert!(lines("image/initramfs/init", &script).is_empty());
        assert_eq!(lines("image/initramfs/init", GOOD), [1, 2]);
        assert_eq!(lines("image/build", &script), [1, 2]);
    }

    #[test]
    fn a_script_that_grew_too_long_is_found() {
        let long = GOOD.replace("  true\n", &"  true\n".repeat(LINES_MAX));
        assert_eq!(lines("a", &long), [LINES_MAX + 10]);
    }
}
