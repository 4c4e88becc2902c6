//! The administration edge: a Unix socket for whoever administers the machine.
//!
//! One JSON request a line, the envelope of the protocol, the methods of `posthouse_protocol::admin`.
//! Only root and the server's own user get an answer; the kernel says who asks. Writes through the
//! router; nothing imports it but the composition.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use posthouse_protocol::admin::{
    AccountAdd, CertificateGet, CertificateInstall, CertificateRemove, GroupEverybody, LINE_LEN_MAX, RetentionGet,
    RetentionSet,
};
use posthouse_protocol::{ErrorBody, ErrorCode, Method, Outgoing, RequestHead};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::router::Router;
use crate::shutdown::Shutdown;
use crate::tls::OwnCertificates;

/// The bound socket, not serving yet.
pub struct Admin {
    listener: UnixListener,
    path: PathBuf,
}

/// What administrators reach through it.
#[derive(Clone)]
pub struct Reach {
    /// Accounts, groups and what is set for the site.
    pub router: Router,
    /// The owner's own certificate; `None` without HTTPS.
    pub certificates: Option<OwnCertificates>,
}

/// Clients at once: an administrator and a script or two.
const CLIENTS_MAX: usize = 8;

/// A client that says nothing for this long is gone.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long somebody has to read why a line was not taken.
const FAREWELL: Duration = Duration::from_secs(1);

/// After a failed accept (no descriptors left, say) the next one waits this long, instead of spinning.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Makes the socket, in place of one that a dead server left.
pub fn bind(path: &Path) -> anyhow::Result<Admin> {
    let context = || format!("cannot make the administration socket {}", path.display());
    remove_dead_socket(path).with_context(context)?;
    let listener = UnixListener::bind(path).with_context(context)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).with_context(context)?;
    Ok(Admin { listener, path: path.to_owned() })
}

/// Removes a socket that nobody answers at, and nothing else.
fn remove_dead_socket(path: &Path) -> anyhow::Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    anyhow::ensure!(found.file_type().is_socket(), "there is something else at this path: move it away");
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => anyhow::bail!("another server answers there: give this one its own --admin-socket"),
        Err(_) => Ok(std::fs::remove_file(path)?),
    }
}

impl Admin {
    /// Serves until the server stops.
    pub async fn serve(self, reach: Reach, mut stopping: Shutdown) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        // One too many is closed without an answer.
                        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                            tokio::spawn(serve_stream(stream, reach.clone(), place));
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the administration socket failed to accept");
                        tokio::time::sleep(ACCEPT_RETRY).await;
                    }
                },
                () = stopping.requested() => break,
            }
        }
        // A leftover is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve_stream(stream: UnixStream, reach: Reach, _place: OwnedSemaphorePermit) {
    if let Err(error) = answer_lines(stream, &reach).await {
        tracing::debug!(%error, "an administration client left early");
    }
}

async fn answer_lines(mut stream: UnixStream, reach: &Reach) -> std::io::Result<()> {
    let allowed = may_administer(&stream)?;
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(LINE_LEN_MAX).unwrap_or(u64::MAX);
        let mut limited = (&mut reader).take(limit);
        let read = tokio::time::timeout(IDLE_TIMEOUT, limited.read_until(b'\n', &mut line));
        if read.await.map_err(std::io::Error::other)?? == 0 {
            return Ok(());
        }
        let cut_off = line.len() == LINE_LEN_MAX && !line.ends_with(b"\n");
        let answer = if allowed && cut_off {
            let too_long = format!("a line has at most {LINE_LEN_MAX} bytes");
            frame(None, Err(&ErrorBody::new(ErrorCode::BadRequest, too_long)))
        } else if allowed {
            answer(&line, reach).await
        } else {
            let refused = ErrorBody::new(ErrorCode::NotFound, "only root and the server's own user administer it");
            frame(None, Err(&refused))
        };
        writer.write_all(answer.as_bytes()).await?;
        if !line.ends_with(b"\n") {
            // A socket that is closed over unread bytes is reset, which can cost the other side the answer.
            writer.shutdown().await?;
            let mut nowhere = tokio::io::sink();
            let rest = tokio::io::copy(&mut reader, &mut nowhere);
            return tokio::time::timeout(FAREWELL, rest).await.map_or(Ok(()), |read| read.map(drop));
        }
    }
}

