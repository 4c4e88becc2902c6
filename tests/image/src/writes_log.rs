//! What a card was told to write: the log of QEMU's filter `blklogwrites`, each write and each flush in the form of Linux'
//! dm-log-writes. It knows nothing of what is on a card.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::dist::SECTOR_LEN;

/// The same as [`SECTOR_LEN`].
pub const SECTOR_BYTES: usize = 512;

/// The log's first sector: magic, version, number of entries, and the length of a sector as 32 bits. Numbers are little-endian.
const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const HEAD_LEN: usize = 28;

/// An entry has a sector of its own: first sector, number of sectors, flags. Its data follow, but for a discard.
const ENTRY_LEN: usize = 24;

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

pub struct Entry {
    /// In the log, in bytes.
    at: u64,
    /// On the card.
    pub sector: u64,
    sectors: u64,
    flags: u64,
}

impl Entry {
    fn data_len(&self) -> u64 {
        if self.flags & DISCARD != 0 { 0 } else { self.sectors * SECTOR_LEN }
    }

    fn end(&self) -> u64 {
        self.at + SECTOR_LEN + self.data_len()
    }

    pub fn is_flush(&self) -> bool {
        self.flags & FLUSH != 0
    }

    /// Whether it is flushed by itself.
    pub fn is_durable(&self) -> bool {
        self.flags & FUA != 0
    }
}

/// A log that is no longer written to.
pub struct WritesLog {
    file: File,
    pub entries: Vec<Entry>,
}

impl WritesLog {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        Self::read(file).with_context(|| path.display().to_string())
    }

    fn read(file: File) -> anyhow::Result<Self> {
        let len = file.metadata()?.len();
        let mut head = [0; HEAD_LEN];
        file.read_exact_at(&mut head, 0).context("no head")?;
        let (magic, version, count) = (word(&head, 0), word(&head, 8), word(&head, 16));
        ensure!(magic == MAGIC && version == VERSION, "no log of writes");
        ensure!(word(&head, 20) >> 32 == SECTOR_LEN, "sectors of another length");
        let (mut entries, mut at) = (Vec::new(), SECTOR_LEN);
        for number in 0..count {
            let mut head = [0; ENTRY_LEN];
            file.read_exact_at(&mut head, at).with_context(|| format!("entry {number}"))?;
            let entry = Entry { at, sector: word(&head, 0), sectors: word(&head, 8), flags: word(&head, 16) };
            let is_whole = entry.flags <= FLUSH | FUA | DISCARD && entry.sectors <= len && entry.end() <= len;
            ensure!(is_whole, "entry {number} is none, or cut off");
            at = entry.end();
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// How many entries the log had when it was so long, in bytes.
    pub fn count_within(&self, len: u64) -> usize {
        self.entries.partition_point(|entry| entry.end() <= len)
    }

    /// What was written between one flush and the next, of each two in such a part of the log.
    pub fn unflushed(&self, within: Range<usize>) -> Vec<Range<usize>> {
        let flushes: Vec<usize> = within.filter(|i| self.entries[*i].is_flush()).collect();
        let between = flushes.windows(2).map(|pair| pair[0] + 1..pair[1]);
        between.filter(|entries| !entries.is_empty()).collect()
    }

    /// Which of these the first sector of an entry begins with that begins with one; each has a name.
    pub fn begins_with<T: Copy>(&self, entry: usize, words: &[(&[u8], T)]) -> anyhow::Result<Option<T>> {
        let data = self.data(entry)?;
        let name = |sector: &[u8]| words.iter().find(|(word, _)| sector.starts_with(word)).map(|(_, name)| *name);
        Ok(data.chunks(SECTOR_BYTES).find_map(name))
    }

    /// What an entry wrote; nothing for a flush.
    pub fn data(&self, entry: usize) -> anyhow::Result<Vec<u8>> {
        let entry = &self.entries[entry];
        let mut data = vec![0; usize::try_from(entry.data_len())?];
        self.file.read_exact_at(&mut data, entry.at + SECTOR_LEN).context("reading the log of writes")?;
        Ok(data)
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes.get(at..at + 8).and_then(|word| word.try_into().ok());
    word.map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
pub mod tests {
    use std::io::Write;

    use super::{DISCARD, FLUSH, FUA, WritesLog};

    /// Sector, what each of the sectors is full of, flags.
    type Made = (u64, &'static [u8], u64);

    /// Two writes that are flushed, three that are not but for the one that is by itself, and one more.
    pub const LOG: [Made; 9] = [
        (0, &[1], 0),
        (1, &[2, 2], 0),
        (0, &[], FLUSH),
        (0, &[3], 0),
        (2, &[4; 2], 0),
        (4, &[5], FUA),
        (0, &[], FLUSH),
        (5, &[6; 64], 0),
        (0, &[], FLUSH),
    ];

    fn bytes(entries: &[Made]) -> Vec<u8> {
        let head = [super::MAGIC, super::VERSION, entries.len() as u64, 512];
        let mut bytes: Vec<u8> = head.into_iter().flat_map(u64::to_le_bytes).collect();
        for (sector, data, flags) in entries {
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            bytes.extend([*sector, data.len() as u64, *flags].into_iter().flat_map(u64::to_le_bytes));
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            bytes.extend(data.iter().flat_map(|byte| [*byte; 512]));
        }
        bytes
    }

    /// A log of these entries.
    pub fn made(entries: &[Made]) -> anyhow::Result<WritesLog> {
        read(&bytes(entries))
    }

    fn read(bytes: &[u8]) -> anyhow::Result<WritesLog> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        WritesLog::read(file)
    }

    #[test]
    fn moments_and_words_are_found() {
        let log = made(&LOG).expect("a log");
        assert_eq!(log.unflushed(0..9), [3..6, 7..8]);
        assert_eq!(log.unflushed(3..8), [] as [std::ops::Range<usize>; 0]);
        // The first two entries take five sectors, behind the head's.
        assert_eq!([511, 512 * 3, 512 * 6 - 1, 512 * 6].map(|len| log.count_within(len)), [0, 1, 1, 2]);
        assert_eq!(log.begins_with(4, &[(b"\x05", 5), (b"\x04\x04", 4)]).expect("read"), Some(4));
        assert_eq!(log.begins_with(4, &[(b"\x05", 5)]).expect("read"), None);
    }

    #[test]
    fn a_discard_has_no_data_and_anything_else_is_no_log() {
        let with_discard: Vec<Made> = [(0, &[][..], DISCARD)].into_iter().chain(LOG).collect();
        let mut discard = bytes(&with_discard);
        discard[512 + 8] = 200;
        assert_eq!(read(&discard).expect("a log").entries.len(), LOG.len() + 1);
        let whole = bytes(&LOG);
        let with_data_last = bytes(&LOG[..8]);
        read(&with_data_last[..with_data_last.len() - 1]).map(drop).expect_err("cut off");
        // Magic, version, sector, a flag, a number of sectors.
        for at in [0, 8, 25, 512 + 16, 512 + 13] {
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            read(&changed).map(drop).expect_err("changed");
        }
    }
}
