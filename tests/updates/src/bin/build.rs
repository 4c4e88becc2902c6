//! `posthoused-build`: the real server, and beside it what is wrong with this build (see `fault`).
//!
//! What is wrong shows when the server is started to serve, not when it is only asked what it is: else it would be found out before
//! it is tried.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, raise};
use posthouse_server::config::Config;
use posthouse_server::scheduling;
use posthouse_update_tests::fault::Fault;
use tokio::runtime::{Handle, Runtime};

/// From being ready to going wrong: long enough that everything seems to be well.
const CALM: Duration = Duration::from_secs(1);

/// How much it leaks at once, how often, and where that ends, so that a test that fails leaves the machine alone.
const LEAK_LEN: usize = 16 * 1024 * 1024;
const LEAK_EVERY: Duration = Duration::from_millis(40);
const LEAKS_MAX: usize = 64;

/// So many threads spin for each core: enough to get one on a machine that has some other work, too.
const SPINS_PER_CORE: usize = 2;

/// As the server's own.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    posthouse_server::logging::start();
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    let config = Config::from_command_line()?;
    let fault = Fault::of(&std::env::current_exe()?)?;
    match fault {
        Fault::SegfaultAtOnce => segfault(),
        Fault::HangBeforeReady => hang(),
        _ => {}
    }
    scheduling::guard()?;
    let runtime = Runtime::new()?;
    let (handle, door) = (runtime.handle().clone(), config.admin_socket.clone());
    thread::spawn(move || go_wrong(fault, &handle, &door));
    let result = runtime.block_on(posthouse_server::run(config));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

/// Waits until the server serves, and a little longer.
fn go_wrong(fault: Fault, runtime: &Handle, door: &Path) {
    while UnixStream::connect(door).is_err() {
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(CALM);
    match fault {
        Fault::CrashAfterReady => segfault(),
        Fault::ReadyThenDeaf => deafen(runtime),
        Fault::Leak => leak(),
        Fault::Spin => (0..SPINS_PER_CORE * cores()).for_each(|_| drop(thread::spawn(spin))),
        Fault::None | Fault::SegfaultAtOnce | Fault::HangBeforeReady => {}
    }
}

fn segfault() -> ! {
    loop {
        // Rust's own handler takes the first for a full stack's and looks away.
        raise(Signal::SIGSEGV).expect("a process may signal itself");
    }
}

fn hang() -> ! {
    SigSet::all().thread_block().expect("a thread may block its signals");
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

fn deafen(runtime: &Handle) {
    for _ in 0..4 * cores() {
        runtime.spawn(async {
            loop {
                thread::park();
            }
        });
    }
}

fn leak() {
    for _ in 0..LEAKS_MAX {
        Vec::leak(vec![1_u8; LEAK_LEN]);
        thread::sleep(LEAK_EVERY);
    }
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
