//! `posthouse-box offer`: a bundle that somebody has put onto a USB stick, or onto the card's boot partition, is laid into the updater's
//! inbox, and the updater is asked to install it.
//!
//! It decides nothing and verifies nothing: the updater trusts no copy but its own. It runs as the server's user, whose inbox it is, and
//! reads what anybody may have written. Each file is offered once, so that one that stays does not come again at each start.

use std::fs::{self, DirBuilder, File};
use std::io::{Cursor, Read, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use nix::fcntl::OFlag;
use posthouse_appliance::boot_partition::BootPartition;
use posthouse_protocol::update::UpdateRequest;
use posthouse_updater::{Bundle, PACKED_LEN_MAX, Release, Sha256};
use sha2::{Digest as _, Sha256 as Hasher};

/// How the name of a bundle ends.
const ENDING: &str = ".phb";

/// More than any bundle has, in bytes: what is packed, and a megabyte of documents.
const LEN_MAX: u64 = PACKED_LEN_MAX + (1 << 20);

/// Folders with more are not looked through to their end.
const ENTRIES_MAX: usize = 10_000;

/// In the inbox: what is asked for.
const REQUEST: &str = "request";

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The updater's inbox
    #[arg(long, default_value = "/var/lib/posthouse/inbox")]
    inbox: PathBuf,
    /// Where it is noted which file was offered last
    #[arg(long)]
    mark: PathBuf,
    /// What the audit is to say
    #[arg(long)]
    by: String,
    /// The folder to look into, instead of the card's boot partition
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// Bytes that somebody offers.
trait Source: Read + std::io::Seek {}
impl<T: Read + std::io::Seek> Source for T {}

/// A bundle as it says of itself; nobody has verified it.
struct Offered {
    name: String,
    release: Release,
    source: Box<dyn Source>,
}

/// Offers the newest bundle that is there.
///
/// # Errors
/// The place can't be read, no file of that name is a bundle, or the inbox can't take it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut found = match &options.folder {
        Some(folder) => in_folder(folder)?,
        None => on_card()?,
    };
    found.sort_by_key(|offered| (offered.release.generation, offered.release.seq));
    let Some(mut newest) = found.pop() else { return Ok(()) };
    let hash = hash(&mut newest.source).with_context(|| newest.name.clone())?;
    let mark = hash.to_string();
    if fs::read_to_string(&options.mark).is_ok_and(|kept| kept.trim() == mark) {
        println!("{}: it was offered before", newest.name);
        return Ok(());
    }
    lay_in(&options.inbox, &mut newest, &mark, &options.by).with_context(|| newest.name.clone())?;
    replace(&options.mark, format!("{mark}\n").as_bytes()).context("noting what was offered")?;
    println!("{}: version {} is offered to the updater", newest.name, newest.release.version);
    Ok(())
}

fn in_folder(folder: &Path) -> anyhow::Result<Vec<Offered>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries.take(ENTRIES_MAX) {
        let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_bundle(&name) {
            continue;
        }
        // A stick's file system has no links; another one's lead nowhere.
        let opened = File::options()
            .read(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits() | OFlag::O_NONBLOCK.bits())
            .open(entry.path());
        let plain = opened.and_then(|file| Ok((file.metadata()?.is_file(), file)));
        match plain {
            Ok((true, file)) => found.extend(read(name, Box::new(file))),
            Ok((false, _)) => eprintln!("{name}: it is no file"),
            Err(error) => eprintln!("{name}: it cannot be read: {error}"),
        }
    }
    Ok(found)
}

fn on_card() -> anyhow::Result<Vec<Offered>> {
    let card = BootPartition::open()?;
    let mut found = Vec::new();
    for name in card.names()?.into_iter().filter(|name| is_bundle(name)) {
        match card.read(&name, LEN_MAX) {
            Ok(file) => found.extend(file.and_then(|file| read(name, Box::new(Cursor::new(file.bytes))))),
            Err(error) => eprintln!("{error}"),
        }
    }
    Ok(found)
}

/// Programs that copy leave hidden files beside (`._NAME`).
fn is_bundle(name: &str) -> bool {
    !name.starts_with('.') && name.to_ascii_lowercase().ends_with(ENDING)
}

/// What a bundle says of itself; told and passed over where it is none.
fn read(name: String, mut source: Box<dyn Source>) -> Option<Offered> {
    let release = Bundle::read(&mut source)
        .map_err(|error| error.to_string())
        .and_then(|bundle| Release::unverified(bundle.release()));
    match release {
        Ok(release) => Some(Offered { name, release, source }),
        Err(error) => {
            eprintln!("{name}: it is no update: {error}");
            None
        }
    }
}

/// The whole source's, which is read once more when it is copied.
fn hash(source: &mut Box<dyn Source>) -> anyhow::Result<Sha256> {
    source.seek(SeekFrom::Start(0))?;
    let mut hasher = Hasher::new();
    let (mut buffer, mut len) = (vec![0; 64 * 1024], 0);
    loop {
        let read = source.read(&mut buffer).context("it cannot be read")?;
        if read == 0 {
            break;
        }
        len += read as u64;
        ensure!(len <= LEN_MAX, "it is longer than any update");
        hasher.update(&buffer[..read]);
    }
    Ok(Sha256::from_bytes(hasher.finalize().into()))
}

fn lay_in(inbox: &Path, offered: &mut Offered, hash: &str, by: &str) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(inbox) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            bail!("cannot make {}: {error}", inbox.display())
        }
        _ => {}
    }
    let request = inbox.join(REQUEST);
    ensure!(!request.exists(), "another update is being looked at: it is offered when it is put in again");
    let (part, whole) = (inbox.join(format!("{hash}.part")), inbox.join(format!("{hash}{ENDING}")));
    offered.source.seek(SeekFrom::Start(0))?;
    let mut file = fresh(&part)?;
    std::io::copy(&mut (&mut offered.source).take(LEN_MAX), &mut file).context("it cannot be copied")?;
    file.sync_all()?;
    fs::rename(&part, &whole)?;
    let wanted = UpdateRequest::Install { bundle: hash.to_owned(), by: by.to_owned() };
    replace(&request, &serde_json::to_vec(&wanted)?)
}

/// Whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = fresh(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    Ok(File::open(path.parent().context("no folder")?)?.sync_all()?)
}

/// A new file, in place of what somebody has left there.
fn fresh(path: &Path) -> anyhow::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("cannot remove {}: {error}", path.display())
        }
        _ => {}
    }
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests;
