//! `posthouse-updater`: the part of the image that installs, tries and takes back versions of the server. Root, and without network.
//!
//! Each subcommand is started by a unit of systemd and does one thing: `pick` says what to start, `attend` has it watched, `ended` counts what crashed,
//! `trial` watches what is tried, `inbox` does what the server asks for. README.md says how they go together. None of them ever
//! keeps the server from starting.

mod attend;
mod audit;
mod control;
mod credentials;
mod elf;
mod ended;
mod failpoints;
mod files;
mod inbox;
mod kept;
mod measure;
mod paths;
mod pick;
mod records;
mod request;
mod selfcheck;
mod slots;
mod status;
mod storage;
mod trial;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Installs, tries and takes back versions of the server.
#[derive(Debug, Parser)]
#[command(name = "posthouse-updater", version)]
struct Arguments {
    #[command(flatten)]
    paths: paths::Paths,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what is to be started, by a link; before each start of the server
    Pick,
    /// Has what is being tried watched; before each start of the server, behind `pick`
    Attend,
    /// Counts a crash of what is being tried; after each end of the server
    Ended,
    /// Watches what is being tried, and confirms it or gives it up
    Trial(trial::Options),
    /// Does what the server asks for by its inbox
    Inbox,
    /// Runs a program's check of itself within limits; for `inbox`
    #[command(hide = true)]
    Confined(selfcheck::Confined),
    /// Prints the names of the places at which a test can end this program
    #[cfg(feature = "failpoints")]
    Failpoints,
}

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _scenario = fail::FailScenario::setup();
    let Arguments { paths, command } = Arguments::parse();
    let done = match command {
        Command::Pick => pick::run(&paths),
        Command::Attend => attend::run(&paths),
        Command::Ended => ended::run(&paths),
        Command::Trial(options) => trial::run(&paths, &options),
        Command::Inbox => inbox::run(&paths),
        Command::Confined(confined) => confined.run(),
        #[cfg(feature = "failpoints")]
        Command::Failpoints => {
            failpoints::ALL.iter().for_each(|name| println!("{name}"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// One line of the log.
fn say(line: &str) {
    eprintln!("posthouse-updater: {line}");
}
