//! `posthouse-image`: what of the image builder needs parsing or decisions. image/build and its stages call it.
//!
//! It decides, checks and prunes the tree; it never builds, mounts or downloads a part of the image itself.

mod boot_files;
mod budget;
mod closed;
mod config_txt;
mod developer;
mod explain;
mod manifest;
mod mbr;
mod modules;
mod packages;
mod release;
mod removal;
mod settle;
mod size;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Removes from the tree what the image does without.
    Trim(size::Trimming),
    /// Explains the image's size, and holds it against the budget.
    Size(size::Measured),
    /// Writes the manifest of a finished image.
    Manifest(manifest::Parts),
    /// Writes an image's bill of materials and its entry for Raspberry Pi Imager.
    Release(release::Papers),
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
        Command::Trim(parts) => size::trim(&parts)?,
        Command::Size(parts) => size::report(&parts)?,
        Command::Manifest(parts) => manifest::write(&parts)?,
        Command::Release(papers) => release::write(&papers)?,
        Command::BootTested { manifest, tested_kernels } => manifest::record_boot(&manifest, tested_kernels)?,
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("posthouse image: {error:#}");
            ExitCode::FAILURE
        }
    }
}
