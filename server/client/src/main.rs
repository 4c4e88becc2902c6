//! `posthouse`, the command-line client.

fn main() {}
