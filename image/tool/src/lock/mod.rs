//! The package lock: which .debs an image is made of. `make lock` has it written, the stage `packages` has it kept to.

mod file;
mod gather;
mod renew;
mod repository;
mod snapshot;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;

pub use file::Lock;
pub use gather::GatherError;
use gather::Gathering;
use snapshot::Snapshots;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes a lock from what apt said it would install.
    Write {
        #[arg(long)]
        base: String,
        /// What `apt-get install --print-uris` printed.
        #[arg(long)]
        uris: PathBuf,
        /// What `apt-get indextargets` printed: address, origin, label and suite.
        #[arg(long)]
        targets: PathBuf,
        /// What image/packages asks for, joined by commas.
        #[arg(long, value_delimiter = ',', required = true)]
        wanted: Vec<String>,
        #[arg(long)]
        out: PathBuf,
    },
    /// Asserts that a lock was made for what image/packages asks for.
    Check {
        #[arg(long)]
        lock: PathBuf,
        #[arg(long, value_delimiter = ',', required = true)]
        wanted: Vec<String>,
    },
    /// Makes an archive of the lock's packages. Ends with status 3 where one is no longer to be had.
    Gather {
        #[arg(long)]
        lock: PathBuf,
        /// Files with apt's sources, in either of its forms.
        #[arg(long, required = true, num_args = 1..)]
        sources: Vec<PathBuf>,
        /// Where .debs are kept from build to build.
        #[arg(long)]
        cache: PathBuf,
        /// An empty folder.
        #[arg(long)]
        folder: PathBuf,
        /// A snapshot service's address, with @SNAPSHOTID@ and @PATH@ in it; apt's own setting unless given.
        #[arg(long, env = "POSTHOUSE_SNAPSHOT")]
        snapshot: Option<String>,
    },
}

pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Write { base, uris, targets, wanted, out } => {
            let lock = renew::lock(&base, set(wanted), &read(&uris)?, &read(&targets)?, jiff::Timestamp::now())?;
            crate::manifest::replace(&out, &lock.print())?;
            println!("{}: {} packages, snapshot {}", out.display(), lock.packages.len(), lock.snapshot);
        }
        Command::Check { lock, wanted } => Lock::read(&lock)?.fits(&set(wanted))?,
        Command::Gather { lock, sources, cache, folder, snapshot } => {
            let lock = Lock::read(&lock)?;
            let snapshots = Snapshots::new(snapshot.as_deref())?;
            let mut mirrors = Vec::new();
            for source in &sources {
                for address in addresses(&read(source)?) {
                    if !mirrors.contains(&address) {
                        mirrors.push(address);
                    }
                }
            }
            Gathering { lock: &lock, mirrors, snapshots: &snapshots, cache, folder: &folder }.run()?;
            repository::write(&lock, &folder)?;
        }
    }
    Ok(())
}

fn set(words: Vec<String>) -> BTreeSet<String> {
    words.into_iter().collect()
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The archives' addresses in apt's sources: `deb [options] ADDRESS suite …`, or `URIs: ADDRESS …`.
fn addresses(sources: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in sources.lines() {
        if let Some(words) = line.strip_prefix("URIs:") {
            found.extend(words.split_whitespace());
        } else if let Some(words) = line.strip_prefix("deb ") {
            let words = words.trim_start();
            let words = if words.starts_with('[') { words.split_once(']').unwrap_or_default().1 } else { words };
            found.extend(words.split_whitespace().next());
        }
    }
    // curl knows one of apt's two words for a local file.
    found.iter().map(|address| address.replacen("copy:", "file:", 1)).collect()
}

#[cfg(test)]
pub mod tests {
    pub use super::file::tests::lock;
    use super::*;

    #[test]
    fn both_forms_of_apts_sources_are_read() {
        let list = "# x\ndeb http://a/debian trixie main\ndeb [signed-by=\"/x y\" trusted=yes] copy:///b trixie main\n\
                    deb-src http://c trixie main\n";
        assert_eq!(addresses(list), ["http://a/debian", "file:///b"]);
        assert_eq!(
            addresses("Types: deb\nURIs: http://d/debian http://e\nSuites: x\n"),
            ["http://d/debian", "http://e"]
        );
    }
}
