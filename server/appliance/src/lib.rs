//! What makes a board with a card the box that its owner wants.
//!
//! The program `posthouse-box` runs on the box, mostly as root, and never speaks to the network. The library is what it shares with
//! `posthouse provision check` on a laptop: what the files on the card say.

pub mod file;
pub mod imager;
mod problem;
mod summary;
mod text;
mod wishes;

#[cfg(target_os = "linux")]
pub mod boot_partition;
#[cfg(target_os = "linux")]
pub mod provision;

pub use problem::Problem;
pub use wishes::{Addressing, Method, Tls, Wifi, Wishes, is_overwritten};

use file::Reading;

/// Reads a file of the card by its name on it; nothing where the box does not look into such a file.
pub fn read(name: &str, bytes: &[u8]) -> Option<Reading> {
    match name.to_ascii_lowercase().as_str() {
        file::NAME => Some(file::read(bytes)),
        imager::USER_DATA => Some(imager::user_data(bytes)),
        imager::NETWORK_CONFIG => Some(imager::network_config(bytes)),
        _ => None,
    }
}
