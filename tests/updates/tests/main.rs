//! See the crate.

mod alone;
