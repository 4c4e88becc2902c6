//! The benchmarks of Posthouse: loads, a bare relay to compare with, and the report.
//!
//! Drives the real `posthoused` from outside, on a core of its own, with the types of
//! `posthouse-protocol`; measures it through `/proc`; proves after each load that everything acknowledged
//! is there, once and in order, after a kill. README.md says how each figure is measured. Called by
//! `make bench` and, with small sizes, by its own test; imported by nothing.

pub mod awake;
pub mod bench;
pub mod check;
pub mod dialect;
pub mod figure;
pub mod fill;
pub mod fleet;
pub mod line;
pub mod plan;
pub mod process;
pub mod report;
pub mod scenario;
pub mod site;
pub mod sync_time;
