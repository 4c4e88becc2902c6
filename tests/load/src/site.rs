//! Data folders: filled once through the real server, kept outside the clone, copied for each use.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::dialect::Person;
use crate::fill;
use crate::process::Process;

/// Part of the cache's name: to be raised when what is filled in changes. A store that the server refuses,
/// because its schema has changed, is filled again anyway.
const CONTENT: &str = "1";

/// Filled data folders.
pub struct Stock {
    cache: PathBuf,
    /// Where copies go: on the disk that is measured.
    work: PathBuf,
    cores: String,
}

/// What a filled folder has.
#[derive(Clone, Serialize, Deserialize)]
pub struct Content {
    /// Every account with its device.
    pub people: Vec<Person>,
    /// Direct conversations: the `n`th one is of the people `2n` and `2n + 1`.
    pub conversations: Vec<u64>,
    /// Messages in each of them.
    pub messages: u64,
}

/// A copy that is gone with this value.
pub struct Site {
    folder: TempDir,
    /// What was in it when it was copied.
    pub content: Content,
}

impl Site {
    /// The server's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Stock {
    /// `cores` are those that filling may use.
    ///
    /// # Errors
    /// Where the folders can't be made.
    pub fn new(cache: &Path, work: &Path, cores: &str) -> anyhow::Result<Self> {
        let cache = cache.join(CONTENT);
        std::fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        std::fs::create_dir_all(work).with_context(|| format!("cannot make {}", work.display()))?;
        Ok(Self { cache, work: work.to_owned(), cores: cores.to_owned() })
    }

    /// A copy with accounts and conversations between neighbours.
    ///
    /// # Errors
    /// The system's and the server's.
    pub async fn people(&self, people: u64) -> anyhow::Result<Site> {
        let name = format!("people-{people}");
        if !self.is_usable(&name) {
            println!("filling: {people} accounts");
            let making = self.making()?;
            let server = Process::server(&making.path().join("data"), &self.cores)?;
            let content = fill::people(&server, &making.path().join("data/admin.sock"), people).await?;
            server.stop()?;
            self.keep(&making, &name, &content)?;
        }
        self.copy(&name)
    }

    /// A copy with messages spread over conversations.
    ///
    /// # Errors
    /// The system's and the server's.
    pub async fn messages(&self, people: u64, conversations: u64, messages: u64) -> anyhow::Result<Site> {
        let name = format!("people-{people}-messages-{messages}");
        if !self.is_usable(&name) {
            let site = self.people(people).await?;
            println!("filling: {messages} messages");
            let server = Process::server(&site.data_dir(), &self.cores)?;
            let each = messages / conversations;
            let used = usize::try_from(conversations)?;
            fill::messages(&server, &site.content, used, each).await?;
            server.stop()?;
            let mut content = site.content.clone();
            content.conversations.truncate(used);
            content.messages = each;
            self.keep(&site.folder, &name, &content)?;
        }
        self.copy(&name)
    }

    /// Whether it is there and this build's server takes it.
    fn is_usable(&self, name: &str) -> bool {
        let folder = self.cache.join(name);
        if !folder.join("content.json").exists() {
            return false;
        }
        let started = Process::server(&folder.join("data"), &self.cores).and_then(Process::stop);
        if let Err(error) = &started {
            println!("filling again, as the server refuses what was kept: {error:#}");
            // What can't be removed shows when the new one is to take its name.
            let _ = std::fs::remove_dir_all(&folder);
        }
        started.is_ok()
    }

    fn making(&self) -> anyhow::Result<TempDir> {
        Ok(tempfile::Builder::new().prefix("site-").tempdir_in(&self.work)?)
    }

    /// Copies it into the cache: under its name it is whole.
    fn keep(&self, made: &TempDir, name: &str, content: &Content) -> anyhow::Result<()> {
        std::fs::write(made.path().join("content.json"), serde_json::to_vec(content)?)?;
        let unfinished = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&self.cache)?;
        copy(made.path(), &unfinished.path().join(name))?;
        Ok(std::fs::rename(unfinished.path().join(name), self.cache.join(name))?)
    }

    fn copy(&self, name: &str) -> anyhow::Result<Site> {
        let folder = self.making()?;
        let from = self.cache.join(name);
        let content = serde_json::from_slice(&std::fs::read(from.join("content.json"))?)?;
        copy(&from.join("data"), &folder.path().join("data"))?;
        // What is still to be written would be in the way of what is measured.
        nix::unistd::sync();
        Ok(Site { folder, content })
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp").args(["--archive", "--reflink=auto"]).arg(from).arg(to).status()?;
    ensure!(status.success(), "cannot copy {} to {}", from.display(), to.display());
    Ok(())
}
