//! The server's settings, from the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use etcetera::BaseStrategy;
use posthouse_protocol::limits;

use crate::admission::Allowance;
use crate::{VERSION, store};

/// The Posthouse server.
#[derive(Debug, Parser)]
#[command(name = "posthoused", version)]
struct Arguments {
    /// Folder of the database [default: $STATE_DIRECTORY, else posthouse in the user's data folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Address to listen on; unused where systemd passes sockets
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// Address to listen on for HTTPS; unused where systemd passes sockets. Needs --ca-socket
    #[arg(long, value_name = "ADDRESS")]
    listen_tls: Option<SocketAddr>,

    /// Where the box's certificate authority (posthouse-ca) answers; without it there is no HTTPS
    #[arg(long, value_name = "PATH")]
    ca_socket: Option<PathBuf>,

    /// What the box's owner wants of the server, as the box's provisioning has read it
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Write what the box's other programs show of this server to this file, the claim code too; beside it the server leaves its
    /// request to set the clock
    #[arg(long, value_name = "PATH")]
    status_file: Option<PathBuf>,

    /// The local administration socket [default: admin.sock in the data folder]
    #[arg(long, value_name = "PATH")]
    admin_socket: Option<PathBuf>,

    /// Where this file exists, serve what it says as the rescue page, and no chat; the same where the database can't be
    /// opened, which otherwise ends the server
    #[arg(long, value_name = "PATH")]
    rescue_file: Option<PathBuf>,

    /// Connections at once, past which newcomers are told to come back later [default: what memory and open files
    /// allow, 12,000 at most]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    connections_max: Option<u32>,

    /// Requests that an account may make in a second, in the long run
    #[arg(long, value_name = "COUNT", default_value_t = limits::ACCOUNT_REQUESTS_PER_S,
          value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_s: u32,

    /// Memory for pages of the database, in MiB, 8 to 1024. The default leaves a Pi with 2 GB its room; more spares a box with a
    /// long history reads of its card
    #[arg(long, value_name = "MIB", default_value_t = store::CACHE_MIB,
          value_parser = clap::value_parser!(u32).range(8..=1024))]
    cache_mib: u32,

    /// Folder in which the box's updater takes bundles and requests from this server
    #[arg(long, value_name = "DIR")]
    update_inbox: Option<PathBuf>,

    /// What the box's updater says of itself: which release runs, and whether it is on trial
    #[arg(long, value_name = "FILE")]
    update_status: Option<PathBuf>,

    /// Where this file exists, this release is on trial: with what the file says the box's probe may log in
    #[arg(long, value_name = "FILE")]
    probe_secret: Option<PathBuf>,

    /// Print what this build is, as one line of JSON, and end; nothing else is looked at
    #[arg(long)]
    selfcheck: bool,

    /// Announce the server on the local network by mDNS
    #[arg(long)]
    discovery: bool,

    /// Make two demo accounts with well-known passwords (loopback only)
    #[arg(long)]
    demo: bool,
}

/// The settings, with all defaults filled in.
#[derive(Debug)]
pub struct Config {
    /// Folder of the database.
    pub data_dir: PathBuf,
    /// Address to listen on, unless systemd passes sockets.
    pub listen: SocketAddr,
    /// Address to listen on for HTTPS, unless systemd passes sockets.
    pub listen_tls: Option<SocketAddr>,
    /// Where the certificate authority answers, if there is one.
    pub ca_socket: Option<PathBuf>,
    /// The file with what the box's owner wants, if there is one.
    pub settings: Option<PathBuf>,
    /// The file for the box's other programs, if there are some.
    pub status_file: Option<PathBuf>,
    /// Path of the local administration socket.
    pub admin_socket: PathBuf,
    /// Where the reason stands why there can be no chat, if there is one. That it is named says that this is a box, whose
    /// refusals are to be shown to people.
    pub rescue_file: Option<PathBuf>,
    /// Connections at once, if it is not for the machine to say.
    pub connections_max: Option<u32>,
    /// Requests that an account may make in a second, in the long run.
    pub requests_per_s: u32,
    /// Memory for pages of the database, in MiB.
    pub cache_mib: u32,
    /// The folder in which the box's updater takes requests, if there is one.
    pub update_inbox: Option<PathBuf>,
    /// The file with what the box's updater says of itself, if there is one.
    pub update_status: Option<PathBuf>,
    /// Where the probe's secret is while this release is on trial, if this is a box that tries releases.
    pub probe_secret: Option<PathBuf>,
    /// Whether to announce the server on the local network.
    pub discovery: bool,
    /// Whether to make demo accounts.
    pub demo: bool,
}

