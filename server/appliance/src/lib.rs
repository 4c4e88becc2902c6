//! What makes a board with a card the box that its owner wants.
//!
//! The program `posthouse-box` runs as root on the box and never speaks to the network. The library is what it shares with
//! `posthouse provision check` on a laptop.

#[cfg(unix)]
pub mod boot_partition;
