//! See the crate.

mod alone;
mod builds;
mod crowd;
mod kills;
mod schema;
mod stage;
