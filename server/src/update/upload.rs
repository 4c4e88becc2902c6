//! A bundle from somebody's device, piece by piece (draft-ietf-httpbis-resumable-upload): each PATCH says where its bytes belong,
//! and what came of one that broke off is gone on from.
//!
//! A bundle is named by the hash of its file, so that two devices send the same one to the same place, and nothing is kept that
//! is not what was promised.

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use posthouse_protocol::limits;
use posthouse_protocol::update::{BUNDLE_LEN_MAX, UpdateProgress, UpdateStep};
use posthouse_updater::Sha256;
use tokio::time::Instant;

use super::Updates;
use super::head::Head;
use super::inbox::{self, Growing, Held, Inbox};
use super::refusal::Refused;
use crate::page;
use crate::shutdown::Shutdown;

const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const PARTIAL: &str = "application/partial-upload";

/// Some of it has to come within this time (slow loris).
const PATIENCE: Duration = Duration::from_secs(limits::HTTP_READ_TIMEOUT_S);

/// For so long one request may take: a whole bundle at 20 KB/s. Then the device goes on with another one.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(3600);

/// What a PATCH says of its body.
struct Piece {
    offset: u64,
    length: u64,
    is_last: bool,
}

impl Piece {
    fn read(headers: &HeaderMap) -> Result<Self, Refused> {
        if !page::is_of_type(headers, PARTIAL) {
            return Err(Refused::MediaType(PARTIAL));
        }
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let number = |name: &HeaderName| text(name).and_then(|text| text.parse::<u64>().ok());
        let odd = |name: &HeaderName, what: &str| Refused::Odd(format!("the header {name} is {what}"));
        let offset = number(&OFFSET).ok_or_else(|| odd(&OFFSET, "where the body belongs, in bytes"))?;
        let length = number(&LENGTH).ok_or_else(|| odd(&LENGTH, "the bundle's length, in bytes"))?;
        let is_last = match text(&COMPLETE) {
            Some("?1") => true,
            Some("?0") => false,
            _ => return Err(odd(&COMPLETE, "?1 where the body ends the bundle, else ?0")),
        };
        if length > BUNDLE_LEN_MAX {
            return Err(Refused::TooLong(BUNDLE_LEN_MAX));
        }
        if length == 0 || offset > length {
            return Err(odd(&OFFSET, "at most the bundle's length"));
        }
        Ok(Self { offset, length, is_last })
    }
}

impl Updates {
    /// How much of a bundle is there.
    pub(super) fn held(&self, hash: Sha256) -> Result<Response<Full<Bytes>>, Refused> {
        Ok(so_far(self.inbox()?.held(hash)))
    }

    /// Throws away what there is of a bundle, unless the updater was asked for it.
    pub(super) fn forget(&self, hash: Sha256) -> Result<Response<Full<Bytes>>, Refused> {
        let _sending = self.sending()?;
        let inbox = self.inbox()?;
        if inbox.is_asked() {
            return Err(Refused::Conflict("a request waits for the box's updater: wait for it".to_owned()));
        }
        inbox.forget(hash)?;
        Ok(so_far(inbox.held(hash)))
    }

    /// Takes a piece of a bundle.
    pub(super) async fn take(
        &self,
        hash: Sha256,
        headers: &HeaderMap,
        body: Incoming,
    ) -> Result<Response<Full<Bytes>>, Refused> {
        let piece = Piece::read(headers)?;
        let inbox = self.inbox()?;
        let _sending = self.sending()?;
        let held = inbox.held(hash);
        if held.is_complete && piece.offset == held.offset {
            return Ok(so_far(held));
        }
        if piece.offset != held.offset {
            return Err(Refused::Offset { have: held.offset });
        }
        if held.offset == 0 && !inbox.is_asked() {
            let downloaded = self.kept().found.and_then(|found| found.bundle);
            inbox.forget_others(&downloaded.into_iter().chain([hash]).collect::<Vec<_>>())?;
        }
        inbox.check_room(piece.length - held.offset)?;
        let progress = |done| UpdateProgress { what: UpdateStep::Uploading, done, total: piece.length };
        let tell = |done| self.tell(Some(progress(done)));
        tell(held.offset);
        let filled = fill(&inbox.part(hash), held.offset, &piece, body, self.stopping.clone(), tell).await;
        self.tell(None);
        let offset = filled?;
        if !piece.is_last {
            return Ok(so_far(Held { offset, is_complete: false }));
        }
        if offset != piece.length {
            let message = format!("the bundle was to end here, and {offset} of its {} bytes are there", piece.length);
            return Err(Refused::Odd(message));
        }
        let (inbox, length) = (inbox.clone(), piece.length);
        blocking(move || complete(&inbox, hash, length)).await?;
        Ok(so_far(self.inbox()?.held(hash)))
    }
}

