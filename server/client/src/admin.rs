//! The server's administration socket, on the same machine.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use posthouse_protocol::admin::{
    AccountAdd, AccountAddParams, CertificateGet, CertificateInstall, CertificateInstallParams, CertificateRemove,
    GroupEverybody, GroupEverybodyParams, GroupEverybodyResult, Retention, RetentionGet, RetentionSet, SiteCertificate,
};
use posthouse_protocol::{Account, Empty, Incoming, Method, Request, RequestId};

use crate::ClientError;

/// Where the server on a Posthouse box listens for its administrator.
pub const SOCKET: &str = "/run/posthouse/admin.sock";

/// A connection to the administration socket. Blocking: its user is a person or a script.
pub struct Admin {
    stream: BufReader<UnixStream>,
}

impl Admin {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// `Unreachable` when no server listens there or this user may not talk to it.
    pub fn open(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).map_err(|error| ClientError::Unreachable {
            server: format!("the administration socket {}", path.display()),
            reason: format!("{error} (is posthoused running, and are you root or its user?)"),
            retry_after_ms: None,
        })?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Makes an account.
    ///
    /// # Errors
    /// `Refused` with `already_exists` or `invalid_params`.
    pub fn add_account(&mut self, params: &AccountAddParams) -> Result<Account, ClientError> {
        self.call::<AccountAdd>(params)
    }

    /// Makes the group that every account is in, or completes it.
    ///
    /// # Errors
    /// `Refused` with `not_found` where there is no such owner.
    pub fn group_for_everybody(&mut self, params: &GroupEverybodyParams) -> Result<GroupEverybodyResult, ClientError> {
        self.call::<GroupEverybody>(params)
    }

    /// For how long the site keeps what was said.
    ///
    /// # Errors
    /// As [`Admin::open`].
    pub fn retention(&mut self) -> Result<Retention, ClientError> {
        self.call::<RetentionGet>(&Empty {})
    }

    /// Sets for how long the site keeps what was said.
    ///
    /// # Errors
    /// `Refused` with `invalid_params` for days out of bounds.
    pub fn set_retention(&mut self, retention: Retention) -> Result<Retention, ClientError> {
        self.call::<RetentionSet>(&retention)
    }

    /// Which certificates the site shows.
    ///
    /// # Errors
    /// `Refused` with `not_found` where the server has no certificate authority.
    pub fn certificate(&mut self) -> Result<SiteCertificate, ClientError> {
        self.call::<CertificateGet>(&Empty {})
    }

    /// Shows a certificate of the owner's own from now on.
    ///
    /// # Errors
    /// `Refused` with `invalid_params`, which says what is wrong with it.
    pub fn install_certificate(&mut self, params: &CertificateInstallParams) -> Result<SiteCertificate, ClientError> {
        self.call::<CertificateInstall>(params)
    }

    /// Forgets the owner's own certificate.
    ///
    /// # Errors
    /// As [`Admin::certificate`].
    pub fn remove_certificate(&mut self) -> Result<SiteCertificate, ClientError> {
        self.call::<CertificateRemove>(&Empty {})
    }

    fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Result, ClientError> {
        let lost = |error: std::io::Error| ClientError::Disconnected(error.to_string());
        let mut line = serde_json::to_string(&Request::<M>::new(RequestId(1), params)).expect("string keys");
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).map_err(lost)?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).map_err(lost)?;
        let not_understood = |error: serde_json::Error| ClientError::Answer(error.to_string());
        match Incoming::parse(&answer).map_err(not_understood)? {
            Incoming::Answer { outcome: Ok(result), .. } => Incoming::result::<M>(&result).map_err(not_understood),
            Incoming::Answer { outcome: Err(error), .. } => Err(ClientError::Refused(error)),
            other => Err(ClientError::Answer(format!("an answer was expected, not {other:?}"))),
        }
    }
}
