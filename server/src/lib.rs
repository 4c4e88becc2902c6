//! `posthoused`, the Posthouse server.
//!
//! A message's way: [`listener`] → [`connection`] → [`session`] → [`router`] → [`store`], and back
//! through bounded channels. Imports go that way only. The edges (`admin`, `web`) read through the
//! store and write through the router; nothing imports them but this file, which puts the parts
//! together.

mod admin;
pub mod config;
mod connection;
mod listener;
pub mod logging;
mod router;
pub mod scheduling;
mod service;
mod session;
mod shutdown;
mod store;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use posthouse_protocol::{ErrorCode, Username};
use tokio::sync::oneshot;

use config::Config;
use listener::Gate;
use router::Router;
use store::{Store, StoreError, StoreParts};

/// This build's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Accounts that `--demo` makes: name and password.
const DEMO_ACCOUNTS: [(&str, &str); 2] = [("anna", "anna-demo"), ("ben", "ben-demo-1")];

/// Runs the server until a signal or the store ends it.
///
/// # Errors
/// What keeps it from starting (an address in use, a damaged database), or the store's failure.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let StoreParts { store, published, mut ended } = Store::open(&config.data_dir)?;
    let router = Router::new(store.clone());
    let fan_out = tokio::spawn(router.clone().fan_out(published));
    let (shutdown, stopping) = shutdown::channel();
    let listeners = service::listeners(config.listen)?;
    let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();

    let admin = admin::bind(&config.admin_socket)?;
    let admin = tokio::spawn(admin.serve(router.clone(), stopping.clone()));
    if config.demo {
        add_demo_accounts(&router, &addresses).await?;
    }
    let page = {
        let store = store.clone();
        move |request: &_| web::respond(&store, request)
    };
    let gate = Gate::new(router, Arc::new(page), stopping);
    let serving: Vec<_> =
        listeners.into_iter().map(|listener| tokio::spawn(listener::serve(listener, gate.clone()))).collect();

    let messages = store.read(store::Snapshot::message_count).await?;
    tracing::info!(version = VERSION, ?addresses, messages, data = %config.data_dir.display(), "serving");
    service::ready(addresses.first().copied());
    let failed = tokio::select! {
        signal = service::stop_signal() => { tracing::info!(signal, "stopping"); None }
        end = &mut ended => Some(end),
    };
    service::stopping();
    shutdown.request();
    for task in serving {
        task.await.context("a listener panicked")?;
    }
    admin.await.context("the administration socket panicked")?;
    store.stop().await;
    let end = match failed {
        Some(end) => end,
        None => ended.await,
    };
    fan_out.abort();
    stored(end)
}

fn stored(end: Result<Result<(), StoreError>, oneshot::error::RecvError>) -> anyhow::Result<()> {
    end.context("the store's writer panicked")?.context("the store failed; what was not acknowledged is lost")
}

/// Makes the demo accounts and says how to use them. For a loopback address only: everyone can read
/// these passwords.
async fn add_demo_accounts(router: &Router, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    if let Some(open) = addresses.iter().find(|address| !address.ip().is_loopback()) {
        anyhow::bail!("--demo is for loopback addresses only, and {open} is none: its passwords are public");
    }
    let address = addresses.first().context("--demo needs an address to listen on")?;
    println!("Posthouse {VERSION} at http://{address}/");
    for (name, password) in DEMO_ACCOUNTS {
        match router.add_account(Username::new(name)?, password.to_owned()).await {
            Ok(_) => {}
            Err(error) if error.code == ErrorCode::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        println!("  demo account {name:<5} password {password}");
    }
    println!("Try, in another terminal:");
    println!("  cargo run -p posthouse-client -- login --server http://{address} anna");
    println!("  cargo run -p posthouse-client -- send ben \"Hello\"");
    Ok(())
}
