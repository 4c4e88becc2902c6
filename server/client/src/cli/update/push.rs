//! Bringing a bundle to the server, in pieces: what an earlier try has brought is not brought again.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use posthouse_client::{ClientError, Held, Piece, Updates};
use posthouse_protocol::ErrorCode;
use posthouse_updater::{Bundle, Release};
use sha2::Digest;

use super::explained;
use super::shown::plain;
use crate::cli::output::Output;

/// So much is brought with one request, in bytes: a break costs no more than that.
const PIECE_LEN: u64 = 4 * 1024 * 1024;

/// So often in a row the server may be away.
const BREAKS_MAX: u32 = 8;

/// The first pause; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// Brings it, and gives the hash by which it is applied.
pub async fn push(updates: &Updates, path: &Path, output: Output) -> anyhow::Result<String> {
    let context = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(context)?;
    let release = checked(&mut file).with_context(|| format!("{} is not brought", path.display()))?;
    let (bundle, length) = hashed(&mut file).with_context(context)?;
    if matches!(output, Output::Text) {
        eprintln!("Version {} (number {}), {} bytes.", release.version, release.seq, length);
        if !release.notes.is_empty() {
            eprintln!("{}", plain(&release.notes));
        }
    }
    let mut held = patiently(|| updates.held(&bundle)).await?;
    while !held.is_complete {
        // The server sees to it that nothing is where it does not belong; a file that changes meanwhile has another hash.
        let len = PIECE_LEN.min(length.saturating_sub(held.offset));
        let mut bytes = vec![0; usize::try_from(len)?];
        file.seek(SeekFrom::Start(held.offset)).with_context(context)?;
        file.read_exact(&mut bytes).with_context(context)?;
        let piece = Piece { bundle: &bundle, offset: held.offset, length, bytes: bytes.into() };
        held = match updates.send(&piece).await {
            Ok(held) => held,
            Err(ClientError::Refused(error)) if error.code == ErrorCode::Conflict || error.retryable => {
                let now = patiently(|| updates.held(&bundle)).await?;
                if now.offset == held.offset && !now.is_complete && !error.retryable {
                    return Err(explained(ClientError::Refused(error)));
                }
                now
            }
            Err(ClientError::Disconnected(_) | ClientError::Unreachable { .. }) => {
                patiently(|| updates.held(&bundle)).await?
            }
            Err(error) => return Err(explained(error)),
        };
        if matches!(output, Output::Text) {
            eprintln!("{} %", held.offset * 100 / length.max(1));
        }
    }
    Ok(bundle)
}

/// What no server would take is not brought to one.
fn checked(file: &mut File) -> anyhow::Result<Release> {
    let bundle = Bundle::read(file)?;
    let release = Release::unverified(bundle.release()).map_err(anyhow::Error::msg)?;
    release.check_packed(file.by_ref())?;
    if bundle.release().signatures().is_empty() {
        bail!("nobody has signed it: posthouse release sign");
    }
    Ok(release)
}

fn hashed(file: &mut File) -> std::io::Result<(String, u64)> {
    file.rewind()?;
    let (mut hash, mut length, mut piece) = (sha2::Sha256::new(), 0, vec![0; 256 * 1024]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            let hash: [u8; 32] = hash.finalize().into();
            return Ok((posthouse_updater::Sha256::from_bytes(hash).to_string(), length));
        }
        hash.update(&piece[..read]);
        length += read as u64;
    }
}

/// Asks until the server is there.
async fn patiently<F>(mut ask: impl FnMut() -> F) -> anyhow::Result<Held>
where
    F: Future<Output = Result<Held, ClientError>>,
{
    let mut breaks = 0;
    loop {
        match ask().await {
            Err(ClientError::Disconnected(_) | ClientError::Unreachable { .. }) if breaks < BREAKS_MAX => {
                tokio::time::sleep(PAUSE * 2_u32.pow(breaks)).await;
                breaks += 1;
            }
            Err(error) => return Err(explained(error)),
            Ok(held) => return Ok(held),
        }
    }
}
