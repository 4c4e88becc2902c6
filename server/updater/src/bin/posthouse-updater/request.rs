//! What the server asks for: a file in its inbox, which is copied to where only root can write, and removed.
//!
//! A request that a power cut has interrupted is carried out once more, from its copy; one that was answered is not carried out
//! again, by its number.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use posthouse_protocol::update::UpdateRequest;
use posthouse_updater::Sha256;

use crate::failpoints::reach;
use crate::files;
use crate::paths::Paths;

/// Longest request, in bytes: a hash and a name.
const LEN_MAX: u64 = 4096;

/// Begins the names of copies; a number follows.
const PREFIX: &str = "request.";

/// Ends the name of one that is being carried out for the second time.
const AGAIN: &str = ".again";

/// A request.
#[derive(Debug)]
pub struct Request {
    /// Tells it from all others: two requests for the same are two.
    pub number: Sha256,
    /// What is asked for, or why that can't be said.
    pub content: anyhow::Result<UpdateRequest>,
    copy: Option<PathBuf>,
}

/// Whether a request was being carried out when the box was switched off.
pub fn is_interrupted(paths: &Paths) -> bool {
    interrupted(paths).is_some()
}

/// Whether this is the copy of a request.
pub fn is_copy(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX))
}

/// The next request: an interrupted one, or what stands in the inbox, which is taken from there.
///
/// # Errors
/// When what stands in the inbox can't be removed.
pub fn take(paths: &Paths) -> anyhow::Result<Option<Request>> {
    if let Some((number, path)) = interrupted(paths) {
        return Ok(Some(again(number, path)));
    }
    let path = paths.inbox.join("request");
    let Ok(metadata) = path.symlink_metadata() else { return Ok(None) };
    let read = read(&path, paths);
    let bytes = read.as_deref().unwrap_or_default();
    // Another file is another request, even where it says the same.
    let which = format!("{} {} {} ", metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
    let number = Sha256::of(&[which.as_bytes(), bytes].concat());
    // On a full disk it can't be kept. It is carried out all the same, for going back needs no space; a power cut then ends it.
    let copy = read.as_deref().ok().and_then(|bytes| keep(paths, number, bytes).ok());
    let request = Request { number, content: read.and_then(|bytes| parse(&bytes)), copy };
    reach("request.kept");
    // One that stays would start this program for ever.
    files::remove_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    reach("request.taken");
    Ok(Some(request))
}

impl Request {
    /// It has been answered.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn forget(&self, paths: &Paths) -> io::Result<()> {
        if let Some(copy) = &self.copy {
            files::remove_all(copy)?;
            files::sync_folder(&paths.incoming())?;
        }
        reach("request.forgotten");
        Ok(())
    }

    /// The bundle's file in the inbox.
    pub fn bundle(&self, paths: &Paths) -> Option<(Sha256, PathBuf)> {
        let Ok(UpdateRequest::Install { bundle, .. }) = &self.content else { return None };
        let hash: Sha256 = bundle.parse().ok()?;
        Some((hash, paths.inbox.join(format!("{hash}.phb"))))
    }

    /// Who asks.
    pub fn by(&self) -> Option<&str> {
        match &self.content {
            Ok(UpdateRequest::Install { by, .. } | UpdateRequest::Rollback { by, .. }) => Some(by),
            Err(_) => None,
        }
    }
}

fn interrupted(paths: &Paths) -> Option<(Sha256, PathBuf)> {
    let entries = fs::read_dir(paths.incoming()).ok()?;
    entries.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number = name.strip_prefix(PREFIX)?;
        Some((number.strip_suffix(AGAIN).unwrap_or(number).parse().ok()?, entry.path()))
    })
}

/// One that was interrupted before: perhaps it is what takes the box down.
fn again(number: Sha256, path: PathBuf) -> Request {
    let mut twice = path.clone().into_os_string();
    twice.push(AGAIN);
    let twice = PathBuf::from(twice);
    let content = || {
        let bytes = files::read(&path, LEN_MAX)?;
        let is_second = path.to_string_lossy().ends_with(AGAIN);
        let content = parse(&bytes)?;
        ensure!(!is_second, "it was interrupted twice: by power cuts, or because it takes the box down");
        fs::rename(&path, &twice)?;
        files::sync_folder(path.parent().unwrap_or(Path::new(".")))?;
        Ok(content)
    };
    match content() {
        Ok(content) => Request { number, content: Ok(content), copy: Some(twice) },
        Err(error) => Request { number, content: Err(error), copy: Some(path) },
    }
}

fn read(path: &Path, paths: &Paths) -> anyhow::Result<Vec<u8>> {
    let server = paths.server()?;
    let file = files::open_foreign(path).context("the request can't be read")?;
    let metadata = file.metadata()?;
    ensure!(metadata.is_file(), "the request is not a file");
    ensure!(metadata.uid() == server.uid.as_raw(), "the request is user {}'s, not the server's", metadata.uid());
    let mut bytes = Vec::new();
    file.take(LEN_MAX + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= LEN_MAX, "the request is longer than {LEN_MAX} bytes");
    Ok(bytes)
}

fn parse(bytes: &[u8]) -> anyhow::Result<UpdateRequest> {
    serde_json::from_slice(bytes).context("the request is none that this box knows")
}

fn keep(paths: &Paths, number: Sha256, bytes: &[u8]) -> io::Result<PathBuf> {
    let (new, copy) = (paths.incoming().join("taking"), paths.incoming().join(format!("{PREFIX}{number}")));
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, &copy)?;
    files::sync_folder(&paths.incoming())?;
    Ok(copy)
}
