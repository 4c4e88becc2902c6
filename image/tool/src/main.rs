//! `posthouse-image`: what of the image builder needs parsing or decisions. image/build and its stages call it.
//!
//! It decides, checks, prunes the tree and gathers locked packages; it never builds or mounts a part of the image itself.

mod bill;
mod boot_files;
mod budget;
mod closed;
mod config_txt;
mod developer;
mod explain;
mod imager;
mod lock;
mod manifest;
mod mbr;
mod modules;
mod packages;
mod removal;
mod settle;
mod size;
mod update_root;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// How it ends where a locked package is no longer to be had: only there may a build go on without its lock.
const GONE: u8 = 3;

#[derive(Parser)]
#[command(about = "Decisions and checks of the image builder")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks what was asked for and prints the build's settings as shell assignments.
    Settle(settle::Wanted),
    /// Says in one line why a stage failed and what to do.
    Explain {
        #[arg(long)]
        stage: String,
        #[arg(long)]
        log: PathBuf,
        #[arg(long)]
        work_dir: PathBuf,
    },
    /// Asserts that the boot partition holds what its config.txt makes the firmware load.
    CheckBoot(boot_files::Subject),
    /// Asserts that nobody can log in to a release image, and that no program gives more rights than its user has.
    CheckClosed(closed::Subject),
    /// Prints the public keys that POSTHOUSE_DEV_SSH_KEY gives, for an image of the profile dev.
    DeveloperKeys,
    /// Settles which updates the image will take: whose, and what is too old.
    UpdateRoot(update_root::Choice),
    /// Removes from the tree what the image does without.
    Trim(size::Trimming),
    /// Explains the image's size, and holds it against the budget.
    Size(size::Measured),
    /// Writes, checks and keeps to the package lock.
    #[command(subcommand)]
    Lock(lock::Command),
    /// Writes the manifest of a finished image.
    Manifest(manifest::Parts),
    /// Writes an image's bill of materials.
    Bill(bill::Billed),
    /// Writes an image's entry for Raspberry Pi Imager.
    Imager(imager::Offer),
    /// Records that the image of a manifest was booted: in it, and for later images with the same kernel.
    BootTested {
        #[arg(long)]
        manifest: PathBuf,
        /// File with one kernel hash a line; in the builder's cache unless named.
        #[arg(long)]
        tested_kernels: Option<PathBuf>,
    },
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Settle(wanted) => print!("{}", settle::settle(&wanted)?),
        Command::Explain { stage, log, work_dir } => println!("{}", explain::explain(&stage, &log, &work_dir)),
        Command::CheckBoot(subject) => boot_files::check(&subject)?,
        Command::CheckClosed(subject) => closed::check(&subject)?,
        Command::DeveloperKeys => print!("{}", developer::keys()?.unwrap_or_default()),
        Command::UpdateRoot(choice) => update_root::choose(&choice)?.iter().for_each(|said| println!("**** {said}")),
        Command::Trim(parts) => size::trim(&parts)?,
        Command::Size(parts) => size::report(&parts)?,
        Command::Lock(command) => lock::run(command)?,
        Command::Manifest(parts) => manifest::write(&parts)?,
        Command::Bill(billed) => bill::write(&billed)?,
        Command::Imager(offer) => imager::write(&offer)?,
        Command::BootTested { manifest, tested_kernels } => manifest::record_boot(&manifest, tested_kernels)?,
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("posthouse image: {error:#}");
            match error.downcast_ref() {
                Some(lock::GatherError::Gone { .. }) => ExitCode::from(GONE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
