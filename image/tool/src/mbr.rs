//! Reads the MBR of a disk image: identifier and partitions. It never writes one; sfdisk does.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use thiserror::Error;

const SECTOR: usize = 512;
/// Offsets by the layout that IBM's PC DOS 2.0 began and UEFI 2.10 section 5.2.1 writes down.
const IDENTIFIER_AT: usize = 440;
const TABLE_AT: usize = 446;
const ENTRY_LEN: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xaa];

#[derive(Debug, Error)]
pub enum MbrError {
    #[error("cannot read the first sector of {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{0} has no partition table of the MBR kind")]
    NoTable(String),
}

#[derive(Debug, PartialEq)]
pub struct Mbr {
    /// Eight hexadecimal digits, as in PARTUUID.
    pub disk_id: String,
    pub partitions: Vec<Partition>,
}

/// One used entry. Start and size are in sectors of 512 bytes.
#[derive(Debug, PartialEq, Serialize)]
pub struct Partition {
    pub number: usize,
    pub start: u32,
    pub size: u32,
    #[serde(rename = "type")]
    pub kind: String,
    pub bootable: bool,
}

impl Mbr {
    pub fn read(disk: &Path) -> Result<Self, MbrError> {
        let mut sector = [0; SECTOR];
        File::open(disk)
            .and_then(|mut file| file.read_exact(&mut sector))
            .map_err(|source| MbrError::Read { path: disk.display().to_string(), source })?;
        Self::parse(&sector).ok_or_else(|| MbrError::NoTable(disk.display().to_string()))
    }

    fn parse(sector: &[u8; SECTOR]) -> Option<Self> {
        if sector[SECTOR - 2..] != SIGNATURE {
            return None;
        }
        let partitions = (0..4).filter_map(|index| {
            let entry = &sector[TABLE_AT + index * ENTRY_LEN..][..ENTRY_LEN];
            (entry[4] != 0).then(|| Partition {
                number: index + 1,
                start: little_endian(&entry[8..12]),
                size: little_endian(&entry[12..16]),
                kind: format!("{:02x}", entry[4]),
                bootable: entry[0] == 0x80,
            })
        });
        let disk_id = format!("{:08x}", little_endian(&sector[IDENTIFIER_AT..IDENTIFIER_AT + 4]));
        Some(Self { disk_id, partitions: partitions.collect() })
    }

    pub fn partition(&self, number: usize) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.number == number)
    }
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifier_and_partitions_are_read() {
        let mut sector = [0; SECTOR];
        sector[IDENTIFIER_AT..IDENTIFIER_AT + 4].copy_from_slice(&[0x1e, 0xab, 0xa1, 0x5c]);
        sector[TABLE_AT + ENTRY_LEN] = 0x80;
        sector[TABLE_AT + ENTRY_LEN + 4] = 0x83;
        sector[TABLE_AT + ENTRY_LEN + 8..TABLE_AT + ENTRY_LEN + 16].copy_from_slice(&[0, 0x20, 0, 0, 0, 0, 0x10, 0]);
        sector[510..].copy_from_slice(&SIGNATURE);
        let mbr = Mbr::parse(&sector).expect("signature is there");
        assert_eq!(mbr.disk_id, "5ca1ab1e");
        let expected = Partition { number: 2, start: 8192, size: 1_048_576, kind: "83".to_owned(), bootable: true };
        assert_eq!(mbr.partitions, [expected]);
        assert_eq!(mbr.partition(1), None);
    }

    #[test]
    fn a_sector_without_signature_is_no_table() {
        assert_eq!(Mbr::parse(&[0; SECTOR]), None);
    }
}
