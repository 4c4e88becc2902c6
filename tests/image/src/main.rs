//! `boot-test`: boots the image of `dist/` in QEMU and tests it from outside, as a client and an electrician would.
//!
//! It never writes to the image: a boot writes to an overlay. tests/image/run calls it.

mod bench;
mod card;
mod chat;
mod claiming;
mod console;
mod damage;
mod discovery;
mod dist;
mod file_systems;
mod http;
mod https;
mod lasting;
mod load;
mod machine;
mod neighbours;
mod network;
mod pi4;
mod power_cut;
mod provisioning;
mod recording;
mod report;
mod rig;
mod scan;
mod selftest;
mod shown;
mod storm;
mod tuning;
mod update_cuts;
mod updates;
mod virt;
mod visitors;
mod writes_log;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use dist::Dist;
use virt::{Cuts, Length};

#[derive(Parser)]
#[command(about = "Boots the built image in QEMU and tests it from outside")]
struct Arguments {
    /// The machine that QEMU plays.
    #[arg(long, value_enum, default_value_t = Machine::Virt)]
    machine: Machine,
    /// The image's manifest; the image lies beside it.
    #[arg(long)]
    manifest: PathBuf,
    /// How often the power is cut while messages are being written; each takes one more boot.
    #[arg(long, default_value_t = 5)]
    cuts: u32,
    /// How often it is cut during an update of the server, in the long test; as many boots, and one more.
    #[arg(long, default_value_t = 16)]
    update_cuts: usize,
    /// Go on with cards in a bad state.
    #[arg(long)]
    long: bool,
    /// What to try.
    #[arg(long, value_enum, default_value_t = Part::Whole)]
    part: Part,
    /// Where the unpacked image, the overlays and the serial logs go.
    #[arg(long)]
    work: PathBuf,
    #[command(flatten)]
    comparison: bench::Comparison,
}

#[derive(Clone, Copy, ValueEnum)]
enum Machine {
    /// QEMU's own machine with a Cortex-A72: the whole test.
    Virt,
    /// QEMU's Pi 4B: boot partition, device tree and SD card only; it has no network.
    Raspi4b,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// All of it.
    Whole,
    /// Updates of the server only.
    Updates,
    /// Power cuts during an update only.
    UpdateCuts,
    /// Cards with garbage, very small and very large ones only.
    BadCards,
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let dist = Dist::open(&arguments.manifest)?;
    // The Raspberry Pi kernel does not boot on virt, and has not been tried on raspi4b.
    ensure!(
        dist.manifest.base == "debian",
        "this image has base {}: QEMU boots those of `make image BASE=debian` only",
        dist.manifest.base
    );
    let disk = dist.unpack(&arguments.work).await?;
    if let Some(untrimmed) = arguments.comparison.wanted() {
        return bench::compare(&disk, untrimmed, &arguments.comparison).await;
    }
    match arguments.machine {
        Machine::Virt => {
            let length = if arguments.long { Length::Long } else { Length::Short };
            let cuts = Cuts { while_writing: arguments.cuts, during_update: arguments.update_cuts };
            match arguments.part {
                Part::Whole => Box::pin(virt::test(&dist, &disk, cuts, length)).await,
                Part::UpdateCuts => Box::pin(virt::test_update_cuts(&dist, &disk, cuts.during_update)).await,
                Part::BadCards => Box::pin(virt::test_bad_cards(&dist, &disk)).await,
                Part::Updates => Box::pin(virt::test_updates(&dist, &disk, length)).await,
            }
        }
        Machine::Raspi4b => pi4::test(&disk).await,
    }
}

async fn interrupted() -> anyhow::Error {
    let (Ok(mut terminated), Ok(mut interrupted)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    anyhow::anyhow!("interrupted")
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::select! {
        outcome = run(&arguments) => outcome,
        // Dropping the test ends its QEMU, which would otherwise outlive it.
        error = interrupted() => Err(error),
    };
    match outcome.with_context(|| format!("testing {}", arguments.manifest.display())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("test-image: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}
