//! What a process takes of memory and processor, as the kernel counts it (proc(5)).

use std::fs;
use std::time::Instant;

use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// What the server took before a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Memory that it has in use, in bytes.
    pub resident: u64,
    /// Processor cores that it keeps busy.
    pub cores: f64,
}

/// What a process has taken until a moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Memory in use, in bytes.
    pub resident: u64,
    /// Processor time, in seconds.
    seconds: f64,
    at: Instant,
}

impl Sample {
    /// Of a process; none where there is no such process.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name, which may hold anything, in brackets.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        let number = |i: usize| fields.get(i).and_then(|field| field.parse::<u32>().ok());
        // utime and stime are fields 14 and 15, and rss is 24; the first behind the name is 3.
        let (user, system, pages) = (number(11)?, number(12)?, number(21)?);
        let per_second = constant(SysconfVar::CLK_TCK)?;
        let page = constant(SysconfVar::PAGE_SIZE)?;
        Some(Self {
            resident: u64::from(pages) * u64::from(page),
            seconds: (f64::from(user) + f64::from(system)) / f64::from(per_second),
            at: Instant::now(),
        })
    }

    /// Made up.
    #[cfg(test)]
    pub fn at(at: Instant, resident: u64, seconds: f64) -> Self {
        Self { resident, seconds, at }
    }

    /// Processor cores kept busy between an earlier moment and this one.
    pub fn cores_since(&self, earlier: &Self) -> f64 {
        let elapsed = self.at.duration_since(earlier.at).as_secs_f64();
        if elapsed > 0.0 { (self.seconds - earlier.seconds).max(0.0) / elapsed } else { 0.0 }
    }
}

fn constant(name: SysconfVar) -> Option<u32> {
    sysconf(name).ok().flatten().and_then(|value| u32::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_computes_is_seen_to() {
        let before = Sample::of(std::process::id()).expect("this process");
        assert!(before.resident > 100_000, "{before:?}");
        while Sample::of(std::process::id()).expect("this process").cores_since(&before) < 0.05 {
            std::hint::black_box(vec![0_u8; 1 << 20]);
        }
        assert!(Sample::of(u32::MAX).is_none());
    }
}
