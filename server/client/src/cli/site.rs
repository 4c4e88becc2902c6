//! What is set for the whole site, through the server's local socket.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use posthouse_protocol::admin::{CertificateInstallParams, Retention, SiteCertificate};
use posthouse_protocol::limits;

use super::output::{Output, local_time, print_json, say};
use super::user::Socket;
use crate::screen::printable;

#[derive(Subcommand)]
pub enum SiteCommand {
    /// Show or set for how long messages are kept; what is older is erased for good
    Retention {
        #[command(flatten)]
        socket: Socket,
        /// A number of days, or 'forever'; without it, what is set is shown
        #[arg(value_name = "DAYS|forever")]
        keep: Option<Keep>,
    },
    /// Show the site's certificate, or install one of your own
    Certificate {
        #[command(flatten)]
        socket: Socket,
        /// The certificate and behind it those that signed it, as PEM; without it, what is used now is shown
        #[arg(long, value_name = "FILE", requires = "key")]
        chain: Option<PathBuf>,
        /// Its private key, as PEM
        #[arg(long, value_name = "FILE", requires = "chain")]
        key: Option<PathBuf>,
        /// Forget the installed one, and use only what the box signs itself
        #[arg(long, conflicts_with = "chain")]
        remove: bool,
    },
}

/// For how long.
#[derive(Clone, Copy)]
pub struct Keep(Option<u32>);

impl std::str::FromStr for Keep {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let bounds = limits::RETENTION_DAYS_MIN..=limits::RETENTION_DAYS_MAX;
        match value.parse() {
            _ if value == "forever" => Ok(Self(None)),
            Ok(days) if bounds.contains(&days) => Ok(Self(Some(days))),
            _ => Err(format!("{} to {} days, or 'forever'", bounds.start(), bounds.end())),
        }
    }
}

pub fn run(command: &SiteCommand, output: Output) -> anyhow::Result<()> {
    match command {
        SiteCommand::Retention { socket, keep } => {
            let mut admin = socket.open()?;
            let retention = match keep {
                Some(Keep(days)) => admin.set_retention(Retention { days: *days })?,
                None => admin.retention()?,
            };
            output.retention(retention);
        }
        SiteCommand::Certificate { socket, chain, key, remove } => {
            let files = chain.as_deref().zip(key.as_deref());
            // What is wrong with a file is said before anything else.
            let params = files.map(|(chain, key)| anyhow::Ok((text(chain)?, text(key)?))).transpose()?;
            let mut admin = socket.open()?;
            let certificate = match params {
                Some((chain, key)) => admin.install_certificate(&CertificateInstallParams { chain, key })?,
                None if *remove => admin.remove_certificate()?,
                None => admin.certificate()?,
            };
            output.certificate(&certificate);
        }
    }
    Ok(())
}

fn text(file: &Path) -> anyhow::Result<String> {
    let read = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let not_pem = || format!("{} is not PEM: openssl x509 -inform DER -in FILE turns it into that", file.display());
    String::from_utf8(read).ok().with_context(not_pem)
}

impl Output {
    fn retention(self, retention: Retention) {
        match (self, retention.days) {
            (Self::Text, Some(days)) => say(&format!("Messages are kept for {days} days.")),
            (Self::Text, None) => say("Messages are kept for ever."),
            (Self::Json, _) => print_json(&retention),
        }
    }

    fn certificate(self, certificate: &SiteCertificate) {
        if matches!(self, Self::Json) {
            return print_json(certificate);
        }
        if let Some(fingerprint) = certificate.fingerprint {
            say(&format!("Fingerprint of this box: {fingerprint}"));
        }
        match &certificate.own {
            None => say("Certificates are signed by this box alone."),
            Some(own) => {
                let names = printable(&own.names.join(", "));
                say(&format!("Own certificate for {names}, valid until {}.", local_time(own.not_after)));
            }
        }
    }
}
