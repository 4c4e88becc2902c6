//! A client of Posthouse: everything that a program needs to talk to a server.
//!
//! [`Client`] speaks the protocol over a WebSocket or an event stream; [`Link`] keeps a session alive over as many
//! connections as it takes; [`view::View`] is what a program shows of it; [`Login`] keeps a device's token between runs;
//! [`claim`] makes somebody the owner of a new box; [`discover`] finds boxes on the local network; [`Updates`] has the server
//! updated; [`admin`] reaches its administration socket on the same machine. The `posthouse` command is built on it and on nothing else.

#![warn(missing_docs)]

#[cfg(unix)]
pub mod admin;
mod alive;
mod backoff;
pub mod claim;
mod client;
pub mod discover;
mod known;
mod link;
mod login;
mod own;
mod profiles;
mod server_url;
mod socket;
mod table;
mod updates;
pub mod view;

pub use client::{Client, ClientError, Events};
pub use known::{KnownError, KnownServers};
pub use link::{Inbox, Item, Link, Start};
pub use login::{Login, LoginError};
pub use server_url::{ServerUrl, ServerUrlError};
pub use socket::{Transport, fingerprint_of};
pub use table::{TableError, TablePart, read_table};
pub use updates::{Held, Piece, Updates};

use std::time::UNIX_EPOCH;

use posthouse_protocol::ClientMsgId;

/// A fresh name for a message: the time in milliseconds, then 80 random bits, as in a UUID of version 7 (RFC 9562
/// §5.7). Names that rise with the time lie side by side in the server's index: it writes fewer pages for them.
pub fn new_client_msg_id() -> ClientMsgId {
    let mut random = [0; 16];
    getrandom::fill(&mut random[6..]).expect("the system has random numbers");
    // A clock before 1970 only costs the order.
    let time_ms = UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
    let name = time_ms << 80 | u128::from_be_bytes(random);
    ClientMsgId::new(format!("{name:032x}")).expect("32 characters are within the limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_messages_are_never_the_same_and_rise_with_the_time() {
        let first = new_client_msg_id();
        assert_eq!(first.as_str().len(), 32);
        let began = UNIX_EPOCH.elapsed().expect("a clock after 1970").as_millis();
        let mut names = std::collections::HashSet::from([first.as_str().to_owned()]);
        while UNIX_EPOCH.elapsed().expect("a clock after 1970").as_millis() < began + 2 {
            assert!(names.insert(new_client_msg_id().as_str().to_owned()));
        }
        assert!(first.as_str() < new_client_msg_id().as_str());
    }
}
