//! What the end-to-end tests stand on: servers as processes of their own, accounts and their devices
//! through the client library, hand-made WebSocket frames, bounded waits, seeds that are printed.
//!
//! Nothing here stands in for a part of Posthouse: the programs are the built ones (see [`binaries`]).
//! The tests in `tests/` call it, nothing else does.

pub mod binaries;
mod box_authority;
mod box_files;
mod contract;
mod device;
pub mod http;
mod log;
pub mod pty;
pub mod random;
pub mod raw;
mod server;
mod site;
pub mod terminal;
pub mod trial;
pub mod wait;
pub mod wire;

pub use box_authority::BoxAuthority;
pub use box_files::Appliance;
pub use contract::Contract;
pub use device::{Device, refusal};
pub use log::Log;
pub use server::{Server, Stopped};
pub use site::Site;

/// The password of every account that a test makes.
pub const PASSWORD: &str = "correct horse";
