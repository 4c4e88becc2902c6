//! `bench-tuning`: what the image's tuning brings, as far as this machine can show it. Every value is measured beside its
//! alternative, in turns, so that a busy machine is unfair to neither. tests/tuning/run calls it.
//!
//! Not shown: receive packet steering, for it answers to a card whose interrupts all land on one core, and no machine here has such
//! a card; writing to SD cards.

mod lane;
mod link;
mod lossy;
mod realtime;
mod talk;
mod waits;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures what the image's tuning brings")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// How often each value is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the figures go, as JSON.
    #[arg(long, default_value = "target/bench/tuning.json")]
    out: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Keeps a core busy until it is killed; the bench starts these itself.
    Hog,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(Command::Hog) = arguments.command {
        loop {
            std::hint::spin_loop();
        }
    }
    lane::settle()?;
    let mut figures = realtime::measure(arguments.rounds)?;
    figures.extend(lossy::measure(arguments.rounds)?);
    for figure in &figures {
        println!("{figure}");
    }
    posthouse_bench::write(&arguments.out, &figures)?;
    println!("bench-tuning: {} figures in {}", figures.len(), arguments.out.display());
    Ok(())
}