/// Writes what comes to the end of a file, and gives where that is then.
async fn fill(
    path: &Path,
    from: u64,
    piece: &Piece,
    mut body: Incoming,
    mut stopping: Shutdown,
    tell: impl Fn(u64),
) -> Result<u64, Refused> {
    let (mut growing, mut offset, mut waiting) = (Growing::append(path)?, from, BytesMut::new());
    let over = Instant::now() + REQUEST_TIME_MAX;
    let mut ended = Ok(());
    loop {
        let deadline = over.min(Instant::now() + PATIENCE);
        let frame = tokio::select! {
            frame = tokio::time::timeout_at(deadline, body.frame()) => frame,
            () = stopping.requested() => { ended = Err(Refused::Stopping); break }
        };
        let slow = |message| Refused::Unread { status: StatusCode::REQUEST_TIMEOUT, message };
        match frame {
            Err(_) => ended = Err(slow("nothing came for too long: what came is kept")),
            Ok(None) => {}
            Ok(Some(Err(_))) => ended = Err(Refused::Odd("the body did not come whole: what came is kept".to_owned())),
            Ok(Some(Ok(frame))) => {
                waiting.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
                if offset + waiting.len() as u64 > piece.length {
                    return Err(Refused::Odd(format!("more came than the {} bytes of the bundle", piece.length)));
                }
                if waiting.len() >= Growing::PIECE {
                    offset += waiting.len() as u64;
                    growing = add(growing, waiting.split().freeze()).await?;
                    tell(offset);
                }
                continue;
            }
        }
        break;
    }
    offset += waiting.len() as u64;
    add(growing, waiting.freeze()).await?;
    ended.map(|()| offset)
}

/// Adds a piece to a file, beside the runtime: a card may take its time.
pub(super) async fn add(mut growing: Growing, piece: Bytes) -> Result<Growing, Refused> {
    let len = piece.len() as u64;
    blocking(move || match growing.add(&piece) {
        Ok(()) => Ok(growing),
        // Somebody else has taken the room that was there.
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            Err(Refused::NoRoom { needed: len, free: 0, kept: inbox::ROOM_KEPT })
        }
        Err(error) => Err(error.into()),
    })
    .await
}

/// Looks whether it is what was promised, and no other file than a bundle.
fn complete(inbox: &Inbox, hash: Sha256, length: u64) -> Result<(), Refused> {
    let part = inbox.part(hash);
    let found = inbox::hash_of(&part)?;
    let objection = if found != hash {
        Some(format!("what came has another hash ({found}): it was thrown away, send it again"))
    } else {
        Head::of_file(&part, length).err()
    };
    if let Some(objection) = objection {
        inbox.forget(hash)?;
        return Err(Refused::Odd(objection));
    }
    Ok(inbox.finish(&part, hash)?)
}

/// Runs what waits for the card.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, Refused>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Refused> + Send + 'static,
{
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|panic| Err(Refused::Io(std::io::Error::other(panic))))
}

fn so_far(held: Held) -> Response<Full<Bytes>> {
    let mut response = page::json_text(StatusCode::OK, String::new());
    say(&mut response, held.offset, held.is_complete);
    response
}

/// Says how much of a bundle is there.
pub(super) fn say(response: &mut Response<Full<Bytes>>, offset: u64, is_complete: bool) {
    let headers = response.headers_mut();
    headers.insert(OFFSET, HeaderValue::from(offset));
    headers.insert(COMPLETE, HeaderValue::from_static(if is_complete { "?1" } else { "?0" }));
}
