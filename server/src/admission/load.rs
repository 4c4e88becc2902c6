//! How busy the box is: the shed level.
//!
//! Two signs that whoever is here already is about to notice: the runtime wakes tasks late, or the process has
//! grown past its share of the memory. Then newcomers are told to come back later, until it has been calm for
//! a while.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the signs are looked at: each look wakes a box that may have nothing else to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A task that wakes this late means that everybody's answers are late. People notice a delay from some 0.1 s on
/// and lose the thread at 1 s (Nielsen, Usability Engineering, 1993); 10,000 clients that come back at once make
/// it some 0.1 s.
const LAG_MAX: Duration = Duration::from_millis(500);

/// Below it a look counts as calm.
const LAG_CALM: Duration = Duration::from_millis(100);

/// Calm looks in a row that end the shedding: one second.
const CALM_LOOKS: u32 = 4;

/// The part of the machine's memory that the process may take before it turns newcomers away: the page cache
/// needs the other half.
const MEMORY_PARTS: u64 = 2;

/// Whether newcomers are turned away.
#[derive(Default)]
pub(super) struct Load {
    shedding: AtomicBool,
}

impl Load {
    pub fn is_shedding(&self) -> bool {
        self.shedding.load(Ordering::Relaxed)
    }

    /// Looks at the signs for ever.
    pub async fn watch(&self) {
        let memory_max = memory_total().map(|total| total / MEMORY_PARTS);
        let memory = Memory::of_this_process();
        let mut level = Level::default();
        loop {
            let asleep = Instant::now();
            tokio::time::sleep(LOOK_EVERY).await;
            let lag = asleep.elapsed().saturating_sub(LOOK_EVERY);
            let used = memory.as_ref().and_then(Memory::used);
            let is_large = memory_max.zip(used).is_some_and(|(most, used)| used > most);
            if let Some(shedding) = level.look(lag, is_large) {
                self.shedding.store(shedding, Ordering::Relaxed);
                let lag_ms = lag.as_millis();
                if shedding {
                    tracing::warn!(lag_ms, is_large, "too busy: newcomers are turned away");
                } else {
                    tracing::info!("calm again: newcomers are let in");
                }
            }
        }
    }
}

#[derive(Default)]
struct Level {
    shedding: bool,
    calm: u32,
}

impl Level {
    /// What one look changes.
    fn look(&mut self, lag: Duration, is_large: bool) -> Option<bool> {
        let calm = lag < LAG_CALM && !is_large;
        self.calm = if calm { self.calm + 1 } else { 0 };
        if !self.shedding && (lag > LAG_MAX || is_large) {
            self.shedding = true;
            return Some(true);
        }
        if self.shedding && self.calm >= CALM_LOOKS {
            self.shedding = false;
            return Some(false);
        }
        None
    }
}

/// The process's memory. /proc/self is there also where the unit hides the rest of /proc.
struct Memory {
    /// Kept open: that is most of what a look would cost.
    statm: File,
    page_size: u64,
}

impl Memory {
    fn of_this_process() -> Option<Self> {
        let page_size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
        Some(Self { statm: File::open("/proc/self/statm").ok()?, page_size: u64::try_from(page_size).ok()? })
    }

    /// Bytes of it in memory.
    fn used(&self) -> Option<u64> {
        // Seven numbers.
        let mut line = [0; 256];
        let len = self.statm.read_at(&mut line, 0).ok()?;
        let pages: u64 = std::str::from_utf8(&line[..len]).ok()?.split(' ').nth(1)?.parse().ok()?;
        Some(pages * self.page_size)
    }
}

/// Bytes of memory of the machine.
pub(super) fn memory_total() -> Option<u64> {
    nix::sys::sysinfo::sysinfo().ok().map(|machine| machine.ram_total())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::ZERO;
    const BETWEEN: Duration = Duration::from_millis(300);
    const LATE: Duration = Duration::from_millis(501);

    #[test]
    fn shedding_begins_with_one_late_look_and_ends_with_a_calm_second() {
        let mut level = Level::default();
        assert_eq!(level.look(BETWEEN, false), None);
        assert_eq!(level.look(LATE, false), Some(true));
        assert_eq!(level.look(LATE, false), None);
        let changes = |level: &mut Level, looks: u32| (0..looks).filter(|_| level.look(CALM, false).is_some()).count();
        assert_eq!(changes(&mut level, CALM_LOOKS - 1), 0);
        assert_eq!(level.look(BETWEEN, false), None, "it begins anew");
        assert_eq!(changes(&mut level, CALM_LOOKS - 1), 0);
        assert_eq!(level.look(CALM, false), Some(false));
        assert_eq!(changes(&mut level, 50), 0);
    }

    #[test]
    fn a_process_that_is_too_large_sheds_whatever_the_lag() {
        let mut level = Level::default();
        assert_eq!(level.look(CALM, true), Some(true));
        assert!((0..50).all(|_| level.look(CALM, true).is_none()), "as long as it is large");
    }

    #[test]
    fn the_process_knows_its_size_and_the_machines() {
        let memory = Memory::of_this_process().expect("Linux");
        let (used, total) = (memory.used().expect("Linux"), memory_total().expect("Linux"));
        assert!(used > 100_000 && used < total, "{used} of {total} bytes");
        let more = vec![1_u8; 32 << 20];
        let now = memory.used().expect("Linux");
        assert!(now > used + (16 << 20), "{used} bytes, {now} with {} more", std::hint::black_box(more).len());
    }
}
