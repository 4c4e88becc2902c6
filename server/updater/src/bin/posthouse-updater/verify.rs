//! From a bundle in the inbox to a slot: on a copy that only root can write, and nothing is run before all of it is verified.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use posthouse_protocol::update::BUNDLE_LEN_MAX;
use posthouse_updater::{Bundle, InstalledSlot, Release, Sha256, Slot, State, Trust};

use crate::failpoints::reach;
use crate::paths::Paths;
use crate::slots::NewSlot;
use crate::{files, selfcheck};

/// What is left free for messages, in bytes.
const RESERVE: u64 = 64 << 20;

/// Copies a bundle, verifies the copy and makes a slot of it.
///
/// # Errors
/// Why it is refused.
pub fn install(paths: &Paths, state: &State, trust: &Trust, bundle: (Sha256, &Path)) -> anyhow::Result<InstalledSlot> {
    let (hash, path) = bundle;
    let mut copy = copy(paths, hash, path)?;
    let head = Bundle::read(&mut copy)?;
    let (followed, release) = trust.accept(&head, std::env::consts::ARCH, &paths.channel())?;
    state.may_stage(release.sha256, &release.version)?;
    ensure!(!state.needed().contains(&release.sha256), "this very binary is installed already");
    let readable = readable(paths, state)?;
    ensure!(
        release.min_reader <= readable.schema && release.schema >= readable.needs,
        "version {} writes databases of schema {} that need {}; the present version reads {} and its own need {}: \
         install a version between them first",
        release.version,
        release.schema,
        release.min_reader,
        readable.schema,
        readable.needs
    );
    ask_for_space(paths, release.length, "to install it beside the present version")?;
    let start = copy.stream_position()?;
    release.check_packed(&mut copy)?;
    copy.seek(SeekFrom::Start(start))?;
    let slot = NewSlot::unpack(paths, &head, &release, copy)?;
    check(paths, &slot, &release)?;
    slot.keep(paths).context("cannot keep it")?;
    let signed_by = followed.signers(head.release());
    Ok(InstalledSlot { signed_by, ..InstalledSlot::of(&release) })
}

fn copy(paths: &Paths, hash: Sha256, path: &Path) -> anyhow::Result<File> {
    let server = paths.server()?;
    let mut file = match files::open_foreign(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!("the bundle is not in the inbox any more"),
        opened => opened.context("the bundle can't be read")?,
    };
    let metadata = file.metadata()?;
    ensure!(metadata.is_file(), "the bundle is not a file");
    ensure!(metadata.uid() == server.uid.as_raw(), "the bundle is user {}'s, not the server's", metadata.uid());
    ensure!(metadata.len() <= BUNDLE_LEN_MAX, "the bundle is longer than any may be ({} bytes)", metadata.len());
    ask_for_space(paths, metadata.len(), "to verify it")?;
    let path = paths.incoming().join(format!("{hash}.phb"));
    files::remove_all(&path)?;
    let mut copy = OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(&path)?;
    // It may still grow: whoever writes it is not to be trusted.
    let mut bounded = io::Read::take(&mut file, metadata.len());
    io::copy(&mut bounded, &mut copy).context("cannot copy the bundle")?;
    reach("bundle.copied");
    copy.rewind()?;
    let found = Sha256::of_reader(&mut copy)?;
    ensure!(found == hash, "the bundle has changed since it was asked for: its SHA-256 is {found}");
    copy.rewind()?;
    Ok(copy)
}

/// What the present version can read, and the least that can read what it writes.
struct Readable {
    schema: u32,
    needs: u32,
}

fn readable(paths: &Paths, state: &State) -> anyhow::Result<Readable> {
    match &state.current {
        Slot::Installed(slot) => Ok(Readable { schema: slot.schema, needs: slot.min_reader }),
        Slot::Factory => {
            let said = selfcheck::run(paths, &paths.factory).context("the server that came with the image")?;
            Ok(Readable { schema: said.schema, needs: said.min_reader })
        }
    }
}

fn ask_for_space(paths: &Paths, len: u64, what_for: &str) -> anyhow::Result<()> {
    let (free, needed) = (files::free(&paths.state_dir)?, len + RESERVE);
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    ensure!(
        free >= needed,
        "the data partition has {} MiB free, and {} MiB are needed {what_for}",
        free >> 20,
        mib(needed)
    );
    Ok(())
}

/// The first time that something of it is run.
fn check(paths: &Paths, slot: &NewSlot, release: &Release) -> anyhow::Result<()> {
    selfcheck::run(paths, &slot.program())?.compare(release)?;
    reach("slot.checked");
    Ok(())
}
