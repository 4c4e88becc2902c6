//! The files by which a box's programs talk to its server, as a test writes and reads them.

use std::path::PathBuf;

use posthouse_protocol::appliance::{Ownership, Settings, Status};

use crate::wait::until;
use crate::{Server, Site};

/// A box: a site whose server is given settings and says how it is.
pub struct Appliance {
    /// Its data.
    pub site: Site,
}

impl Appliance {
    /// A new one.
    pub fn new() -> Self {
        Self { site: Site::new() }
    }

    /// Starts its server with these settings and waits until it has said how it is.
    pub fn start(&self, settings: &Settings) -> Server {
        let file = self.site.path("settings.json");
        std::fs::write(&file, serde_json::to_vec(settings).expect("settings")).expect("written");
        // What an earlier server has said is not this one's.
        let _ = std::fs::remove_file(self.status_file());
        let mut command = self.site.command();
        command.arg("--settings").arg(file).arg("--status-file").arg(self.status_file());
        let server = Server::start(command, self.site.admin_socket()).expect("the server starts");
        self.status_when(|status| status.ownership != Ownership::Unknown);
        server
    }

    /// Where the server says how it is.
    pub fn status_file(&self) -> PathBuf {
        self.site.path("status.json")
    }

    /// How it is, as soon as that is true.
    pub fn status_when(&self, is_so: impl Fn(&Status) -> bool) -> Status {
        until("status", || {
            let text = std::fs::read(self.status_file()).ok()?;
            serde_json::from_slice(&text).ok().filter(&is_so)
        })
    }

    /// The code that the console shows.
    pub fn code(&self) -> String {
        let status = self.status_when(|status| code(status).is_some());
        code(&status).expect("it was just there").to_owned()
    }
}

impl Default for Appliance {
    fn default() -> Self {
        Self::new()
    }
}

fn code(status: &Status) -> Option<&str> {
    match &status.ownership {
        Ownership::Unclaimed { code } | Ownership::Recovering { code, .. } => Some(code),
        Ownership::Unknown | Ownership::Claimed { .. } => None,
    }
}
