//! Why a program can't be run, by what its file says (elf(5)): for people, once the system has refused it or it has crashed.
//!
//! Nothing is decided by it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Begins a program of 64 bits whose numbers have their least significant byte first, as on each machine that a box may be.
const MAGIC: &[u8] = b"\x7fELF\x02\x01";

/// Length of the head, and of the entries that say where a part of the program and a section of its file is, in bytes.
const HEAD_LEN: u64 = 64;
const PART_LEN: u64 = 56;
const SECTION_LEN: u64 = 64;

/// Machines that people have heard of.
const MACHINES: [(u64, &str); 5] = [(3, "x86"), (40, "arm"), (62, "x86_64"), (183, "aarch64"), (243, "riscv")];

/// What is wrong with it, as far as that shows.
///
/// # Errors
/// When it can't be read.
pub fn fault(program: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(program)?;
    let length = file.metadata()?.len();
    let head = piece(&mut file, 0, HEAD_LEN)?;
    // A script can be run, whatever it does then.
    if head.starts_with(b"#!") {
        return Ok(None);
    }
    if !head.starts_with(MAGIC) {
        return Ok(Some("it is no program that a box can run".to_owned()));
    }
    let cut_off = |needed| format!("it is cut off: it has {length} bytes and needs {needed} at least");
    if length < HEAD_LEN {
        return Ok(Some(cut_off(HEAD_LEN)));
    }
    let (theirs, ours) = (machine(&head), machine(&piece(&mut File::open("/proc/self/exe")?, 0, HEAD_LEN)?));
    if theirs != ours {
        let (theirs, ours) = (name(theirs), name(ours));
        return Ok(Some(format!("it is made for another kind of machine ({theirs}) than this box ({ours})")));
    }
    // Where the entries of its parts are: e_phoff, e_phnum; of its sections, which come last: e_shoff, e_shnum.
    let (at, count) = (number(&head, 32, 8), number(&head, 56, 2));
    let sections = number(&head, 40, 8).saturating_add(number(&head, 60, 2) * SECTION_LEN);
    let needed = at.saturating_add(count * PART_LEN).max(sections);
    if length < needed {
        return Ok(Some(cut_off(needed)));
    }
    // Of each part: p_offset, p_filesz.
    let parts = piece(&mut file, at, count * PART_LEN)?;
    let ends = parts.chunks_exact(56).map(|part| number(part, 8, 8).saturating_add(number(part, 32, 8)));
    let needed = ends.max().unwrap_or_default();
    Ok((length < needed).then(|| cut_off(needed)))
}

/// As much of it as is there.
fn piece(file: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Its `e_machine`.
fn machine(head: &[u8]) -> u64 {
    number(head, 18, 2)
}

fn name(machine: u64) -> String {
    let known = MACHINES.iter().find(|(number, _)| *number == machine);
    known.map_or_else(|| format!("number {machine}"), |(_, name)| (*name).to_owned())
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let bytes = bytes.get(at..at + length).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(bytes: &[u8]) -> Option<String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        fault(file.path()).expect("it can be read")
    }

    #[test]
    fn faults_are_told_in_plain_words() {
        let whole = std::fs::read("/proc/self/exe").expect("this program");
        assert_eq!((fault_of(&whole), fault_of(b"#!/bin/sh\n")), (None, None));
        for bytes in [&b""[..], b"\x7fELF\x01\x01", b"echo", &whole[..5]] {
            assert_eq!(fault_of(bytes).as_deref(), Some("it is no program that a box can run"), "{bytes:?}");
        }
        assert_eq!(fault_of(&whole[..6]).as_deref(), Some("it is cut off: it has 6 bytes and needs 64 at least"));
        for length in [64, 100, 4096, whole.len() / 2] {
            let said = fault_of(&whole[..length]).expect("it is cut off");
            assert!(said.starts_with(&format!("it is cut off: it has {length} bytes and needs ")), "{said}");
        }
        let mut foreign = whole;
        (foreign[18], foreign[19]) = (0xF3, 0);
        let said = format!("it is made for another kind of machine (riscv) than this box ({})", std::env::consts::ARCH);
        assert_eq!(fault_of(&foreign), Some(said));
        // Numbers that lead anywhere.
        foreign[18..64].fill(0xFF);
        assert!(fault_of(&foreign).is_some());
    }

    #[test]
    fn a_place_beyond_each_file_is_none() {
        let mut bytes = std::fs::read("/proc/self/exe").expect("this program");
        bytes[32..40].fill(0x7F);
        assert!(fault_of(&bytes).expect("it is cut off").starts_with("it is cut off"));
    }
}
