//! The file that keeps the codes over a restart: whoever has no monitor reads them on the card, for which the box is switched off.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use super::codes::Codes;

/// Its name in the data folder, which is the server's alone.
pub(super) const FILE_NAME: &str = "claim-code";

/// The same for the code that lets an owner in again.
pub(super) const RECOVERY_FILE_NAME: &str = "recovery-code";

/// Stands in its place once it was used: it is void until the card asks for another one.
const USED: &str = "used\n";

/// Those that an earlier run has shown last, or fresh ones.
pub(super) fn read(file: &Path, now: Instant) -> Codes {
    let kept = std::fs::read_to_string(file).ok();
    kept.and_then(|kept| Codes::again(&kept, now)).unwrap_or_else(|| Codes::fresh(now))
}

/// Makes them durable before anybody is shown them.
pub(super) fn write(file: &Path, codes: &Codes) -> std::io::Result<()> {
    codes.kept().map_or_else(|| forget(file), |kept| put(file, &kept))
}

/// Whether the code was used that the card asks for.
pub(super) fn is_used(file: &Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|kept| kept == USED)
}

/// Notes that it was used.
pub(super) fn use_up(file: &Path) -> std::io::Result<()> {
    put(file, USED)
}

fn put(file: &Path, kept: &str) -> std::io::Result<()> {
    let unfinished = file.with_extension("new");
    let mut opened =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    opened.write_all(kept.as_bytes())?;
    opened.sync_all()?;
    std::fs::rename(&unfinished, file)?;
    // The name, too.
    file.parent().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())
}

/// Nobody needs them any more.
pub(super) fn forget(file: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_again_until_they_are_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, now) = (folder.path().join(FILE_NAME), Instant::now());
        let codes = read(&file, now);
        write(&file, &codes).expect("written");
        assert!(read(&file, now).current().matches(codes.current()));
        std::fs::write(&file, [0xff; 20]).expect("written");
        assert!(!read(&file, now).current().matches(codes.current()));
        write(&file, &codes).expect("written");
        use_up(&file).expect("written");
        assert!(is_used(&file) && !read(&file, now).current().matches(codes.current()));
        (0..2).for_each(|_| forget(&file).expect("gone"));
        assert!(!file.exists());
        write(&file, &Codes::chosen("my own code")).expect("nothing to keep");
        assert!(!file.exists());
    }
}
