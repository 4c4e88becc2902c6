//! Which threads run before others, and what keeps that from doing harm.
//!
//! The network's and the store's threads do little at a time and people wait for it: on a box that sets a
//! brake (`RLIMIT_RTTIME`, by `LimitRTTIME=` in the unit) they run under `SCHED_RR` at the lowest
//! real-time priority, so that no other program on the box can hold them up. Password hashing and the store's
//! upkeep, which are all work and no hurry, run under `SCHED_BATCH`. The rest stays normal: the readers, for
//! whom people wait, but who may take long. `make bench-tuning` measures what this brings, and that readers
//! wait no longer for it while others write as fast as they can.
//!
//! The brake: a real-time thread that computes for longer than the limit without a pause makes the kernel
//! send SIGXCPU; [`guard`] finds that thread and puts it back among the normal ones, for good. Without
//! the brake nothing here is real-time.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::unistd::{Pid, gettid};
use signal_hook::consts::SIGXCPU;
use signal_hook::iterator::Signals;
use thread_priority::ThreadPriority;
use thread_priority::unix::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadId, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// The lowest real-time priority: before every normal thread, behind every kernel thread that is real-time.
const PRIORITY: u8 = 1;

/// The guard runs before those that it guards, or it could not stop them.
const GUARD_PRIORITY: u8 = 2;

/// What the crate `thread-priority` maps to the nice value 0 for threads that are not real-time.
const NICE_ZERO: u8 = 48;

/// How long the guard watches who is computing.
const WATCH: Duration = Duration::from_millis(20);

/// The real-time threads, by the names that the C library and the kernel have for them.
static REALTIME: Mutex<Vec<(ThreadId, Pid)>> = Mutex::new(Vec::new());

static DEMOTED: AtomicU32 = AtomicU32::new(0);

/// How many threads lost their real-time priority since the start.
pub fn demoted() -> u32 {
    DEMOTED.load(Ordering::Relaxed)
}

/// Puts the calling thread before all normal ones, where the box has a brake and allows it.
pub fn enter_realtime() {
    if !has_brake() || set_realtime(thread_native_id(), PRIORITY).is_err() {
        return;
    }
    REALTIME.lock().unwrap_or_else(PoisonError::into_inner).push((thread_native_id(), gettid()));
}

/// Puts the calling thread behind what people wait for. Always allowed.
pub fn enter_batch() {
    set_normal(thread_native_id(), NormalThreadSchedulePolicy::Batch);
}

/// Puts the calling thread among the normal ones, whatever the thread was that started it.
pub fn enter_normal() {
    set_normal(thread_native_id(), NormalThreadSchedulePolicy::Other);
}

/// Starts the thread that demotes runaways. To be called before the first [`enter_realtime`].
pub fn guard() -> std::io::Result<()> {
    if !has_brake() {
        return Ok(());
    }
    let mut signals = Signals::new([SIGXCPU])?;
    let watch = move || {
        if let Err(error) = set_realtime(thread_native_id(), GUARD_PRIORITY) {
            tracing::info!(%error, "real-time scheduling is not allowed here; threads stay normal");
            return;
        }
        for _ in signals.forever() {
            demote_runaway();
        }
    };
    std::thread::Builder::new().name("realtime-guard".to_owned()).spawn(watch)?;
    Ok(())
}

fn has_brake() -> bool {
    getrlimit(Resource::RLIMIT_RTTIME).is_ok_and(|(soft, _)| soft != RLIM_INFINITY)
}

/// Demotes the real-time thread that computes without a pause, if one does.
fn demote_runaway() {
    let threads = REALTIME.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let began = Instant::now();
    let before: Vec<_> = threads.iter().map(|(_, tid)| time_on_cpu(*tid)).collect();
    std::thread::sleep(WATCH);
    // Round-robin threads share the cores: a runaway has at least its part of one.
    let share = began.elapsed() / 4;
    let busiest = threads.iter().zip(before).filter_map(|(thread, before)| {
        let spent = time_on_cpu(thread.1)?.checked_sub(before?)?;
        Some((spent, *thread))
    });
    let Some((spent, (native, tid))) = busiest.max_by_key(|(spent, _)| *spent) else { return };
    if spent < share {
        return;
    }
    REALTIME.lock().unwrap_or_else(PoisonError::into_inner).retain(|(_, other)| *other != tid);
    set_normal(native, NormalThreadSchedulePolicy::Other);
    let count = DEMOTED.fetch_add(1, Ordering::Relaxed) + 1;
    tracing::warn!(thread = tid.as_raw(), count, "a real-time thread computed for too long and was made a normal one");
}

/// From `/proc/self/task/TID/schedstat`; its first number is in nanoseconds.
fn time_on_cpu(tid: Pid) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn set_realtime(thread: ThreadId, priority: u8) -> Result<(), thread_priority::Error> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    set_thread_priority_and_policy(thread, self::priority(priority), policy)
}

fn set_normal(thread: ThreadId, policy: NormalThreadSchedulePolicy) {
    let done = set_thread_priority_and_policy(thread, priority(NICE_ZERO), ThreadSchedulePolicy::Normal(policy));
    if let Err(error) = done {
        tracing::warn!(%error, ?policy, "a thread's scheduling could not be changed");
    }
}

fn priority(value: u8) -> ThreadPriority {
    ThreadPriority::Crossplatform(value.try_into().expect("the constants are below 100"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use nix::sys::resource::setrlimit;
    use thread_priority::unix::thread_schedule_policy;

    use super::*;

    const ROUND_ROBIN: ThreadSchedulePolicy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);

    #[test]
    fn a_runaway_thread_is_demoted_and_counted_and_a_calm_one_is_not() {
        if set_realtime(thread_native_id(), PRIORITY).is_err() {
            // tests/run says so where everybody reads it.
            println!("LEFT OUT: this user may not use real-time scheduling (run as root or with RLIMIT_RTPRIO)");
            return;
        }
        set_normal(thread_native_id(), NormalThreadSchedulePolicy::Other);
        let (_, hard) = getrlimit(Resource::RLIMIT_RTTIME).expect("readable");
        setrlimit(Resource::RLIMIT_RTTIME, 100_000, hard).expect("100 ms may be set");
        guard().expect("the guard starts");

        let finish = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let calm = scope.spawn(|| {
                enter_realtime();
                while !finish.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                thread_schedule_policy().expect("readable")
            });
            let runaway = scope.spawn(|| {
                enter_realtime();
                let began = Instant::now();
                while thread_schedule_policy().expect("readable") == ROUND_ROBIN {
                    assert!(began.elapsed() < Duration::from_secs(20), "nobody stopped the runaway");
                }
            });
            runaway.join().expect("the runaway was demoted");
            finish.store(true, Ordering::Relaxed);
            assert_eq!(calm.join().expect("it ends"), ROUND_ROBIN);
        });
        assert_eq!(demoted(), 1);
    }
}
