//! Which of this client's own messages its program has seen already, by their acknowledgements.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use posthouse_protocol::{ConversationId, Seq};

/// Numbers of acknowledged messages that may come again by `sync`. What others say in a conversation ends
/// the time before, so that it holds a range or two for each.
#[derive(Default)]
pub(crate) struct Own {
    acknowledged: HashMap<ConversationId, Vec<RangeInclusive<u64>>>,
}

impl Own {
    /// The program has it.
    pub fn add(&mut self, conversation_id: ConversationId, Seq(seq): Seq) {
        let ranges = self.acknowledged.entry(conversation_id).or_default();
        match ranges.last_mut() {
            Some(last) if *last.end() + 1 == seq => *last = *last.start()..=seq,
            _ => ranges.push(seq..=seq),
        }
    }

    /// Whether the program has it.
    pub fn has(&self, conversation_id: ConversationId, Seq(seq): Seq) -> bool {
        let ranges = self.acknowledged.get(&conversation_id);
        ranges.is_some_and(|ranges| ranges.iter().any(|range| range.contains(&seq)))
    }

    /// The stream has come to this message: nothing before it comes again.
    pub fn passed(&mut self, conversation_id: ConversationId, Seq(seq): Seq) {
        if let Some(ranges) = self.acknowledged.get_mut(&conversation_id) {
            ranges.retain(|range| *range.end() > seq);
            if ranges.is_empty() {
                self.acknowledged.remove(&conversation_id);
            }
        }
    }

    /// Everything is to come again.
    pub fn clear(&mut self) {
        self.acknowledged.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_range_and_what_the_stream_has_passed_is_forgotten() {
        let mut own = Own::default();
        let conversation = ConversationId(7);
        for seq in [1, 2, 3, 5, 6] {
            own.add(conversation, Seq(seq));
        }
        let known: Vec<_> = (0..8).filter(|seq| own.has(conversation, Seq(*seq))).collect();
        assert_eq!(known, [1, 2, 3, 5, 6]);
        assert_eq!(own.acknowledged[&conversation].len(), 2);
        assert!(!own.has(ConversationId(8), Seq(1)));
        own.passed(conversation, Seq(4));
        assert!(!own.has(conversation, Seq(3)) && own.has(conversation, Seq(5)));
        own.passed(conversation, Seq(7));
        assert!(own.acknowledged.is_empty());
    }
}
