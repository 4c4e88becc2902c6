//! Updates tried whole: the real programs of the box, started by the image's own unit files, with clients that talk all the time.
//!
//! Owns the supervisor that stands for systemd here, builds of the server that go wrong, and the counting of what clients were
//! told. Never stands in for a part of Posthouse. The tests in `tests/` and the benchmark call it.

pub mod bundles;
pub mod crowd;
pub mod door;
pub mod fault;
pub mod fleet;
mod journal;
pub mod programs;
mod settings;
pub mod supervisor;
mod unit_file;
pub mod world;
