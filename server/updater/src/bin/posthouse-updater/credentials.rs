//! What the probe needs while something is being tried: a secret to log in by, and the certificate by which it knows the server.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use posthouse_protocol::authority::{AuthorityAnswer, AuthorityRequest};

use crate::paths::Paths;
use crate::{files, say};

/// Length of the secret, in bytes.
const SECRET_LEN: usize = 32;

/// Longest file of an authority, in bytes: a key and some certificates.
const AUTHORITY_LEN_MAX: u64 = 256 * 1024;

/// The authority has to be started first, from a card that may be slow; one that takes longer is not waited for, since the server
/// waits for this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Around each certificate of a PEM file (RFC 7468, §5.1).
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Makes a new secret for this start of what is tried, or takes the old one away where nothing is.
///
/// # Errors
/// When the probe can't log in by it, or does not know the server.
pub fn renew(paths: &Paths, is_trial: bool) -> anyhow::Result<()> {
    remove(paths)?;
    if !is_trial {
        return Ok(());
    }
    let folder = paths.verdict.parent().context("the verdict lies nowhere")?;
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    authority(paths).with_context(|| format!("cannot pass on the certificate in {}", paths.authority.display()))?;
    secret(paths)
}

/// The server takes no probe for anybody from its next start on, and none gets in from now on.
///
/// # Errors
/// When the folder can't be written.
pub fn remove(paths: &Paths) -> std::io::Result<()> {
    files::remove(&paths.secret())?;
    files::remove(&paths.probe_authority())
}

fn secret(paths: &Paths) -> anyhow::Result<()> {
    let mut bytes = [0; SECRET_LEN];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let new = paths.run_dir.join("probe-secret.made");
    // Nobody reads it before it is whole and somebody may.
    files::put(&new, 0o600, text.as_bytes())?;
    chown(&new, None, Some(paths.server()?.gid.as_raw()))?;
    fs::set_permissions(&new, Permissions::from_mode(0o640))?;
    fs::rename(&new, paths.secret())?;
    Ok(())
}

/// Its key lies in the same file, and stays there. An authority that gives no certificates is not the fault of what is tried, which
/// is then tried without TLS.
fn authority(paths: &Paths) -> anyhow::Result<()> {
    let pem = match files::read(&paths.authority, AUTHORITY_LEN_MAX) {
        // A box without HTTPS.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        read => String::from_utf8(read?)?,
    };
    if let Err(error) = ask_in_time(&paths.ca_socket) {
        say(&format!(
            "the certificate authority does not answer, so that what is tried is tried without HTTPS: {error}"
        ));
        return Ok(());
    }
    files::put(&paths.probe_authority(), 0o644, certificates(&pem).as_bytes())?;
    Ok(())
}

/// Whether somebody answers there as the authority does, all in all within that time.
fn ask_in_time(socket: &Path) -> io::Result<()> {
    let (sender, answer) = mpsc::channel();
    let socket = socket.to_owned();
    // It ends with this program at the latest.
    thread::Builder::new().spawn(move || sender.send(ask(&socket)))?;
    answer.recv_timeout(ANSWERS_WITHIN).unwrap_or_else(|error| Err(io::Error::new(io::ErrorKind::TimedOut, error)))
}

fn ask(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let mut line = serde_json::to_vec(&AuthorityRequest::Root)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(AUTHORITY_LEN_MAX)).read_until(b'\n', &mut answer)?;
    match serde_json::from_slice(&answer)? {
        AuthorityAnswer::Certificate(_) => Ok(()),
        AuthorityAnswer::Refused(reason) => Err(io::Error::other(reason)),
    }
}

fn certificates(pem: &str) -> String {
    let begun = pem.split(BEGIN).skip(1).filter_map(|rest| Some(rest.split_once(END)?.0));
    begun.map(|body| format!("{BEGIN}{body}{END}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_passed_on() {
        let key = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n";
        let one = format!("{BEGIN}\none\n{END}\n");
        let two = format!("{BEGIN}\ntwo\n{END}\n");
        assert_eq!(certificates(&format!("{key}{one}said{key}{two}{key}")), format!("{one}{two}"));
        assert_eq!(certificates(&format!("{key}{BEGIN}\ncut off")), "");
    }
}
