//! Reads the repository's own files. Owns which files count: those that git tracks or would add, so neither build output
//! nor an editor's leavings. It never writes.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::File;

/// The repository that this crate belongs to.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every text file of the repository. Files that are not UTF-8 hold no text to judge and are left out.
///
/// # Errors
/// When git can't list the files, or one of them can't be read.
pub fn files(top: &Path) -> anyhow::Result<Vec<File>> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(top)
        .output()
        .context("git could not be started; the tidy rules read the list of files from it")?;
    ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));

    let mut files = Vec::new();
    for path in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        let place = top.join(path);
        // A file that git still lists may have been removed, and a symbolic link's target is judged in its own place.
        let Some(metadata) = place.symlink_metadata().ok().filter(Metadata::is_file) else { continue };
        let bytes = std::fs::read(&place).with_context(|| format!("reading {path}"))?;
        if let Ok(text) = String::from_utf8(bytes) {
            let is_executable = metadata.permissions().mode() & 0o100 != 0;
            files.push(File { path: path.to_owned(), text, is_executable });
        }
    }
    Ok(files)
}
