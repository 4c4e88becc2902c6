//! The administration edge: a Unix socket for whoever administers the machine.
//!
//! One JSON request a line, the envelope of the protocol, the methods of `posthouse_protocol::admin`.
//! Only root and the server's own user get an answer; the kernel says who asks. Writes through the
//! router; nothing imports it but the composition.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use posthouse_protocol::admin::{AccountAdd, LINE_LEN_MAX};
use posthouse_protocol::{Account, ErrorBody, ErrorCode, Method, Outgoing, RequestHead};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::router::Router;
use crate::shutdown::Shutdown;
use crate::store::Committed;

/// The bound socket, not serving yet.
pub struct Admin {
    listener: UnixListener,
    path: PathBuf,
}

/// Makes the socket, in place of one that a dead server left.
pub fn bind(path: &Path) -> anyhow::Result<Admin> {
    let context = || format!("cannot make the administration socket {}", path.display());
    // The database's lock has been taken by now, so whatever is there belongs to nobody alive.
    if path.try_exists().with_context(context)? {
        std::fs::remove_file(path).with_context(context)?;
    }
    let listener = UnixListener::bind(path).with_context(context)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).with_context(context)?;
    Ok(Admin { listener, path: path.to_owned() })
}

impl Admin {
    /// Serves until the server stops, one request after the other: an administrator types them.
    pub async fn serve(self, router: Router, mut stopping: Shutdown) {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => { tokio::spawn(serve_stream(stream, router.clone())); }
                    Err(error) => tracing::warn!(%error, "the administration socket failed to accept"),
                },
                () = stopping.requested() => break,
            }
        }
        // A leftover is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve_stream(stream: UnixStream, router: Router) {
    if let Err(error) = answer_lines(stream, &router).await {
        tracing::debug!(%error, "an administration client left early");
    }
}

async fn answer_lines(mut stream: UnixStream, router: &Router) -> std::io::Result<()> {
    let allowed = may_administer(&stream)?;
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(LINE_LEN_MAX).unwrap_or(u64::MAX);
        if (&mut reader).take(limit).read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let cut_off = line.len() == LINE_LEN_MAX && !line.ends_with(b"\n");
        let answer = if allowed && cut_off {
            let too_long = format!("a line has at most {LINE_LEN_MAX} bytes");
            frame(None, Err(&ErrorBody::new(ErrorCode::BadRequest, too_long)))
        } else if allowed {
            answer(&line, router).await
        } else {
            let refused = ErrorBody::new(ErrorCode::NotFound, "only root and the server's own user administer it");
            frame(None, Err(&refused))
        };
        writer.write_all(answer.as_bytes()).await?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
    }
}

fn may_administer(stream: &UnixStream) -> std::io::Result<bool> {
    let user = stream.peer_cred()?.uid();
    Ok(user == 0 || user == nix::unistd::geteuid().as_raw())
}

async fn answer(line: &[u8], router: &Router) -> String {
    let Ok(line) = std::str::from_utf8(line) else {
        return frame(None, Err(&ErrorBody::new(ErrorCode::BadRequest, "the line is not UTF-8")));
    };
    let head = match RequestHead::parse(line) {
        Ok(head) => head,
        Err(error) => return frame(None, Err(&error)),
    };
    let result = carry_out(&head, router).await;
    frame(Some(head.id), result.as_deref())
}

async fn carry_out(head: &RequestHead<'_>, router: &Router) -> Result<Committed<Account>, ErrorBody> {
    if head.method != AccountAdd::NAME {
        return Err(ErrorBody::new(ErrorCode::UnknownMethod, "the administration socket knows account.add"));
    }
    let params = head.params::<AccountAdd>()?;
    let account = router.add_account(params.username, params.password).await?;
    tracing::info!(account = account.account_id.0, "an account was made");
    Ok(account)
}

fn frame(id: Option<posthouse_protocol::RequestId>, result: Result<&Account, &ErrorBody>) -> String {
    let outgoing = match (id, result) {
        (Some(id), Ok(result)) => Outgoing::Result { id, result },
        (id, Err(error)) => Outgoing::Error { id, error },
        (None, Ok(_)) => unreachable!("a result answers a request that was read"),
    };
    let mut line = serde_json::to_string(&outgoing).expect("frames have string keys");
    line.push('\n');
    line
}
