//! How long this machine's own `fdatasync` takes, in the folder that is measured: what no server that
//! keeps its word can be faster than.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use hdrhistogram::Histogram;

/// As the server's log: a file written with zeros once, a block at a time.
const FILE_LEN: usize = 8 * 1024 * 1024;
const BLOCK_LEN: usize = 4096;

/// Writes and syncs `count` blocks, one after the other. The times are in nanoseconds.
///
/// # Errors
/// The system's.
pub fn measure(folder: &Path, count: usize) -> anyhow::Result<Histogram<u64>> {
    let path = folder.join("sync-time");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.write_all_at(&vec![0; FILE_LEN], 0)?;
    file.sync_all()?;
    let block = [0x5a; BLOCK_LEN];
    let mut times = Histogram::new(3)?;
    for number in 0..count {
        let offset = number * BLOCK_LEN % FILE_LEN;
        let began = Instant::now();
        file.write_all_at(&block, u64::try_from(offset)?)?;
        file.sync_data()?;
        times.record(u64::try_from(began.elapsed().as_nanos())?)?;
    }
    std::fs::remove_file(&path)?;
    Ok(times)
}
