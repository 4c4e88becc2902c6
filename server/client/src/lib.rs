//! A client of Posthouse: everything that a program needs to talk to a server.
//!
//! [`Client`] speaks the protocol over a WebSocket or an event stream; [`Link`] keeps a session alive over as many
//! connections as it takes; [`Login`] keeps a device's token between runs;
//! [`admin`] reaches the server's administration socket on the same machine. The `posthouse` command is
//! built on it and on nothing else.

#![warn(missing_docs)]

#[cfg(unix)]
pub mod admin;
mod backoff;
mod client;
mod link;
mod login;
mod own;
mod server_url;
mod socket;

pub use client::{Client, ClientError, Events};
pub use link::{Inbox, Item, Link, Start};
pub use login::{Login, LoginError};
pub use server_url::{ServerUrl, ServerUrlError};
pub use socket::Transport;

use posthouse_protocol::ClientMsgId;

/// A fresh name for a message: 128 random bits.
pub fn new_client_msg_id() -> ClientMsgId {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("the system has random numbers");
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    ClientMsgId::new(text).expect("32 characters are within the limit")
}
