//! `unit-launch`: becomes a unit's command, as systemd's executor does between fork and exec.
//!
//! `unit-launch PROGRAM ARGUMENT…`: tells the process its own id where systemd would (`LISTEN_PID`, `WATCHDOG_PID`), lets it die
//! with the supervisor, and ends with 203 where the program can't be executed, after one line that says why.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::execve;

/// systemd's `EXIT_EXEC` (man systemd.exec, "Process Exit Codes").
const EXIT_EXEC: u8 = 203;

fn main() -> ExitCode {
    let words: Vec<CString> = std::env::args_os().skip(1).map(text).collect();
    let Err(error) = launch(&words);
    eprintln!("unit-launch: {words:?} can't be executed: {error}");
    ExitCode::from(EXIT_EXEC)
}

fn launch(words: &[CString]) -> Result<Infallible, Errno> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let id = OsString::from(std::process::id().to_string());
    for (given, own) in [("LISTEN_FDS", "LISTEN_PID"), ("WATCHDOG_USEC", "WATCHDOG_PID")] {
        if std::env::var_os(given).is_some() {
            environment.push((own.into(), id.clone()));
        }
    }
    let environment: Vec<CString> = environment
        .into_iter()
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            text(name)
        })
        .collect();
    // Not by the search path, which would hand to a shell what is no program.
    execve(words.first().ok_or(Errno::EINVAL)?, words, &environment)
}

fn text(word: OsString) -> CString {
    CString::new(word.into_vec()).expect("what came as an argument or a variable holds no zero")
}
