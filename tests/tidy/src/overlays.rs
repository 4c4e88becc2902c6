//! The files that are laid over the image's root: each says why it is there, and has the mode that the box expects of it.

use crate::{File, Finding};

/// Its format has no comments.
const WITHOUT_COMMENTS: [&str; 1] = ["etc/hostname"];

/// Findings in one file of an overlay; none in any other file.
pub fn check(file: &File) -> Vec<Finding> {
    let Some((_, place)) = file.path.strip_prefix("overlays/").and_then(|path| path.split_once('/')) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let is_script = file.text.starts_with("#!");
    if is_script && !file.is_executable {
        findings.push(file.finding(1, format!("the box can't run this script: chmod +x {}", file.path)));
    }
    if file.is_executable && !is_script {
        findings.push(file.finding(1, format!("this is no program, yet its mode says so: chmod -x {}", file.path)));
    }
    let comments = file.lines().filter(|(_, line)| line.starts_with(['#', ';']) && !line.starts_with("#!"));
    let says_why = comments.count() > 0 || WITHOUT_COMMENTS.contains(&place) || place.ends_with("/.gitkeep");
    if !says_why {
        findings.push(file.finding(1, "nobody can tell why this file is in the image: say it in a comment"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::File;

    fn advice(path: &str, text: &str, is_executable: bool) -> String {
        let file = File { is_executable, ..File::new(path, text) };
        check(&file).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_file_without_a_reason_is_found() {
        let found = advice("overlays/common/etc/hosts", "127.0.0.1 localhost\n", false);
        assert_eq!(
            found,
            "overlays/common/etc/hosts:1: nobody can tell why this file is in the image: say it in a comment"
        );
        assert!(!advice("overlays/pi4b/usr/lib/x", "#!/usr/bin/env bash\ntrue\n", true).is_empty());
        // systemd takes it for a mask, which is a link to /dev/null elsewhere.
        assert!(!advice("overlays/common/etc/systemd/system/x.service", "", false).is_empty());
    }

    #[test]
    fn a_wrong_mode_is_found_with_its_remedy() {
        let found = advice("overlays/dev/etc/x.conf", "# Why.\nx\n", true);
        assert!(found.ends_with("chmod -x overlays/dev/etc/x.conf"), "{found}");
        let found = advice("overlays/common/usr/lib/posthouse/x", "#!/usr/bin/env bash\n# Does it.\n", false);
        assert!(found.ends_with("chmod +x overlays/common/usr/lib/posthouse/x"), "{found}");
    }

    #[test]
    fn what_is_as_it_should_be_passes() {
        assert_eq!(advice("overlays/common/etc/hosts", "# Why.\n127.0.0.1 localhost\n", false), "");
        assert_eq!(advice("overlays/common/usr/lib/posthouse/x", "#!/usr/bin/env bash\n# Does it.\n", true), "");
        assert_eq!(advice("overlays/common/etc/hostname", "posthouse\n", false), "");
        assert_eq!(advice("overlays/common/data/.gitkeep", "", false), "");
        assert_eq!(advice("server/src/main.rs", "fn main() {}\n", true), "");
    }
}
