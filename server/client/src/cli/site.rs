//! What is set for the whole site, through the server's local socket.

use clap::Subcommand;
use posthouse_protocol::admin::Retention;
use posthouse_protocol::limits;

use super::output::Output;
use super::user::Socket;

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
    let SiteCommand::Retention { socket, keep } = command;
    let mut admin = socket.open()?;
    let retention = match keep {
        Some(Keep(days)) => admin.set_retention(Retention { days: *days })?,
        None => admin.retention()?,
    };
    output.retention(retention);
    Ok(())
}
