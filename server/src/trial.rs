//! A release on trial: what the box's updater leaves for the server that it tries.
//!
//! Read once at the start. Nothing of it keeps the server from starting: then the trial itself ends it.

use std::io::Read;
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

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
