//! `posthoused`: reads its settings, starts the runtime, runs the server.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use posthouse_server::config::Config;
use posthouse_server::scheduling;
use tokio::runtime::{Builder, Runtime};

/// How long blocking work (a password hash, a read) may delay the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    posthouse_server::logging::start();
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    let config = Config::from_command_line()?;
    raise_descriptor_limit();
    scheduling::guard()?;
    let runtime = runtime()?;
    let result = runtime.block_on(posthouse_server::run(config));
    // Ends the tasks that hold the database, so that it closes cleanly.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

/// One worker a core. The runtime starts its workers first and its threads for blocking work when there is
/// some; only the workers serve the network.
fn runtime() -> std::io::Result<Runtime> {
    let workers = std::thread::available_parallelism()?.get();
    let started = AtomicUsize::new(0);
    let on_start = move || {
        let is_worker = started.fetch_add(1, Ordering::Relaxed) < workers;
        if is_worker {
            scheduling::enter_realtime();
        } else {
            scheduling::enter_normal();
        }
    };
    Builder::new_multi_thread().worker_threads(workers).on_thread_start(on_start).enable_all().build()
}

/// Every client is a descriptor; take as many as the system lets this process have.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}
