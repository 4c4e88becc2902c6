//! A release on trial: what the box's updater leaves for the server that it tries.
//!
//! Read once at the start. Nothing of it keeps the server from starting: then the trial itself ends it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::store::{Store, StoreError};

/// How often it is looked whether the release is confirmed, where something waits for that.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Characters of a secret, at least: as many as 128 bits in hexadecimal have.
const SECRET_CHARS_MIN: usize = 32;

/// The longest file that is read, in bytes.
const SECRET_LEN_MAX: u64 = 256;

/// The probe's secret; `None` where no release is on trial: the rule.
pub fn secret(file: Option<&Path>) -> Option<String> {
    let file = file?;
    let mut text = String::new();
    match std::fs::File::open(file).and_then(|opened| opened.take(SECRET_LEN_MAX).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "the probe's secret can't be read: it can't log in");
            return None;
        }
    }
    let secret = text.trim();
    if secret.len() < SECRET_CHARS_MIN || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        tracing::warn!(file = %file.display(), "the probe's secret is too short or none at all: it can't log in");
        return None;
    }
    Some(secret.to_owned())
}

/// Which release this process is, for the box's updater.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    /// That of the image.
    Factory,
    /// An installed one, by the SHA-256 of its binary.
    Installed(String),
}

impl Slot {
    /// By where the program lies: the updater keeps each release in a folder that has its hash as its name.
    fn of(program: &Path) -> Self {
        let folder = program.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        let is_hash = folder.len() == 64 && folder.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hash { Self::Installed(folder.to_ascii_lowercase()) } else { Self::Factory }
    }
}

/// What of the updater's status says whether a release is confirmed.
#[derive(Deserialize)]
struct Said {
    current: Current,
    trial: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Current {
    kind: String,
    sha256: Option<String>,
}

/// Whether the updater's status says that this release is the one that the box goes by, and that none is tried.
fn is_confirmed(status: &[u8], own: &Slot) -> bool {
    let Ok(Said { current, trial: None }) = serde_json::from_slice(status) else { return false };
    match own {
        Slot::Factory => current.kind == "factory",
        Slot::Installed(sha256) => current.kind == "installed" && current.sha256.as_ref() == Some(sha256),
    }
}

/// Waits until this release is confirmed, and then changes the database in what older ones can't read. Where no updater says
/// anything, nobody goes back, and it need not wait, unless there is a probe.
pub async fn raise_when_confirmed(store: Store, status: Option<PathBuf>, has_probe: bool) {
    if !matches!(store.has_raises(), Ok(true)) {
        return;
    }
    let own = Slot::of(&std::env::current_exe().unwrap_or_default());
    match status {
        Some(file) => {
            while !std::fs::read(&file).is_ok_and(|status| is_confirmed(&status, &own)) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        None if has_probe => return,
        None => {}
    }
    match store.raise().await {
        Ok(Some(schema)) => tracing::warn!(
            schema,
            "this release is confirmed: from now on the database needs a posthoused of this schema, and the box can't go \
             back to one before it"
        ),
        // That the store has stopped is no failure.
        Ok(None) | Err(StoreError::Stopped) => {}
        Err(error) => tracing::error!(%error, "the database stays as releases before this one read it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_confirmed_when_it_is_the_current_one_and_none_is_tried() {
        let hash = "0123456789abcdef".repeat(4);
        let installed = Slot::of(&Path::new("/var/lib/posthouse-updater/slots").join(&hash).join("posthoused"));
        assert_eq!(installed, Slot::Installed(hash.clone()));
        let factory = Slot::of(Path::new("/usr/lib/posthouse/posthoused"));
        assert_eq!(factory, Slot::Factory);
        let current = format!(r#"{{"kind":"installed","version":"2","sha256":"{hash}","later":1}}"#);
        let other = current.replace('f', "e");
        let trial = format!(r#""trial":{{"slot":{current},"starts_left":5}}"#);
        for (status, of_installed, of_factory) in [
            (format!(r#"{{"current":{current},"history":[]}}"#), true, false),
            (format!(r#"{{"current":{current},"trial":null}}"#), true, false),
            (format!(r#"{{"current":{other}}}"#), false, false),
            (format!(r#"{{"current":{other},{trial}}}"#), false, false),
            (format!(r#"{{"current":{current},{trial}}}"#), false, false),
            (r#"{"current":{"kind":"factory","version":"1"}}"#.to_owned(), false, true),
            (format!(r#"{{"current":{{"kind":"factory"}},{trial}}}"#), false, false),
            ("{}".to_owned(), false, false),
            (String::new(), false, false),
        ] {
            assert_eq!(is_confirmed(status.as_bytes(), &installed), of_installed, "{status}");
            assert_eq!(is_confirmed(status.as_bytes(), &factory), of_factory, "{status}");
        }
    }

    #[test]
    fn a_secret_is_read_where_there_is_a_good_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("probe-secret");
        assert_eq!(secret(None), None);
        assert_eq!(secret(Some(&file)), None, "it is not there");
        let good = "0123456789abcdef0123456789abcdef";
        std::fs::write(&file, format!("{good}\n")).expect("written");
        assert_eq!(secret(Some(&file)).as_deref(), Some(good));
        for bad in ["", "short", &good[1..], "0123456789abcdef 0123456789abcdef", "ä0123456789abcdef0123456789abcdef"]
        {
            std::fs::write(&file, bad).expect("written");
            assert_eq!(secret(Some(&file)), None, "{bad}");
        }
        std::fs::write(&file, [0xff; 64]).expect("written");
        assert_eq!(secret(Some(&file)), None, "no text");
        assert_eq!(secret(Some(folder.path())), None, "a folder");
    }
}
