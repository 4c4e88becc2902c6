//! The file at the update URL: what it is, and all of it. A download that broke off, also by a restart or a power cut, goes on
//! where it was; a file that has changed meanwhile starts over.

use std::time::Duration;

use bytes::BytesMut;
use hyper::Uri;
use posthouse_protocol::appliance;
use posthouse_protocol::update::{UpdateProgress, UpdateStep};
use posthouse_updater::Sha256;
use tokio::time::Instant;

use super::fetch::{FetchError, Fetcher, Got, Part, file_url};
use super::head::{self, Head};
use super::inbox::{self, Growing, Inbox};
use super::kept::Found;
use super::refusal::Refused;
use super::upload::{add, blocking};

/// So fast a download may be, in bytes a second: it shares card and network with the chat.
const BYTES_PER_S: u64 = 2 * 1024 * 1024;

/// So long it may take at once, with all its pauses; the next try goes on from there.
const TIME_MAX: Duration = Duration::from_secs(2 * 3600);

/// So often in a row it may break off without a byte more.
const BREAKS_MAX: u32 = 6;

/// The pause after the first break; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// Where updates come from.
pub struct Source {
    url: Uri,
    channel: String,
    fetcher: Fetcher,
}

impl Source {
    /// As the settings say; nothing where they name none.
    ///
    /// # Errors
    /// Where they can't be followed.
    pub fn new(settings: &appliance::Updates) -> Result<Option<Self>, FetchError> {
        let Some(url) = &settings.url else { return Ok(None) };
        let url = file_url(url, &settings.channel)?;
        let fetcher = Fetcher::new(settings.authority.as_deref())?;
        Ok(Some(Self { url, channel: settings.channel.clone(), fetcher }))
    }

    /// What the file there says of itself, and the server's name for its bytes. Asks for its beginning only.
    ///
    /// # Errors
    /// Why nobody knows, or that it is not for this box.
    pub async fn head(&self) -> Result<(Head, Option<String>), FetchError> {
        for len in [head::LEN_LIKELY, head::LEN_MAX] {
            let mut got = self.fetcher.get(&self.url, Part { from: 0, to: Some(len - 1), of: None }).await?;
            if let Some(head) = beginning(&mut got).await? {
                if let Some(total) = got.total {
                    head.check_len(total).map_err(FetchError::NotForUs)?;
                }
                head.check_purpose(&self.channel).map_err(FetchError::NotForUs)?;
                return Ok((head, got.etag));
            }
        }
        Err(FetchError::NotForUs("it ends before it says what it is".to_owned()))
    }

    /// Fetches the file that was found there into the inbox, and gives its hash.
    ///
    /// # Errors
    /// Why it is not there. What came stays, unless it is of no use.
    pub async fn download(
        &self,
        found: &Found,
        inbox: &Inbox,
        tell: impl Fn(UpdateProgress),
    ) -> Result<Sha256, Refused> {
        let late = || FetchError::Broken(format!("it takes longer than {} hours", TIME_MAX.as_secs() / 3600));
        let filled = tokio::time::timeout(TIME_MAX, self.fill(found, inbox, &tell)).await;
        filled.unwrap_or_else(|_| Err(late().into()))?;
        let (inbox, identity, length) = (inbox.clone(), found.identity, found.length);
        blocking(move || complete(&inbox, identity, length)).await
    }

    async fn fill(&self, found: &Found, inbox: &Inbox, tell: &impl Fn(UpdateProgress)) -> Result<(), Refused> {
        let (path, mut breaks) = (inbox.download(), 0);
        loop {
            let have = inbox::len(&path);
            if have == found.length {
                return Ok(());
            }
            if have > found.length {
                inbox::remove(&path)?;
                continue;
            }
            inbox.check_room(found.length - have)?;
            let error = match self.go_on(found, inbox, have, tell).await {
                Ok(()) => FetchError::Broken("it ends too early".to_owned()),
                Err(Refused::Source(error @ (FetchError::Broken(_) | FetchError::Unreachable { .. }))) => error,
                Err(error) => return Err(error),
            };
            let now = inbox::len(&path);
            if now < found.length {
                breaks = if now > have { 1 } else { breaks + 1 };
                tracing::info!(%error, breaks, "the download of an update pauses");
                if breaks > BREAKS_MAX {
                    return Err(error.into());
                }
                tokio::time::sleep(PAUSE * 2_u32.pow(breaks - 1)).await;
            }
        }
    }

    /// One request, until it ends or breaks off.
    async fn go_on(
        &self,
        found: &Found,
        inbox: &Inbox,
        have: u64,
        tell: &impl Fn(UpdateProgress),
    ) -> Result<(), Refused> {
        let part = Part { from: have, to: None, of: found.etag.as_deref().filter(|_| have > 0) };
        let mut got = self.fetcher.get(&self.url, part).await?;
        let is_another = got.etag.is_some() && found.etag.is_some() && got.etag != found.etag;
        if is_another || got.total.is_some_and(|total| total != found.length) {
            return Err(FetchError::Changed.into());
        }
        if got.start == 0 && have > 0 {
            inbox::remove(&inbox.download())?;
        }
        let (mut growing, mut offset, mut waiting) = (Growing::append(&inbox.download())?, got.start, BytesMut::new());
        let (began, first) = (Instant::now(), offset);
        loop {
            let came = got.next().await;
            if let Ok(Some(bytes)) = &came {
                waiting.extend_from_slice(bytes);
                if offset + waiting.len() as u64 > found.length {
                    return Err(FetchError::NotForUs("it is longer than it says".to_owned()).into());
                }
                if waiting.len() < Growing::PIECE {
                    continue;
                }
            }
            offset += waiting.len() as u64;
            growing = add(growing, waiting.split().freeze()).await?;
            tell(UpdateProgress { what: UpdateStep::Downloading, done: offset, total: found.length });
            if came?.is_none() {
                return Ok(());
            }
            tokio::time::sleep_until(began + Duration::from_millis((offset - first) * 1000 / BYTES_PER_S)).await;
        }
    }
}

/// What stands before the binary, if it ends in what comes.
async fn beginning(got: &mut Got) -> Result<Option<Head>, FetchError> {
    let (mut first, mut tried) = (Vec::new(), 0);
    loop {
        let came = got.next().await?;
        first.extend_from_slice(came.as_deref().unwrap_or_default());
        // Each try reads from the beginning: not one for each piece that comes.
        if came.is_none() || first.len() >= tried * 2 {
            tried = first.len();
            let head = Head::read(&first).map_err(FetchError::NotForUs)?;
            if head.is_some() || came.is_none() {
                return Ok(head);
            }
        }
    }
}

/// Looks whether all of it is what was found.
fn complete(inbox: &Inbox, identity: Sha256, length: u64) -> Result<Sha256, Refused> {
    let path = inbox.download();
    let looked = Head::of_file(&path, length).and_then(|head| {
        head.check_binary(&path)?;
        if head.identity() == identity { Ok(()) } else { Err("it is another release than was found".to_owned()) }
    });
    if let Err(reason) = looked {
        inbox::remove(&path)?;
        return Err(FetchError::NotForUs(reason).into());
    }
    let hash = inbox::hash_of(&path)?;
    inbox.finish(&path, hash)?;
    Ok(hash)
}
