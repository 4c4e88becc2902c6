//! Boxes on this network, and which of them is meant where no address is given.

use std::time::Duration;

use anyhow::bail;
use posthouse_client::discover::{FoundBox, PATIENCE, boxes};
use posthouse_client::{KnownServers, ServerUrl};

use super::output::Output;

/// Whether this device trusts a box that says that it is one with this identity. The connection proves it.
#[derive(Clone, Copy, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// Its fingerprint was compared.
    Known,
    /// Nobody has compared its fingerprint here yet.
    New,
    /// It speaks HTTP, by which nobody can be trusted.
    Plain,
}

/// What to do where the network tells of no box.
const NONE_FOUND: &str = "no box was found on this network: give its address with --server (its screen, the file POSTHOUSE.TXT on \
                          its card and its QR code show it). Some networks keep devices from finding each other";

/// Shows every box that answers within `wait`.
pub async fn run(wait: Duration, output: Output) -> anyhow::Result<()> {
    let found = boxes(wait).await?;
    anyhow::ensure!(!found.is_empty(), NONE_FOUND);
    let known = KnownServers::load()?;
    for one in found {
        let is_known = one.is_secure && known.all().any(|(_, fingerprint)| fingerprint.short() == one.identity);
        let trust = match (one.is_secure, is_known) {
            (true, true) => Trust::Known,
            (true, false) => Trust::New,
            (false, _) => Trust::Plain,
        };
        output.found(&one, &one.url().await, trust);
    }
    Ok(())
}

/// The server that is named, or else the only box on this network.
pub async fn server(named: Option<ServerUrl>) -> anyhow::Result<ServerUrl> {
    if let Some(server) = named {
        return Ok(server);
    }
    let found = boxes(PATIENCE).await?;
    match found.as_slice() {
        [] => bail!(NONE_FOUND),
        [only] => {
            let url = only.url().await;
            eprintln!("posthouse: found {} ({url}, id {})", only.name, only.identity);
            Ok(url)
        }
        several => bail!("{}", choice(several).await),
    }
}

async fn choice(several: &[FoundBox]) -> String {
    let mut urls = Vec::new();
    for one in several {
        urls.push(format!("{} ({})", one.url().await, one.name));
    }
    format!("{} boxes were found on this network: name one with --server: {}", several.len(), urls.join(", "))
}
