//! Cards as a power cut leaves them: made from the log of what a card was told to write, as a cut at one of its entries has it. What
//! was flushed is there; of what came behind it some is lost, and some is torn.
//!
//! The log tells what was done, not what was asked for: a write that was under way while the card flushed counts as flushed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};
use posthouse_e2e::random::Random;

use crate::dist::SECTOR_LEN;
use crate::writes_log::{Entry, SECTOR_BYTES, WritesLog};

/// What becomes of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Survival {
    Nothing,
    /// Each write: it is there, it is lost, or each sector of it is one or the other.
    Some,
}

/// What a cut has left of the writes behind the last flush.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Remains {
    pub whole: usize,
    pub torn: usize,
    pub lost: usize,
}

/// A card on which one cut after the other is made, in the order of the log.
pub struct Replay<'a> {
    log: &'a WritesLog,
    card: File,
    /// So many entries are on the card.
    flushed: usize,
    /// Up to here some may be.
    touched: usize,
}

impl<'a> Replay<'a> {
    /// The card is as it was when the log began.
    pub fn begin(log: &'a WritesLog, card: &Path) -> anyhow::Result<Self> {
        let card = File::options().write(true).open(card).with_context(|| format!("opening {}", card.display()))?;
        Ok(Self { log, card, flushed: 0, touched: 0 })
    }

    /// Makes of the card what a cut before this entry leaves. Since the cut before, there was a flush.
    pub fn cut(&mut self, entry: usize, survival: Survival, random: &mut Random) -> anyhow::Result<Remains> {
        let last_flush = self.log.entries[..entry].iter().rposition(Entry::is_flush);
        let flushed = last_flush.map_or(0, |flush| flush + 1);
        // What an earlier cut has left is written over: all of it is flushed now.
        ensure!(flushed >= self.touched, "no flush between two cuts");
        for number in self.flushed..flushed {
            self.write(number, || true)?;
        }
        let mut remains = Remains::default();
        for number in flushed..entry {
            let is_fua = self.log.entries[number].is_durable();
            let is_kept = survival == Survival::Some && random.coin();
            if is_fua || (is_kept && random.coin()) {
                self.write(number, || true)?;
                remains.whole += 1;
            } else if is_kept {
                self.write(number, || random.coin())?;
                remains.torn += 1;
            } else {
                remains.lost += 1;
            }
        }
        (self.flushed, self.touched) = (flushed, entry);
        Ok(remains)
    }

    /// Writes all that the log has.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        (self.flushed..self.log.entries.len()).try_for_each(|number| self.write(number, || true))
    }

    /// Those sectors of an entry that survive. What was discarded may be anything; here it stays.
    fn write(&self, number: usize, mut survives: impl FnMut() -> bool) -> anyhow::Result<()> {
        let data = self.log.data(number)?;
        let mut at = self.log.entries[number].sector * SECTOR_LEN;
        for sector in data.chunks(SECTOR_BYTES) {
            if survives() {
                self.card.write_all_at(sector, at).context("writing to the card")?;
            }
            at += SECTOR_LEN;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use posthouse_e2e::random::Random;

    use super::{Remains, Replay, Survival};
    use crate::writes_log::tests::{LOG, made};

    const CARD_SECTORS: u64 = 80;

    /// The first byte of each sector after cuts at these entries.
    fn card_after(cuts: &[usize], survival: Survival, seed: u64) -> anyhow::Result<(Vec<u8>, Remains)> {
        let log = made(&LOG)?;
        let mut file = tempfile::NamedTempFile::new()?;
        file.as_file().set_len(CARD_SECTORS * 512)?;
        let mut replay = Replay::begin(&log, file.path())?;
        let mut remains = Remains::default();
        for cut in cuts {
            remains = replay.cut(*cut, survival, &mut Random::seeded(seed))?;
        }
        let mut card = Vec::new();
        file.read_to_end(&mut card)?;
        Ok((card.chunks(512).map(|sector| sector[0]).collect(), remains))
    }

    #[test]
    fn what_was_flushed_is_there_and_the_rest_is_lost() {
        for (cut, begins, lost) in [
            (2, [0, 0, 0, 0, 0], 2),
            (3, [1, 2, 2, 0, 0], 0),
            (5, [1, 2, 2, 0, 0], 2),
            (6, [1, 2, 2, 0, 5], 2),
            (7, [3, 2, 4, 4, 5], 0),
        ] {
            let (card, remains) = card_after(&[cut], Survival::Nothing, 0).expect("a card");
            assert_eq!((&card[..5], remains.lost), (&begins[..], lost), "cut at {cut}");
        }
    }

    #[test]
    fn what_was_not_flushed_survives_whole_in_part_or_not() {
        let mut seen = [0; 3];
        for seed in 0..100 {
            let (card, remains) = card_after(&[8], Survival::Some, seed).expect("a card");
            assert_eq!(card[..5], [3, 2, 4, 4, 5]);
            let there = card[5..69].iter().filter(|byte| **byte == 6).count();
            let outcome = [remains.lost == 1, remains.torn == 1, remains.whole == 1];
            assert_eq!(outcome, [there == 0, (1..64).contains(&there), there == 64], "seed {seed}: {there} sectors");
            seen.iter_mut().zip(outcome).for_each(|(seen, it_is)| *seen += u32::from(it_is));
        }
        assert!(seen.iter().all(|seen| *seen > 10), "{seen:?}");
    }

    #[test]
    fn an_earlier_cut_leaves_no_trace() {
        for seed in 0..20 {
            let cuts = [2, 6, 7];
            let (card, _) = card_after(&cuts, Survival::Some, seed).expect("a card");
            assert_eq!(card, card_after(&[7], Survival::Nothing, 0).expect("a card").0);
        }
        card_after(&[5, 6], Survival::Some, 0).expect_err("what the first one has left would stay");
    }
}
