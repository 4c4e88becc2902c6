//! Requests that a file of the card makes by its name: `recover-owner` and `factory-reset`. Editors that add `.txt` are forgiven.
//!
//! The files stay where they are, for the box never changes the card's folders. That a reset was followed is kept on the data
//! partition; that an owner was let in again, the server remembers.

use crate::boot_partition::{BootError, BootPartition, Found};

/// Lets the owner back in.
pub const RECOVER_OWNER: &str = "recover-owner";
/// Erases everything.
pub const FACTORY_RESET: &str = "factory-reset";

/// More is no request, in bytes.
const LEN_MAX: u64 = 4096;

/// A request on the card.
pub struct Request {
    /// The file's name.
    pub name: String,
    pub found: Found,
}

impl Request {
    /// Looks for one.
    ///
    /// # Errors
    /// The card can't be read.
    pub fn find(card: &BootPartition, name: &str) -> Result<Option<Self>, BootError> {
        for name in [name.to_owned(), format!("{name}.txt")] {
            if let Some(found) = card.read(&name, LEN_MAX)? {
                return Ok(Some(Self { name, found }));
            }
        }
        Ok(None)
    }

    /// What tells this request from the next of its name: when the file was made, by the clock of the PC.
    pub fn mark(&self) -> String {
        format!("{} {}", self.found.stamp, self.found.bytes.len())
    }
}
