//! What is wrong with a build. The server of these tests looks for it at the end of its own file, so that each build is a file of
//! its own with a hash of its own, and takes the command line that every build takes.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Stands before the name, at the end of the file.
const MARK: &[u8; 16] = b"posthouse-build:";

/// Length of the name with the spaces that fill it up.
const NAME_LEN: usize = 48;

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// A forbidden access as soon as it is to serve.
    SegfaultAtOnce,
    /// The same a second after it is ready.
    CrashAfterReady,
    /// It never gets ready, and hears no signal that can be blocked.
    HangBeforeReady,
    /// It is ready, and then neither accepts nor answers, and hears no SIGTERM.
    ReadyThenDeaf,
    /// It takes more and more memory.
    Leak,
    /// It computes without end, on all cores.
    Spin,
}

const ALL: [(Fault, &str); 7] = [
    (Fault::None, "good"),
    (Fault::SegfaultAtOnce, "segfault-at-once"),
    (Fault::CrashAfterReady, "crash-after-ready"),
    (Fault::HangBeforeReady, "hang-before-ready"),
    (Fault::ReadyThenDeaf, "ready-then-deaf"),
    (Fault::Leak, "leak"),
    (Fault::Spin, "spin"),
];

impl Fault {
    /// Its name.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(fault, _)| *fault == self).expect("all are listed").1
    }

    /// What is put behind a build that has it; `salt` tells builds with the same fault apart.
    ///
    /// # Panics
    /// When the salt is too long.
    pub fn tail(self, salt: &str) -> Vec<u8> {
        let name = format!("{:NAME_LEN$}", format!("{} {salt}", self.name()));
        assert!(name.len() == NAME_LEN, "a shorter salt is needed");
        [MARK, name.as_bytes()].concat()
    }

    /// What the program in this file has: nothing where it says nothing.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(program: &Path) -> std::io::Result<Self> {
        let mut file = std::fs::File::open(program)?;
        let mut tail = [0; MARK.len() + NAME_LEN];
        file.seek(SeekFrom::End(-i64::try_from(tail.len()).expect("it is short")))?;
        file.read_exact(&mut tail)?;
        let Some(name) = tail.strip_prefix(MARK) else { return Ok(Self::None) };
        let name = name.split(|byte| *byte == b' ').next().unwrap_or_default();
        let known = ALL.iter().find(|(_, known)| known.as_bytes() == name);
        known.map(|(fault, _)| *fault).ok_or_else(|| std::io::Error::other("a fault that this build does not know"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_at_its_end_what_is_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("build");
        for (fault, _) in ALL {
            std::fs::write(&path, [&[7; 100], fault.tail("salt").as_slice()].concat()).expect("written");
            assert_eq!(Fault::of(&path).expect("read"), fault);
        }
        std::fs::write(&path, [7; 100]).expect("written");
        assert_eq!(Fault::of(&path).expect("read"), Fault::None);
        assert_ne!(Fault::Leak.tail("a"), Fault::Leak.tail("b"));
    }
}
