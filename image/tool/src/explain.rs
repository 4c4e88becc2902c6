//! Turns the log of a failed stage into the one line that a person can act on. It only reads.

use std::fs;
use std::path::Path;

/// What a log says, and what it means; the first that is found counts. `{work}` is the work folder.
const CAUSES: [(&[&str], &str); 7] = [
    (
        &[
            "No space left on device",
            "Disk quota exceeded",
            "not enough free space",
            "Could not allocate block",
            "Disk full",
        ],
        "the disk is full; the build needs some 4 GB in {work} and /var/tmp: free some, or name other folders by \
         POSTHOUSE_WORK_DIR and XDG_CACHE_HOME",
    ),
    (
        &["Hash Sum mismatch", "File has unexpected size", "Hashes of expected file", "Hashes of received file"],
        "the mirror sent a file that is not what its signed index says; nothing of it was used: try again later, or name \
         another mirror by POSTHOUSE_DEBIAN_MIRROR or POSTHOUSE_RASPIOS_MIRROR",
    ),
    (
        &["POSTHOUSE-WRONG-KEY"],
        "the archive's key is not the expected one; nothing was taken from there: check POSTHOUSE_RASPIOS_KEY and \
         POSTHOUSE_RASPIOS_FINGERPRINT, or build with BASE=debian",
    ),
    (
        &["NO_PUBKEY", "BADSIG", "is not signed", "couldn't be verified", "signatures were invalid", "EXPKEYSIG"],
        "an archive's index is not signed by the expected key; nothing was taken from there: check the mirror and the \
         keyring (POSTHOUSE_DEBIAN_KEYRING, POSTHOUSE_RASPIOS_KEY)",
    ),
    (
        &[
            "Could not resolve",
            "Temporary failure resolving",
            "Could not connect",
            "Unable to connect",
            "Failed to connect",
            "Connection timed out",
            "Connection failed",
            "Network is unreachable",
        ],
        "no network: an archive does not answer; check the connection (and http_proxy), then run the same command again",
    ),
    (
        &["Unable to locate package", "has no installation candidate", "404  Not Found", "error: 404"],
        "an archive lacks something that the image needs; its index may just be changing: run the same command again in a \
         while, or look in the log",
    ),
    (
        &["Exec format error", "cannot execute binary file", "exec format"],
        "this machine can't run arm64 programs; install qemu-user-static and register it (as root: systemctl restart \
         systemd-binfmt)",
    ),
];

/// Never fails: without a known cause it quotes the log's last line.
pub fn explain(stage: &str, log: &Path, work_dir: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let meaning = cause(&text)
        .map_or_else(|| last_words(&text), |meaning| meaning.replace("{work}", &work_dir.display().to_string()));
    format!("{stage} failed: {meaning} (log: {})", log.display())
}

fn cause(text: &str) -> Option<&'static str> {
    CAUSES.iter().find(|(signs, _)| signs.iter().any(|sign| text.contains(sign))).map(|(_, meaning)| *meaning)
}

/// A stage's own refusal, which says what to do, or else a compiler's first error, or else the log's end.
fn last_words(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .rev()
        .find_map(|line| line.strip_prefix("posthouse image: "))
        .or_else(|| lines().find(|line| line.starts_with("error: ") || line.starts_with("error[")))
        .or_else(|| lines().next_back())
        .unwrap_or("it said nothing and may have been killed; run the same command again")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(log: &str) -> String {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        fs::write(file.path(), log).expect("write");
        explain("20-packages", file.path(), Path::new("/build/here"))
    }

    #[test]
    fn a_full_disk_names_the_folder() {
        let line = of("I: fine\ndpkg: error: unable to write: No space left on device\nE: mmdebstrap failed to run\n");
        assert!(
            line.starts_with("20-packages failed: the disk is full; the build needs some 4 GB in /build/here "),
            "{line}"
        );
    }

    #[test]
    fn a_lying_mirror_is_told_from_a_silent_one() {
        assert!(of("E: Failed to fetch http://x/y.deb  Hash Sum mismatch").contains("not what its signed index says"));
        assert!(of("E: Could not connect to x:80 (1.2.3.4)").contains("no network"));
        assert!(of("curl: (6) Could not resolve host: archive.raspberrypi.com").contains("no network"));
    }

    #[test]
    fn a_wrong_key_is_told_from_a_missing_signature() {
        assert!(of("posthouse image: POSTHOUSE-WRONG-KEY: no key").contains("key is not the expected one"));
        assert!(of("E: The repository 'http://x' is not signed.").contains("not signed by the expected key"));
    }

    #[test]
    fn a_stages_own_words_are_passed_on() {
        let line = of("noise\nposthouse image: no posthoused for arm64 in x; run 'make server-arm64'\n");
        assert!(line.contains("failed: no posthoused for arm64 in x; run 'make server-arm64' (log: "), "{line}");
    }

    #[test]
    fn every_explanation_is_one_line() {
        for (signs, _) in &CAUSES {
            for sign in *signs {
                assert_eq!(of(&format!("first\n{sign}\nlast\n")).lines().count(), 1, "{sign}");
            }
        }
        assert!(of("").contains("it said nothing"));
        assert!(of("x\nerror[E0425]: cannot find y\nwhatever\n").contains("failed: error[E0425]: cannot find y"));
        assert!(of("one\ntwo\n\n").contains("failed: two"));
    }
}
