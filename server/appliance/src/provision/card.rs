//! The card's files as one boot finds them, and the overwriting of the secrets in them.

use std::collections::BTreeMap;

use super::kept::{Kept, Overwriting};
use crate::boot_partition::{BootError, BootPartition, Found};
use crate::file::{LEN_MAX, Reading, Secret};
use crate::problem::Problem;

/// A file of the card, and what it says.
pub struct CardFile {
    pub name: String,
    /// Missing where there is no such file, or it can't be read.
    pub found: Option<Found>,
    pub reading: Reading,
}

impl CardFile {
    /// Looks for a file, finishes what an earlier boot began to overwrite in it, and reads it.
    pub fn read(card: &BootPartition, name: &str, kept: &Kept, read: impl FnOnce(&[u8]) -> Reading) -> Self {
        let failed = |error: BootError| {
            let reading = Reading::unreadable(Problem::of_file(name, error.to_string()));
            Self { name: name.to_owned(), found: None, reading }
        };
        let begun = kept.overwriting.get(name).map(Vec::as_slice).unwrap_or_default();
        match card.read(name, LEN_MAX) {
            Err(error) => failed(error),
            Ok(None) => Self { name: name.to_owned(), found: None, reading: Reading::default() },
            Ok(Some(found)) => {
                let finished = finished(&found.bytes, begun);
                let reading = read(&finished);
                Self { name: name.to_owned(), found: Some(found), reading }
            }
        }
    }

    /// What of it is to be overwritten, once it is kept elsewhere.
    pub fn to_overwrite(&self) -> Vec<Overwriting> {
        let Some(found) = &self.found else { return Vec::new() };
        let overwriting = |secret: &Secret| Overwriting {
            start: secret.place.start,
            old: found.bytes[secret.place.clone()].to_vec(),
            new: secret.filler.clone(),
        };
        self.reading.secrets.iter().map(overwriting).collect()
    }

    /// Overwrites it. A power cut in the midst of it is no harm: the next boot knows what stood there.
    ///
    /// # Errors
    /// The card does not take it.
    pub fn overwrite(&self, card: &BootPartition, parts: &BTreeMap<String, Vec<Overwriting>>) -> Result<(), BootError> {
        let (Some(found), Some(parts)) = (&self.found, parts.get(&self.name)) else { return Ok(()) };
        let mut wanted = found.bytes.clone();
        for part in parts {
            wanted[part.start..part.start + part.new.len()].copy_from_slice(&part.new);
        }
        card.change(&self.name, found, &wanted)
    }
}

/// The file as it would be had the overwriting that an earlier boot began come to its end. Where a byte is neither what stood there
/// nor what is to stand there, somebody has written something new, and that counts.
fn finished(bytes: &[u8], begun: &[Overwriting]) -> Vec<u8> {
    let mut finished = bytes.to_vec();
    for part in begun {
        let Some(place) = finished.get_mut(part.start..part.start + part.new.len()) else { continue };
        let is_part = |(at, byte): (usize, &u8)| part.old.get(at) == Some(byte) || part.new.get(at) == Some(byte);
        if place.iter().enumerate().all(is_part) {
            place.copy_from_slice(&part.new);
        }
    }
    finished
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_power_cut_left_of_a_secret_is_finished_and_a_new_one_counts() {
        let begun = [Overwriting { start: 2, old: b"secret".to_vec(), new: b"******".to_vec() }];
        for (found, expected) in [
            ("=\"secret\"", "=\"******\""),
            ("=\"***ret\"", "=\"******\""),
            ("=\"sec***\"", "=\"******\""),
            ("=\"******\"", "=\"******\""),
            ("=\"secreT\"", "=\"secreT\""),
            ("=\"", "=\""),
        ] {
            assert_eq!(finished(found.as_bytes(), &begun), expected.as_bytes(), "{found}");
        }
    }
}
