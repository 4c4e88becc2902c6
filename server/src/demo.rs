//! Two accounts to try the server with.

use std::net::SocketAddr;

use anyhow::Context;
use posthouse_protocol::{ErrorCode, Username};

use crate::VERSION;
use crate::router::Router;

/// Name and password of each.
const ACCOUNTS: [(&str, &str); 2] = [("anna", "anna-demo"), ("ben", "ben-demo-1")];

/// Makes the demo accounts and says how to use them. For loopback addresses only: everyone can read
/// these passwords.
pub async fn add_accounts(router: &Router, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    if let Some(open) = addresses.iter().find(|address| !address.ip().is_loopback()) {
        anyhow::bail!("--demo is for loopback addresses only, and {open} is none: its passwords are public");
    }
    let address = addresses.first().context("--demo needs an address to listen on")?;
    println!("Posthouse {VERSION} at http://{address}/");
    for (name, password) in ACCOUNTS {
        match router.add_account(Username::new(name)?, password.to_owned(), None).await {
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
