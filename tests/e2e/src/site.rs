//! A data folder, on which servers run one after the other.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Server, Stopped, binaries};

/// The length of each of the log's files.
const LOG_LEN: usize = 16 * 1024 * 1024;

/// A folder that is gone with this value.
pub struct Site {
    folder: TempDir,
}

impl Site {
    /// A site without data.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A site with these accounts, and a server on it.
    pub fn with_accounts(names: &[&str]) -> (Self, Server) {
        let site = Self::new();
        let server = site.start();
        for name in names {
            server.add_account(name);
        }
        (site, server)
    }

    /// A site whose database has this content, with an empty log.
    pub fn with_database(content: &[u8]) -> Self {
        Self::with_store(&[content.to_vec(), vec![0; LOG_LEN], vec![0; LOG_LEN]])
    }

    /// A site whose store has these files: the database first, then its log's.
    pub fn with_store(files: &[Vec<u8>; 3]) -> Self {
        let site = Self::new();
        std::fs::create_dir(site.data_dir()).expect("the data folder");
        for (path, content) in site.store().iter().zip(files) {
            std::fs::write(path, content).expect("a file of the store");
        }
        site
    }

    /// A place for the test's own files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The server's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.data_dir().join("posthouse.redb")
    }

    /// The files of the store: the database first, then its log's.
    pub fn store(&self) -> [PathBuf; 3] {
        ["posthouse.redb", "posthouse.wal.0", "posthouse.wal.1"].map(|name| self.data_dir().join(name))
    }

    /// The administration socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.data_dir().join("admin.sock")
    }

    /// The server's command line: this site's data, a free port of the loopback address.
    pub fn command(&self) -> Command {
        Self::command_for(&self.data_dir())
    }

    /// The same on an address that a server had before.
    pub fn command_at(&self, address: std::net::SocketAddr) -> Command {
        Self::command_on(&self.data_dir(), &address.to_string())
    }

    /// The same for any data folder. Nothing of the test's environment that a service manager sets reaches
    /// the server.
    pub fn command_for(data_dir: &Path) -> Command {
        Self::command_on(data_dir, "127.0.0.1:0")
    }

    fn command_on(data_dir: &Path, address: &str) -> Command {
        let mut command = Command::new(binaries::server());
        command.arg("--data-dir").arg(data_dir).args(["--listen", address]);
        for variable in ["JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "RUST_LOG", "STATE_DIRECTORY"] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self) -> Server {
        self.try_start().unwrap_or_else(|stopped| panic!("the server did not start: {stopped:?}"))
    }

    /// Starts a server and waits until it serves or ends.
    ///
    /// # Errors
    /// How it ended, where it refused to serve.
    pub fn try_start(&self) -> Result<Server, Stopped> {
        Server::start(self.command(), self.admin_socket())
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}
