//! `posthoused`, the Posthouse server.
//!
//! A message's way: [`listener`] → [`connection`] → [`session`] → [`router`] → [`store`], and back
//! through bounded channels. Imports go that way only. The edges (`admin`, `discovery`, `rescue`, `update`, `web`) read through
//! the store and write through the router; nothing imports them but [`run`], which puts the parts
//! together.

mod admin;
mod admission;
mod body;
mod claim;
mod clock;
pub mod config;
mod connection;
mod cookie;
mod demo;
mod discovery;
#[cfg(test)]
mod fuzzing;
mod listener;
pub mod logging;
mod names;
mod page;
mod panics;
mod rescue;
mod router;
mod run;
pub mod scheduling;
mod service;
mod session;
mod settings;
pub mod shutdown;
mod status;
mod store;
mod tls;
mod trial;
mod update;
mod web;

pub use run::run;

/// This build's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
