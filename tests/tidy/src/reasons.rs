//! A value that somebody will one day want to change has its reason above it: kernel settings, firmware settings, lists of
//! packages. Owns which files those are.

use crate::{File, Finding};

/// How close a reason has to stand.
#[derive(Clone, Copy, PartialEq)]
enum Closeness {
    /// A comment directly above each value.
    EachValue,
    /// A comment above each run of values, with no blank line between: some come in pairs.
    EachRun,
}

/// Folders of an overlay whose files hold settings and nothing else.
const DROP_INS: [&str; 7] = [
    ".conf.d/",
    ".service.d/",
    "/modules-load.d/",
    "/sysusers.d/",
    "/udev/rules.d/",
    "/system-preset/",
    "/nftables.d/",
];

/// Findings in one file of settings or names; none in any other file.
pub fn check(file: &File) -> Vec<Finding> {
    let Some(closeness) = closeness_for(&file.path) else { return Vec::new() };
    let mut findings = Vec::new();
    let mut has_reason = false;
    for (number, line) in file.lines() {
        let line = line.trim();
        if line.starts_with('#') || line.starts_with(';') {
            has_reason = true;
        } else if line.is_empty() {
            has_reason = false;
        } else if !line.starts_with('[') {
            if !has_reason {
                findings.push(
                    file.finding(number, format!("`{line}` has no reason: say in a comment above it why it is so")),
                );
            }
            has_reason &= closeness == Closeness::EachRun;
        }
    }
    findings
}

fn closeness_for(path: &str) -> Option<Closeness> {
    let is_in = |folder: &str| path.starts_with(folder);
    if is_in("overlays/") && path.contains("/sysctl.d/") {
        return Some(Closeness::EachValue);
    }
    let drop_in = is_in("overlays/") && DROP_INS.iter().any(|folder| path.contains(folder));
    let firmware = is_in("image/boot/") && path.ends_with(".txt");
    let names = is_in("image/packages/") && path.ends_with(".list")
        || is_in("image/initramfs/modules")
        || is_in("image/toolchain/packages/")
        || is_in("image/toolchain/container/") && path.ends_with("/packages");
    (drop_in || firmware || names).then_some(Closeness::EachRun)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::{File, lines_of};

    fn lines(path: &str, text: &str) -> Vec<usize> {
        lines_of(&check(&File::new(path, text)))
    }

    const SYSCTL: &str = "overlays/common/etc/sysctl.d/90-posthouse.conf";

    #[test]
    fn a_kernel_setting_without_a_reason_of_its_own_is_found() {
        assert_eq!(lines(SYSCTL, "# Why.\nvm.swappiness = 0\nnet.core.somaxconn = 4096\n"), [3]);
        assert_eq!(lines(SYSCTL, "# About the file.\n\nvm.swappiness = 0\n"), [3]);
    }

    #[test]
    fn a_package_without_a_reason_is_found() {
        assert_eq!(lines("image/packages/base.list", "# The base.\n\nsystemd\n# Why.\nudev\n"), [3]);
        assert_eq!(lines("image/toolchain/packages/test", "gcc\n"), [1]);
    }

    #[test]
    fn a_firmware_setting_without_a_reason_is_found() {
        assert_eq!(lines("image/boot/config-debian.txt", "# Why.\ngpu_mem=16\n\n[pi4]\narm_boost=1\n"), [5]);
    }

    #[test]
    fn a_pair_under_one_reason_passes_where_pairs_are_usual() {
        assert!(lines("image/boot/config-debian.txt", "# Why.\ndisable_splash=1\nboot_delay=0\n").is_empty());
        assert!(lines(SYSCTL, "# Why.\nvm.swappiness = 0\n; And why this.\nvm.overcommit_memory = 1\n").is_empty());
        assert_eq!(
            lines("overlays/common/usr/lib/systemd/system-preset/10-posthouse.preset", "# Why.\n\nenable x\n"),
            [3]
        );
        assert!(lines("overlays/common/etc/hosts", "127.0.0.1 localhost\n").is_empty());
    }
}
