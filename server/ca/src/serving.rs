//! The local socket: one question a line, one answer a line.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use posthouse_protocol::authority::{AuthorityAnswer, AuthorityRequest, LINE_LEN_MAX};
use time::OffsetDateTime;

use crate::Authority;

/// A client that says nothing for this long is gone, and lets the next one have its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who may ask, beside root and the authority's own user.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// The server's user, by number.
    pub user: Option<u32>,
}

/// Answers, one client after the other, until nobody has come for `idle`; without it, for ever.
///
/// # Errors
/// When the socket itself fails.
pub fn serve(
    listener: &UnixListener,
    authority: &Authority,
    peers: &Peers,
    idle: Option<Duration>,
) -> std::io::Result<()> {
    let wait = idle.map_or(PollTimeout::NONE, |idle| PollTimeout::try_from(idle).unwrap_or(PollTimeout::MAX));
    loop {
        let ready = poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], wait)?;
        if ready == 0 {
            return Ok(());
        }
        let (stream, _) = listener.accept()?;
        if let Err(error) = serve_stream(&stream, authority, peers) {
            eprintln!("posthouse-ca: a client left early: {error}");
        }
    }
}

fn serve_stream(stream: &UnixStream, authority: &Authority, peers: &Peers) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let user = getsockopt(stream, PeerCredentials)?.uid();
    let own = nix::unistd::geteuid().as_raw();
    if user != 0 && user != own && Some(user) != peers.user {
        eprintln!("posthouse-ca: user {user} may not ask");
        return Ok(());
    }
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        let limit = u64::try_from(LINE_LEN_MAX).unwrap_or(u64::MAX);
        if (&mut reader).take(limit).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answer(authority, &request),
            Err(error) => AuthorityAnswer::Refused(format!("this is no question: {error}")),
        };
        let mut answer = serde_json::to_vec(&answer)?;
        answer.push(b'\n');
        let mut writer = stream;
        writer.write_all(&answer)?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
    }
}

fn answer(authority: &Authority, request: &AuthorityRequest) -> AuthorityAnswer {
    let now = OffsetDateTime::now_utc();
    let outcome = match request {
        AuthorityRequest::Root => return AuthorityAnswer::Certificate(authority.certificate().to_owned()),
        AuthorityRequest::Sign(request) => authority.sign(request, now),
        AuthorityRequest::Handover(certificate) => authority.hand_over(certificate, now),
    };
    match outcome {
        Ok(certificate) => AuthorityAnswer::Certificate(certificate),
        Err(refusal) => {
            eprintln!("posthouse-ca: refused: {refusal}");
            AuthorityAnswer::Refused(refusal.to_string())
        }
    }
}
