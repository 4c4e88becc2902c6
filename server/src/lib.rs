//! `posthoused`, the Posthouse server.
//!
//! A message's way: [`listener`] → [`connection`] → [`session`] → [`router`] → [`store`], and back
//! through bounded channels. Imports go that way only. The edges (`admin`, `discovery`, `rescue`, `web`) read through
//! the store and write through the router; nothing imports them but [`run`], which puts the parts
//! together.

mod admin;
mod admission;
pub mod config;
mod connection;
mod demo;
mod discovery;
#[cfg(test)]
mod fuzzing;
mod listener;
pub mod logging;
#[cfg_attr(not(test), expect(dead_code, reason = "certificates and discovery follow the names, and come next"))]
mod names;
mod page;
mod rescue;
mod router;
mod run;
pub mod scheduling;
mod service;
mod session;
mod settings;
mod shutdown;
mod store;
#[expect(dead_code, reason = "what fills the keyring comes next")]
mod tls;
mod web;

pub use run::run;

/// This build's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
