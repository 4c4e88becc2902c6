//! Where things are: on the box as the defaults say, in tests elsewhere.

use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User};
use posthouse_protocol::appliance::Settings;
use posthouse_updater::{Sha256, Slot};

/// Folders, files and programs.
#[derive(Clone, Debug, clap::Args)]
pub struct Paths {
    /// What lasts: slots, records, audit
    #[arg(long, value_name = "DIR", default_value = "/var/lib/posthouse-updater")]
    pub state_dir: PathBuf,

    /// Where the server asks
    #[arg(long, value_name = "DIR", default_value = "/var/lib/posthouse/inbox")]
    pub inbox: PathBuf,

    /// What lasts until the box is switched off: link, status, the probe's secret
    #[arg(long, value_name = "DIR", default_value = "/run/posthouse-updater")]
    pub run_dir: PathBuf,

    /// The server that came with the image
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/posthouse/posthoused")]
    pub factory: PathBuf,

    /// The root that came with the image: whose signatures count
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/posthouse/update-root")]
    pub root: PathBuf,

    /// Which release the server is of that came with the image; a server that was never released has no such file, or seq 0
    #[arg(long, value_name = "FILE", default_value = "/usr/lib/posthouse/release")]
    pub factory_release: PathBuf,

    /// What the box's owner wants, as the box's provisioning has read it: the channel stands there
    #[arg(long, value_name = "FILE", default_value = "/run/posthouse-settings/settings.json")]
    pub settings: PathBuf,

    /// Which releases are for this box, whatever the settings say
    #[arg(long)]
    pub channel: Option<String>,

    /// What is called as systemctl
    #[arg(long, value_name = "PROGRAM", default_value = "/usr/bin/systemctl")]
    pub control: PathBuf,

    /// The certificate of the box's authority, by which the probe knows the server; what else the file holds is not passed on
    #[arg(long, value_name = "FILE", default_value = "/var/lib/posthouse-ca/authority.pem")]
    pub authority: PathBuf,

    /// Where that authority answers; where it does not, the probe speaks plain HTTP
    #[arg(long, value_name = "FILE", default_value = "/run/posthouse-ca/ca.sock")]
    pub ca_socket: PathBuf,

    /// Where the probe leaves its verdict
    #[arg(long, value_name = "FILE", default_value = "/run/posthouse-probe/verdict")]
    pub verdict: PathBuf,

    /// The server's user
    #[arg(long, value_name = "NAME", default_value = "posthouse")]
    pub user: String,
}

impl Paths {
    /// Which releases are for this box. Without settings, or with odd ones, as without a wish.
    pub fn channel(&self) -> String {
        self.channel.clone().unwrap_or_else(|| {
            let text = std::fs::read(&self.settings).unwrap_or_default();
            serde_json::from_slice::<Settings>(&text).unwrap_or_default().updates.channel
        })
    }

    /// Of all slots.
    pub fn slots(&self) -> PathBuf {
        self.state_dir.join("slots")
    }

    /// Of one slot.
    pub fn slot(&self, sha256: Sha256) -> PathBuf {
        self.slots().join(sha256.to_string())
    }

    /// What is run for a slot.
    pub fn program(&self, slot: &Slot) -> PathBuf {
        match slot {
            Slot::Factory => self.factory.clone(),
            Slot::Installed(slot) => self.slot(slot.sha256).join(PROGRAM),
        }
    }

    /// Copies that are being verified, and requests that are being carried out.
    pub fn incoming(&self) -> PathBuf {
        self.state_dir.join("incoming")
    }

    /// Says what is started.
    pub fn link(&self) -> PathBuf {
        self.run_dir.join(PROGRAM)
    }

    /// What is there to be seen by the server.
    pub fn status(&self) -> PathBuf {
        self.run_dir.join("status.json")
    }

    /// By which the probe logs in.
    pub fn secret(&self) -> PathBuf {
        self.run_dir.join("probe-secret")
    }

    /// By what the probe knows the server.
    pub fn probe_authority(&self) -> PathBuf {
        self.run_dir.join("authority")
    }

    /// Who the server runs as.
    pub fn server(&self) -> anyhow::Result<Server> {
        let user = User::from_name(&self.user)?;
        let user = user.ok_or_else(|| anyhow::anyhow!("there is no user {}", self.user))?;
        Ok(Server { uid: user.uid, gid: user.gid })
    }
}

/// The server's user.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its number.
    pub uid: Uid,
    /// Its group's.
    pub gid: Gid,
}

/// A slot's program, and the link to what is started.
pub const PROGRAM: &str = "posthoused";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        paths: Paths,
    }

    #[test]
    fn the_channel_is_the_owners_wish() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("settings.json");
        let channel = |more: &[&str]| {
            let settings = ["updater", "--settings", file.to_str().expect("a readable path")];
            Arguments::parse_from(settings.iter().chain(more)).paths.channel()
        };
        assert_eq!(channel(&[]), "stable", "nobody has provisioned it");
        std::fs::write(&file, r#"{"host_name": "box", "updates": {"channel": "beta"}}"#).expect("written");
        assert_eq!(channel(&[]), "beta");
        assert_eq!(channel(&["--channel", "other"]), "other");
        std::fs::write(&file, "odd").expect("written");
        assert_eq!(channel(&[]), "stable");
    }
}
