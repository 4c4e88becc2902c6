//! What every scenario stands on: the sizes, the cores, the folders.

use std::path::PathBuf;

use anyhow::Context;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::dialect::Dialect;
use crate::plan::Plan;
use crate::process::Process;
use crate::site::{Site, Stock};

/// The whole of a benchmark.
pub struct Bench {
    /// How much of everything.
    pub plan: Plan,
    /// Filled data folders.
    pub stock: Stock,
    /// Where data folders and measured files lie.
    pub work: PathBuf,
    /// Which cores who has.
    pub cores: Cores,
}

/// Lists of cores, as taskset takes them.
pub struct Cores {
    /// The measured process.
    pub server: String,
    /// What is not measured may use all.
    pub all: String,
}

impl Cores {
    /// Gives the first core that this process may use to the server, and keeps the second for itself. With
    /// only one core they share it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn divide() -> anyhow::Result<Self> {
        let this = Pid::from_raw(0);
        let allowed = sched_getaffinity(this)?;
        let cores: Vec<usize> = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect();
        let (first, own) = (cores.first().context("there is a core")?, cores.get(1).or(cores.first()));
        let mut load = CpuSet::new();
        load.set(*own.context("there is a core")?)?;
        sched_setaffinity(this, &load)?;
        let all = cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Ok(Self { server: first.to_string(), all })
    }
}

/// The measured program with its data.
pub struct Target {
    /// The program.
    pub process: Process,
    /// The server's data and people; the relay has the same people and no data.
    pub site: Site,
}

impl Bench {
    /// Starts server or relay on its core, with the accounts that loads use.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn start(&self, dialect: Dialect) -> anyhow::Result<Target> {
        let site = self.stock.people(self.plan.people).await?;
        let process = match dialect {
            Dialect::Server => Process::server(&site.data_dir(), &self.cores.server)?,
            Dialect::Relay => Process::relay(&self.cores.server)?,
        };
        Ok(Target { process, site })
    }
}
