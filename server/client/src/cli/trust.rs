//! Whom this device trusts: boxes whose fingerprint somebody has compared.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use posthouse_client::{KnownServers, ServerUrl, fingerprint_of};
use posthouse_protocol::Fingerprint;

use super::discover;
use super::output::Output;

#[derive(Args, Default)]
pub struct Server {
    /// The server's address [default: the only box on this network]
    #[arg(long, value_name = "https://HOST[:PORT]")]
    server: Option<ServerUrl>,
    /// The fingerprint that the box shows, where nobody is there to compare it; 64 digits
    #[arg(long, value_name = "DIGITS")]
    fingerprint: Option<Fingerprint>,
}

#[derive(Subcommand)]
pub enum TrustCommand {
    /// List the boxes that this device knows
    List,
    /// Forget a box, so that another fingerprint can be compared and trusted at its address
    Forget {
        /// Its address
        #[arg(value_name = "https://HOST[:PORT]")]
        server: ServerUrl,
    },
}

pub fn run(command: &TrustCommand, output: Output) -> anyhow::Result<()> {
    let mut known = KnownServers::load()?;
    match command {
        TrustCommand::List => known.all().for_each(|(address, fingerprint)| output.known(address, fingerprint)),
        TrustCommand::Forget { server } => {
            anyhow::ensure!(known.forget(server)?, "this device knows no {server}");
            output.done("Forgotten.");
        }
    }
    Ok(())
}

impl Server {
    /// The server with the fingerprint by which it is known. At first use somebody compares it.
    pub async fn trusted(self) -> anyhow::Result<ServerUrl> {
        let Self { server, fingerprint } = self;
        let server = discover::server(server).await?;
        if !server.is_secure() {
            anyhow::ensure!(fingerprint.is_none(), "a fingerprint goes with https://, and {server} is not");
            return Ok(server);
        }
        let mut known = KnownServers::load()?;
        let pin = match (known.get(&server), fingerprint) {
            (Some(known), Some(given)) if known != given => bail!(
                "{server} is known by another fingerprint ({known}): if the box was reset, run `posthouse trust forget {server}` \
                 first"
            ),
            (Some(known), _) => return Ok(server.pinned(known)),
            (None, given) => {
                let shown = fingerprint_of(&server).await;
                let shown = shown.map_err(|reason| anyhow::anyhow!("cannot reach {server}: {reason}"))?;
                match given {
                    Some(given) if given == shown => given,
                    Some(_) => bail!("{server} shows another fingerprint ({shown}): this is not the box that you mean"),
                    None => {
                        compare(&server, shown)?;
                        shown
                    }
                }
            }
        };
        known.pin(&server, pin)?;
        Ok(server.pinned(pin))
    }
}

/// As ssh does at its first visit.
fn compare(server: &ServerUrl, shown: Fingerprint) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!(
            "this device does not know {server} yet: compare its fingerprint ({shown}) with the one that the box shows, and give \
             it with --fingerprint"
        );
    }
    let mut terminal = std::io::stderr();
    write!(
        terminal,
        "This device does not know {server} yet. It shows this fingerprint:\n\n    {shown}\n\n\
         Compare it with the one on the box's screen, on its card (POSTHOUSE.TXT) or from its owner.\n\
         Is it the same? (yes/no) "
    )?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot ask at the terminal")?;
    anyhow::ensure!(answer.trim().eq_ignore_ascii_case("yes"), "{server} is not trusted, so nothing was sent to it");
    Ok(())
}
