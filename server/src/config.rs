//! The server's settings, from the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use etcetera::BaseStrategy;

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

    /// The local administration socket [default: admin.sock in the data folder]
    #[arg(long, value_name = "PATH")]
    admin_socket: Option<PathBuf>,

    /// Where this file exists, serve what it says as the rescue page, and no chat
    #[arg(long, value_name = "PATH")]
    rescue_file: Option<PathBuf>,

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
    /// Path of the local administration socket.
    pub admin_socket: PathBuf,
    /// Where the reason stands why there can be no chat, if there is one.
    pub rescue_file: Option<PathBuf>,
    /// Whether to make demo accounts.
    pub demo: bool,
}

impl Config {
    /// Reads the command line. Ends the process with help or with a usage error where it asks for that.
    ///
    /// # Errors
    /// When there is no folder to keep data in.
    pub fn from_command_line() -> anyhow::Result<Self> {
        Self::from_arguments(Arguments::parse())
    }

    fn from_arguments(arguments: Arguments) -> anyhow::Result<Self> {
        let data_dir = match arguments.data_dir {
            Some(folder) => folder,
            None => default_data_dir()?,
        };
        let admin_socket = arguments.admin_socket.unwrap_or_else(|| data_dir.join("admin.sock"));
        let Arguments { listen, rescue_file, demo, .. } = arguments;
        Ok(Self { data_dir, listen, admin_socket, rescue_file, demo })
    }
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
