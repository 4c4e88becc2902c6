//! `posthoused`: reads its settings, starts the runtime, runs the server.

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use posthouse_server::config::Config;
use posthouse_server::{scheduling, shutdown};
use tokio::runtime::{Builder, Runtime};

/// Serves connections.
const NETWORK_THREAD: &str = "network";

/// Does what may take long: reads of the store.
const READER_THREAD: &str = "reader";

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
    runtime.shutdown_timeout(shutdown::THREADS);
    result
}

/// One worker a core. What runs beside them reads the store for somebody: it is neither before others, since it may take
/// long, nor behind them, since people wait for it.
fn runtime() -> std::io::Result<Runtime> {
    let workers = std::thread::available_parallelism()?.get();
    let named = AtomicUsize::new(0);
    // The runtime starts its workers first, one after the other, and its threads for blocking work when there is some.
    let name = move || {
        let is_worker = named.fetch_add(1, Ordering::Relaxed) < workers;
        if is_worker { NETWORK_THREAD } else { READER_THREAD }.to_owned()
    };
    let on_start = || match std::thread::current().name() {
        Some(NETWORK_THREAD) => scheduling::enter_realtime(),
        _ => scheduling::enter_normal(),
    };
    Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name_fn(name)
        .on_thread_start(on_start)
        .enable_all()
        .build()
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