impl Config {
    /// Reads the command line. Ends the process with help, with what this build is or with a usage error where it asks for that.
    ///
    /// # Errors
    /// When there is no folder to keep data in.
    pub fn from_command_line() -> anyhow::Result<Self> {
        let arguments = Arguments::parse();
        if arguments.selfcheck {
            println!("{}", selfcheck());
            std::process::exit(0);
        }
        Self::from_arguments(arguments)
    }

    /// Who may come in, and how often they may ask. To be asked when the limit on open files stands.
    pub fn allowance(&self) -> Allowance {
        let mut allowance = Allowance::for_this_machine();
        if let Some(most) = self.connections_max {
            allowance.connections_max = usize::try_from(most).unwrap_or(usize::MAX);
        }
        allowance.requests_per_s = self.requests_per_s;
        allowance
    }

    fn from_arguments(arguments: Arguments) -> anyhow::Result<Self> {
        let data_dir = match arguments.data_dir {
            Some(folder) => folder,
            None => default_data_dir()?,
        };
        let admin_socket = arguments.admin_socket.unwrap_or_else(|| data_dir.join("admin.sock"));
        let Arguments { listen, listen_tls, ca_socket, settings, status_file, rescue_file, .. } = arguments;
        anyhow::ensure!(
            listen_tls.is_none() || ca_socket.is_some(),
            "--listen-tls needs a certificate authority: name its socket with --ca-socket"
        );
        let Arguments { connections_max, requests_per_s, cache_mib, discovery, demo, .. } = arguments;
        let Arguments { update_inbox, update_status, probe_secret, .. } = arguments;
        Ok(Self {
            data_dir,
            listen,
            listen_tls,
            ca_socket,
            settings,
            status_file,
            admin_socket,
            rescue_file,
            connections_max,
            requests_per_s,
            cache_mib,
            update_inbox,
            update_status,
            probe_secret,
            discovery,
            demo,
        })
    }
}

/// What the box's updater compares with what the release's signers said, before it tries this build.
fn selfcheck() -> serde_json::Value {
    serde_json::json!({
        "version": VERSION,
        "arch": std::env::consts::ARCH,
        "schema": store::SCHEMA,
        "min_reader": store::MIN_READER,
    })
}

fn default_data_dir() -> anyhow::Result<PathBuf> {
    // systemd sets it from StateDirectory=.
    if let Some(folder) = std::env::var_os("STATE_DIRECTORY") {
        return Ok(folder.into());
    }
    let strategy = etcetera::choose_base_strategy()
        .map_err(|_| anyhow::anyhow!("this user has no home folder: say where to keep data with --data-dir"))?;
    Ok(strategy.data_dir().join("posthouse"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_pages_is_as_asked_for_within_its_bounds_and_64_mib_otherwise() {
        let read = |more: &[&str]| {
            let line = ["posthoused", "--data-dir", "x"].iter().chain(more).copied();
            let arguments = Arguments::try_parse_from(line).map_err(|error| error.to_string())?;
            Ok(Config::from_arguments(arguments).expect("a folder is named").cache_mib)
        };
        assert_eq!(read(&[]), Ok(64));
        assert_eq!([read(&["--cache-mib", "8"]), read(&["--cache-mib", "1024"])], [Ok(8), Ok(1024)]);
        for bad in ["7", "1025", "64M", ""] {
            let refused: String = read(&["--cache-mib", bad]).expect_err(bad);
            assert!(refused.contains("--cache-mib"), "{bad}: {refused}");
        }
        assert!(read(&["--cache-mib", "7"]).expect_err("too little").contains("8..=1024"));
    }
}
