//! The certificate authority of one box.
//!
//! Owns the authority's key, which never leaves its folder, and says for what it signs: keys of the box's server, under names that
//! the box may have on a private network. It runs as a user of its own, answers at a local socket only, and reads which names are
//! the box's from a file that the server can't write: whoever takes over the server gets certificates for this box and no other.

#![warn(missing_docs)]

mod authority;
mod keeping;
mod permitted;
mod serving;

pub use authority::{Authority, AuthorityError, Refusal};
pub use permitted::Permitted;
pub use serving::{Peers, serve};

#[cfg(test)]
mod tests;
