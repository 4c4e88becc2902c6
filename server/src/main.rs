//! `posthoused`, the server.

fn main() {}
