//! What the benchmarks share: how a figure is made of its rounds and written down, and the network namespace of their own that some
//! of them stand in. It measures nothing itself.

mod figure;
pub mod namespace;

pub use figure::{Figure, median, write};
