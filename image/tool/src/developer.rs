//! Who may log in to an image of the profile dev: the public keys that POSTHOUSE_DEV_SSH_KEY gives. A release never asks.

use std::fs;

use thiserror::Error;

const VARIABLE: &str = "POSTHOUSE_DEV_SSH_KEY";

/// How the lines of keys begin that dropbear takes.
const KINDS: [&str; 5] = ["ssh-ed25519", "ecdsa-sha2-", "ssh-rsa", "sk-ssh-ed25519@", "sk-ecdsa-sha2-"];

#[derive(Debug, Error)]
pub enum DeveloperError {
    #[error(
        "cannot read {path}, which POSTHOUSE_DEV_SSH_KEY names: {source}; name a file with public keys, or give one key"
    )]
    Read { path: String, source: std::io::Error },
    #[error("POSTHOUSE_DEV_SSH_KEY: '{line}' is no public key such as ssh-keygen writes into a .pub file")]
    NoKey { line: String },
    #[error("{path}, which POSTHOUSE_DEV_SSH_KEY names, holds no key")]
    Empty { path: String },
}

/// One key a line; nothing where the variable is not set: such an image has the serial console only.
pub fn keys() -> Result<Option<String>, DeveloperError> {
    match std::env::var(VARIABLE) {
        Ok(given) if !given.is_empty() => parse(&given).map(Some),
        _ => Ok(None),
    }
}

/// A key itself, or the path of a file with keys.
fn parse(given: &str) -> Result<String, DeveloperError> {
    let text = if is_key(given.trim()) {
        given.to_owned()
    } else {
        fs::read_to_string(given).map_err(|source| DeveloperError::Read { path: shown(given), source })?
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut keys = String::new();
    for line in lines {
        if !is_key(line) {
            return Err(DeveloperError::NoKey { line: shown(line) });
        }
        keys.push_str(line);
        keys.push('\n');
    }
    if keys.is_empty() {
        return Err(DeveloperError::Empty { path: shown(given) });
    }
    Ok(keys)
}

fn is_key(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let kind = words.next().is_some_and(|word| KINDS.iter().any(|kind| word.starts_with(kind)));
    let base64 = |character: char| character.is_ascii_alphanumeric() || "+/=".contains(character);
    kind && words.next().is_some_and(|word| word.starts_with("AAAA") && word.chars().all(base64))
}

/// The beginning: somebody may have given a private key, which belongs in no log.
fn shown(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0 somebody@example.org";

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), text).expect("write");
        file
    }

    #[test]
    fn a_key_and_a_file_of_keys_are_taken() {
        assert_eq!(parse(KEY).expect("a key"), format!("{KEY}\n"));
        let several = file(&format!("# Mine.\n{KEY}\n\n{KEY}\n"));
        assert_eq!(parse(&several.path().display().to_string()).expect("keys"), format!("{KEY}\n{KEY}\n"));
    }

    #[test]
    fn what_is_no_public_key_is_refused_in_one_line() {
        let private = file("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n");
        let empty = file("# nothing\n");
        for (given, words) in [
            ("/nowhere/id.pub", "cannot read /nowhere/id.pub"),
            ("ssh-ed25519 ../../etc/passwd", "cannot read ssh-ed25519"),
            (&private.path().display().to_string(), "is no public key"),
            (&empty.path().display().to_string(), "holds no key"),
        ] {
            let error = parse(given).expect_err(words).to_string();
            assert!(error.contains(words) && error.lines().count() == 1, "{error}");
        }
    }
}
