//! What happened, so that a run that meets nothing is seen.

use std::collections::BTreeMap;

/// Every one of these has to happen in enough seeds.
pub const MET: &[&str] = &[
    "acknowledged",
    "begun anew",
    "caught up",
    "changed a group",
    "closed as slow",
    "crashes",
    "edited",
    "presence",
    "pushed",
    "reacted",
    "read states",
    "recalled",
    "receipts",
    "receipts told",
    "refused",
    "refused a change",
    "resent",
    "resumed",
    "typing",
];

/// How often each thing happened.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    pub fn note(&mut self, what: &'static str) {
        self.note_many(what, 1);
    }

    pub fn note_many(&mut self, what: &'static str, times: u64) {
        debug_assert!(MET.contains(&what), "{what}");
        *self.0.entry(what).or_default() += times;
    }

    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, times)| *self.0.entry(what).or_default() += times);
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        MET.iter().copied().filter(|what| !self.0.contains_key(what)).collect()
    }
}
