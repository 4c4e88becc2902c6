//! `posthouse-ca`: the certificate authority of a Posthouse box, started by whoever asks at its socket.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use listenfd::ListenFd;
use posthouse_ca::{Authority, Peers, Permitted, serve};
use posthouse_protocol::appliance::Settings;

/// Where systemd holds the socket, the program ends when nobody has asked for so long: it is needed some times a year.
const IDLE: Duration = Duration::from_secs(10);

/// The certificate authority of a Posthouse box.
#[derive(Debug, Parser)]
#[command(name = "posthouse-ca", version)]
struct Arguments {
    /// Folder of the key; it is made at the first start
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,

    /// The socket to answer at; unused where systemd passes one
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Whose names are signed for: the settings that the box's provisioning has read
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// The server's user, who may ask beside root and this program's own
    #[arg(long, value_name = "USER")]
    peer: Option<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("posthouse-ca: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let passed = ListenFd::from_env().take_unix_listener(0).context("systemd passed something else than a socket")?;
    let idle = passed.is_some().then_some(IDLE);
    let listener = match (passed, &arguments.socket) {
        (Some(listener), _) => listener,
        (None, Some(path)) => bind(path)?,
        (None, None) => anyhow::bail!("where to answer? --socket names a path, or systemd passes a socket"),
    };
    let permitted = Permitted::of(&settings(arguments.settings.as_deref()));
    let authority = Authority::open(&arguments.folder, permitted)?;
    eprintln!("posthouse-ca: answering, fingerprint {}", authority.fingerprint());
    serve(&listener, &authority, &peers(arguments.peer.as_deref())?, idle).context("the socket failed")
}

/// A box whose settings can't be read has its name under `.local` and its addresses: it can still be reached.
fn settings(file: Option<&Path>) -> Settings {
    let Some(file) = file else { return Settings::default() };
    let read = std::fs::read(file);
    // A box that nobody has provisioned.
    if read.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Settings::default();
    }
    let parsed = read
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
    parsed.unwrap_or_else(|reason| {
        eprintln!("posthouse-ca: {} can't be read, so no further names are signed for: {reason}", file.display());
        Settings::default()
    })
}

fn peers(name: Option<&str>) -> anyhow::Result<Peers> {
    let Some(name) = name else { return Ok(Peers::default()) };
    let user = nix::unistd::User::from_name(name)?.with_context(|| format!("there is no user {name}"))?;
    Ok(Peers { user: Some(user.uid.as_raw()) })
}

/// In place of one that a dead process left.
fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let context = || format!("cannot make the socket {}", path.display());
    if std::os::unix::net::UnixStream::connect(path).is_err() {
        // None there is the rule; what is no socket is not removed, and binding says so.
        use std::os::unix::fs::FileTypeExt;
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(path).with_context(context)?;
        }
    }
    let listener = UnixListener::bind(path).with_context(context)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).with_context(context)?;
    Ok(listener)
}
