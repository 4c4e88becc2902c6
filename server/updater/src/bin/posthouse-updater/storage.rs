//! Whether the data partition takes writes: where it does not, a server that fails says nothing of its binary.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use crate::files;
use crate::paths::Paths;

/// A card that does not sync a block within this time stalls.
const SYNCS_WITHIN: Duration = Duration::from_secs(10);

/// With less than this the data partition is full for whoever is not root, in bytes.
const FREE_MIN: u64 = 4 << 20;

/// What is written, in bytes.
const PIECE_LEN: usize = 4096;

/// Writes a block and syncs it.
///
/// # Errors
/// Why that can't be done, for people.
pub fn check(paths: &Paths) -> Result<(), String> {
    if files::free(&paths.state_dir).is_ok_and(|free| free < FREE_MIN) {
        return Err("the data partition is full".to_owned());
    }
    let path = paths.incoming().join("block");
    let (tell, told) = mpsc::channel();
    // One that hangs is left behind: the kernel lets nobody end it.
    std::thread::spawn(move || tell.send(write(&path)));
    match told.recv_timeout(SYNCS_WITHIN) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the data partition takes no writes: {error}")),
        Err(_) => Err(format!("the card stalls: a block is not written within {SYNCS_WITHIN:?}")),
    }
}

fn write(path: &PathBuf) -> io::Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(&[0x50; PIECE_LEN])?;
        file.sync_data()
    });
    files::remove(Path::new(path)).and(written)
}
