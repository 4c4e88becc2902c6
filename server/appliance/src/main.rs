//! `posthouse-box`: the box's own chores, each a subcommand that a systemd unit runs. Without network, and as root but for the clock.

mod clock;
mod offer;
mod watch;

use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use posthouse_appliance::boot_partition::BootPartition;
use posthouse_appliance::provision;

#[derive(Debug, Parser)]
#[command(name = "posthouse-box", version, about = "The box's own chores")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sets the clock by what the owner's device said when it claimed the box, where no time server has.
    Clock(clock::Options),
    /// Offers the updater a bundle that lies on a USB stick or on the card.
    Offer(offer::Options),
    /// Applies what the files on the card say.
    Provision,
    /// Follows the card's request for a factory reset, where there is one. Before the data partition is looked at.
    Reset,
    /// Prints a file of the card's boot partition.
    Show {
        /// Its name.
        name: String,
    },
    /// Shows how the box is: on its consoles, in POSTHOUSE.TXT, by its light.
    Watch(watch::Options),
}

/// Of a file that somebody wants to see, in bytes.
const SHOWN_LEN_MAX: u64 = 1 << 20;

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Clock(options) => clock::run(&options),
        Command::Offer(options) => offer::run(&options),
        Command::Provision => provision::run(),
        Command::Reset => provision::reset::run(),
        Command::Show { name } => show(&name),
        Command::Watch(options) => watch::run(&options),
    }
}

fn show(name: &str) -> anyhow::Result<()> {
    let file = BootPartition::open()?.read(name, SHOWN_LEN_MAX)?;
    let file = file.with_context(|| format!("the boot partition has no {name}"))?;
    io::stdout().write_all(&file.bytes).context("cannot print it")
}
