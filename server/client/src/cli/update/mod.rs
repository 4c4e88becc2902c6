//! Commands that look after the server's updates, for its owner.

mod follow;
mod push;
mod shown;

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use posthouse_client::{ClientError, Login, Updates};
use posthouse_protocol::ErrorCode;
use posthouse_protocol::update::{POSTPONED_DAYS_MAX, UpdateStatus};
use posthouse_updater::Sha256;

use super::output::Output;
use follow::follow;
use shown::{history, status};

#[derive(Subcommand)]
pub enum UpdateCommand {
    /// Show which version runs, what can be gone back to, and what is new
    Status,
    /// Have the server look at its update URL now
    Check,
    /// Have it install what it has found there, or a bundle that was brought to it; ends with the verdict
    Apply {
        /// SHA-256 of a bundle that was brought before
        #[arg(long, value_name = "SHA256")]
        bundle: Option<Sha256>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Have it go back to the version before; ends when that runs
    Rollback {
        #[command(flatten)]
        wait: Wait,
    },
    /// Show what has happened
    History,
    /// Have it install nothing by itself for some days
    Postpone {
        /// How many; 0 ends it
        #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(POSTPONED_DAYS_MAX)))]
        days: u32,
    },
    /// Bring a bundle to the server and have it installed; goes on where an earlier try broke off
    Push {
        /// Only bring it; `posthouse update apply --bundle SHA256` installs it
        #[arg(long)]
        only: bool,
        #[command(flatten)]
        wait: Wait,
        /// The bundle, a .phb file
        file: PathBuf,
    },
}

#[derive(clap::Args)]
pub struct Wait {
    /// Do not wait for the verdict
    #[arg(long)]
    no_wait: bool,
}

pub async fn run(command: UpdateCommand, output: Output) -> anyhow::Result<()> {
    let updates = Updates::new(Login::load()?);
    match command {
        UpdateCommand::Status => told(&updates.status().await.map_err(explained)?, output),
        UpdateCommand::Check => told(&updates.check().await.map_err(explained)?, output),
        UpdateCommand::Postpone { days } => told(&updates.postpone(days).await.map_err(explained)?, output),
        UpdateCommand::History => {
            let found = updates.history().await.map_err(explained)?;
            output.done_with(&history(&found.history), &found);
        }
        UpdateCommand::Apply { bundle, wait } => {
            let before = updates.status().await.map_err(explained)?;
            let begun = updates.apply(bundle.map(|hash| hash.to_string())).await.map_err(explained)?;
            return ended(&updates, &before, begun, &wait, output).await;
        }
        UpdateCommand::Rollback { wait } => {
            let before = updates.status().await.map_err(explained)?;
            let begun = updates.roll_back().await.map_err(explained)?;
            return ended(&updates, &before, begun, &wait, output).await;
        }
        UpdateCommand::Push { only, wait, file } => {
            let bundle = push::push(&updates, &file, output).await?;
            if only {
                let said = format!("The server has it. Install it with `posthouse update apply --bundle {bundle}`.");
                output.done_with(&said, &serde_json::json!({ "bundle": bundle }));
                return Ok(());
            }
            let before = updates.status().await.map_err(explained)?;
            let begun = updates.apply(Some(bundle)).await.map_err(explained)?;
            return ended(&updates, &before, begun, &wait, output).await;
        }
    }
    Ok(())
}

/// Waits for the verdict, if it is to be waited for. What was not installed is an error.
async fn ended(
    updates: &Updates,
    before: &UpdateStatus,
    begun: UpdateStatus,
    wait: &Wait,
    output: Output,
) -> anyhow::Result<()> {
    if wait.no_wait {
        output.done_with("The server has begun. `posthouse update status` shows how it goes.", &begun);
        return Ok(());
    }
    let (verdict, now) = follow(updates, before, &begun).await?;
    match verdict {
        Ok(said) => output.done_with(&said, &now),
        Err(said) => bail!(said),
    }
    Ok(())
}

fn told(found: &UpdateStatus, output: Output) {
    output.done_with(&status(found), found);
}

/// With what to do about it.
fn explained(error: ClientError) -> anyhow::Error {
    let advice = match &error {
        ClientError::Refused(body) if body.code == ErrorCode::Forbidden => "ask the server's owner",
        ClientError::Refused(body) if body.code == ErrorCode::TokenInvalid => "run `posthouse login NAME`",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}: {advice}")
}
