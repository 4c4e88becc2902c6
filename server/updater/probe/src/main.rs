//! `posthouse-probe`: tries the server of this box from outside, once, and says what came of it.
//!
//! It belongs to the image, and tries whatever release comes later: it shares no type with any of them and knows nothing but
//! the frames of `server/updater/PROBE.md`. It has no runtime and keeps nothing; who runs it decides what follows.

mod attempt;
mod door;
mod pinned;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use attempt::{Outcome, attempt};
use door::Door;

/// Between two attempts, where the server asks to be asked again.
const RETRY: Duration = Duration::from_millis(250);

/// Tries the server of this box, and says in one line and by its exit code whether it serves: 0 passed, 1 failed, 2 inconclusive.
#[derive(Parser)]
#[command(name = "posthouse-probe", version)]
struct Arguments {
    /// The secret with which the probe logs in
    #[arg(long, value_name = "FILE")]
    probe_secret: PathBuf,

    /// Where the server answers by HTTPS
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:443")]
    https: SocketAddr,

    /// Where it answers by HTTP, which is asked where there is no authority
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:80")]
    http: SocketAddr,

    /// The certificate of the box's authority (PEM); without one, or where the file is not there, the probe speaks plain HTTP
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,

    /// Seconds for all of it
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (verdict, reason, code) = match prepare(&arguments) {
        Ok((door, secret)) => match probe(door, secret, Duration::from_secs(arguments.timeout)) {
            Outcome::Passed => ("passed", "it logs in, sends, delivers and reads back".to_owned(), 0),
            Outcome::Failed(reason) | Outcome::Later(reason) => ("failed", reason, 1),
            Outcome::Inconclusive(reason) => ("inconclusive", reason, 2),
        },
        // That is nothing for which the release can be blamed.
        Err(error) => ("inconclusive", format!("{error:#}"), 2),
    };
    println!("{}", serde_json::json!({ "verdict": verdict, "reason": reason }));
    ExitCode::from(code)
}

/// What the probe needs of this box.
fn prepare(arguments: &Arguments) -> anyhow::Result<(Door, String)> {
    let secret = std::fs::read_to_string(&arguments.probe_secret)
        .with_context(|| format!("cannot read the probe's secret {}", arguments.probe_secret.display()))?;
    let authority = arguments.authority.as_deref().map(authority).transpose()?.flatten();
    let door = match authority {
        Some(pem) => Door::secure(arguments.https, &pem)?,
        None => Door::plain(arguments.http),
    };
    Ok((door, secret.trim().to_owned()))
}

/// What the file says; `None` where there is none.
fn authority(file: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::read(file) {
        Ok(pem) => Ok(Some(pem)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read the authority {}", file.display())),
    }
}

/// Tries until the server has shown whether it serves, or the time is over. The attempts are made on a thread of their own: one
/// that hangs, in whatever it waits, is left behind with the process.
fn probe(door: Door, secret: String, timeout: Duration) -> Outcome {
    let (tell, outcome) = mpsc::channel();
    let last = Arc::new(Mutex::new("nothing was answered".to_owned()));
    let noted = Arc::clone(&last);
    let work = move || {
        loop {
            let came_to = attempt(&door, &secret, |step| note(&noted, format!("no answer in time: {step}")));
            let Outcome::Later(reason) = came_to else {
                // Nobody listens any more only where the time is over.
                let _ = tell.send(came_to);
                return;
            };
            note(&noted, reason);
            thread::sleep(RETRY);
        }
    };
    thread::spawn(work);
    outcome
        .recv_timeout(timeout)
        .unwrap_or_else(|_| Outcome::Failed(last.lock().unwrap_or_else(PoisonError::into_inner).clone()))
}

fn note(last: &Mutex<String>, what: String) {
    *last.lock().unwrap_or_else(PoisonError::into_inner) = what;
}
