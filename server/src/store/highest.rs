//! Which names are certainly new, without a look into the database.
//!
//! A retry is told from a new message by (sender, `client_msg_id`), and nearly every message is new: to find that out by
//! the database was a tenth of the writer's work. Clients make names that rise with the time, and one that lies beyond every name of its
//! sender is new. So the highest is kept of each sender who has written since the start. A name that does not lie beyond
//! it is looked up: names in any order are as good, only slower.

use foldhash::HashMap;
use posthouse_protocol::{AccountId, ClientMsgId};

/// The highest name of each sender, as far as it was asked for.
#[derive(Default)]
pub(super) struct Highest {
    /// By its beginning: it needs no memory of its own, and holds the time of a UUID of version 7.
    of: HashMap<AccountId, u128>,
}

impl Highest {
    /// Whether the sender has used no such name; `stored` gives the highest in the database, once for each sender.
    pub fn is_passed<E>(
        &mut self,
        sender: AccountId,
        id: &ClientMsgId,
        stored: impl FnOnce() -> Result<u128, E>,
    ) -> Result<bool, E> {
        let highest = match self.of.get(&sender) {
            Some(highest) => *highest,
            None => *self.of.entry(sender).or_insert(stored()?),
        };
        Ok(beginning(id.as_str()) > highest)
    }

    /// The sender has used this name.
    pub fn add(&mut self, sender: AccountId, id: &ClientMsgId) {
        // Of a sender who was not asked for there may be any in the database: nothing is beyond.
        let highest = self.of.entry(sender).or_insert(u128::MAX);
        *highest = beginning(id.as_str()).max(*highest);
    }
}

/// A number for the beginning of a name, never lower than that of a name before it.
pub(super) fn beginning(name: &str) -> u128 {
    let mut bytes = [0; 16];
    let length = name.len().min(bytes.len());
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    u128::from_be_bytes(bytes)
}
