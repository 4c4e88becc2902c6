//! `posthouse-image`: what of the image builder needs parsing or decisions.

fn main() {}