fn may_administer(stream: &UnixStream) -> std::io::Result<bool> {
    let user = stream.peer_cred()?.uid();
    Ok(user == 0 || user == nix::unistd::geteuid().as_raw())
}

async fn answer(line: &[u8], reach: &Reach) -> String {
    let Ok(line) = std::str::from_utf8(line) else {
        return frame(None, Err(&ErrorBody::new(ErrorCode::BadRequest, "the line is not UTF-8")));
    };
    let head = match RequestHead::parse(line) {
        Ok(head) => head,
        Err(error) => return frame(None, Err(&error)),
    };
    let result = carry_out(&head, reach).await;
    frame(Some(head.id), result.as_ref())
}

async fn carry_out(head: &RequestHead<'_>, reach: &Reach) -> Result<Value, ErrorBody> {
    let router = &reach.router;
    match head.method.as_ref() {
        AccountAdd::NAME => {
            let params = head.params::<AccountAdd>()?;
            let account = router.add_account(params.username, params.password, params.role).await?;
            tracing::info!(account = account.account_id.0, "an account was made");
            Ok(to_value(account.into_inner()))
        }
        GroupEverybody::NAME => {
            let group = router.group_for_everybody(head.params::<GroupEverybody>()?).await?;
            tracing::info!(conversation = group.conversation_id.0, added = group.added, "a group is for everybody");
            Ok(to_value(group.into_inner()))
        }
        RetentionGet::NAME => {
            head.params::<RetentionGet>()?;
            Ok(to_value(router.retention().await?))
        }
        RetentionSet::NAME => {
            let retention = router.set_retention(head.params::<RetentionSet>()?).await?;
            tracing::info!(days = retention.days, "retention was set");
            Ok(to_value(retention.into_inner()))
        }
        CertificateGet::NAME => {
            head.params::<CertificateGet>()?;
            Ok(to_value(certificates(reach)?.show().await?))
        }
        CertificateInstall::NAME => {
            let params = head.params::<CertificateInstall>()?;
            Ok(to_value(certificates(reach)?.install(&params.chain, &params.key).await?))
        }
        CertificateRemove::NAME => {
            head.params::<CertificateRemove>()?;
            Ok(to_value(certificates(reach)?.remove().await?))
        }
        _ => {
            let known = "the administration socket knows account.add, group.everybody, retention.get, retention.set, \
                         certificate.get, certificate.install and certificate.remove";
            Err(ErrorBody::new(ErrorCode::UnknownMethod, known))
        }
    }
}

fn certificates(reach: &Reach) -> Result<&OwnCertificates, ErrorBody> {
    let none =
        || ErrorBody::new(ErrorCode::NotFound, "this server has no certificate authority, so it speaks no HTTPS");
    reach.certificates.as_ref().ok_or_else(none)
}

fn to_value<T: serde::Serialize>(result: T) -> Value {
    serde_json::to_value(result).expect("results have string keys")
}

fn frame(id: Option<posthouse_protocol::RequestId>, result: Result<&Value, &ErrorBody>) -> String {
    let outgoing = match (id, result) {
        (Some(id), Ok(result)) => Outgoing::Result { id, result },
        (id, Err(error)) => Outgoing::Error { id, error },
        (None, Ok(_)) => unreachable!("a result answers a request that was read"),
    };
    let mut line = serde_json::to_string(&outgoing).expect("frames have string keys");
    line.push('\n');
    line
}
