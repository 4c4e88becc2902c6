//! What a box will make of the files on its card, said before the card goes into it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use posthouse_appliance::file;

use super::output::{self, Output};

#[derive(Subcommand)]
pub enum ProvisionCommand {
    /// Check a file: prints what a box will take from it, and what is wrong with it
    Check {
        /// posthouse.toml under any name, or user-data or network-config of Raspberry Pi Imager
        file: PathBuf,
    },
    /// Print the JSON Schema of posthouse.toml, for editors
    Schema,
}

pub fn run(command: &ProvisionCommand, output: Output) -> anyhow::Result<()> {
    let ProvisionCommand::Check { file: path } = command else {
        match output {
            Output::Text => output::print(file::SCHEMA.as_bytes()),
            Output::Json => output.done_with("", &serde_json::from_str::<serde_json::Value>(file::SCHEMA)?),
        }
        return Ok(());
    };
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let reading = posthouse_appliance::read(name, &bytes).unwrap_or_else(|| file::read(&bytes));
    let problems: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    output.provisioning(&reading.usable().summary(), &problems);
    match problems.len() {
        0 => Ok(()),
        1 => bail!("there is one mistake in {}", path.display()),
        count => bail!("there are {count} mistakes in {}", path.display()),
    }
}
