//! The certificate authority of a site, as a process of its own, and a server that has its certificates from it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::wait::until;
use crate::{Log, Server, Site, binaries};

/// A running authority. Dropping it kills it; its folder stays with the site.
pub struct BoxAuthority {
    child: Child,
    socket: PathBuf,
    settings: PathBuf,
    folder: PathBuf,
}

impl BoxAuthority {
    /// Starts it on this site, with these settings of the box (JSON).
    pub fn start(site: &Site, settings: &str) -> Self {
        let (folder, socket) = (site.path("ca"), site.path("ca.sock"));
        std::fs::create_dir_all(&folder).expect("its folder");
        let file = site.path("settings.json");
        std::fs::write(&file, settings).expect("settings");
        let mut command = Command::new(binaries::authority());
        command.arg("--folder").arg(&folder).arg("--socket").arg(&socket).arg("--settings").arg(&file);
        let child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().expect("its program starts");
        let mut authority = Self { child, socket, settings: file, folder };
        let log = Log::follow(authority.child.stderr.take().expect("it is piped"));
        until("answering authority", || log.text().contains("answering").then_some(()));
        authority
    }

    /// The server's command line on this site, with HTTPS.
    pub fn command(&self, site: &Site) -> Command {
        let mut command = site.command();
        command.args(["--listen-tls", "127.0.0.1:0"]).arg("--ca-socket").arg(&self.socket);
        command.arg("--settings").arg(&self.settings);
        command
    }

    /// A server with HTTPS.
    ///
    /// # Panics
    /// When it does not start.
    pub fn serve(&self, site: &Site) -> Server {
        let started = Server::start(self.command(site), site.admin_socket());
        started.unwrap_or_else(|stopped| panic!("the server did not start: {stopped:?}"))
    }

    /// Writes its certificate into a file of the site, and says which.
    pub fn root(&self, site: &Site) -> PathBuf {
        let kept = std::fs::read_to_string(self.folder.join("authority.pem")).expect("the authority");
        let start = kept.find("-----BEGIN CERTIFICATE").expect("its certificate");
        let file = site.path("root.pem");
        std::fs::write(&file, &kept[start..]).expect("written");
        file
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for BoxAuthority {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
