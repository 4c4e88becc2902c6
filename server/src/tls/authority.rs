//! Asks the certificate authority, another program of the box.

use std::path::{Path, PathBuf};
use std::time::Duration;

use posthouse_protocol::authority::{AuthorityAnswer, AuthorityRequest, LINE_LEN_MAX};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// It may have to be started first, and to make a key, on a slow card.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where it answers.
#[derive(Clone, Debug)]
pub struct Authority {
    socket: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It can't be reached.
    #[error("the certificate authority at {socket} does not answer: {reason}")]
    Unreachable {
        /// Where it should be.
        socket: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// It won't.
    #[error("the certificate authority refused: {0}")]
    Refused(String),
}

impl Authority {
    /// The one that answers at this socket.
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// The certificate that it answers with, as PEM.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn ask(&self, request: &AuthorityRequest) -> Result<String, AuthorityError> {
        let unreachable = |reason: String| AuthorityError::Unreachable { socket: self.socket.clone(), reason };
        let asked = tokio::time::timeout(PATIENCE, self.exchange(request)).await;
        let answer = asked.map_err(|_| unreachable(format!("not within {} s", PATIENCE.as_secs())))?;
        match answer.map_err(|error| unreachable(error.to_string()))? {
            AuthorityAnswer::Certificate(pem) => Ok(pem),
            AuthorityAnswer::Refused(reason) => Err(AuthorityError::Refused(reason)),
        }
    }

    async fn exchange(&self, request: &AuthorityRequest) -> std::io::Result<AuthorityAnswer> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let limit = u64::try_from(LINE_LEN_MAX).unwrap_or(u64::MAX);
        let mut answer = Vec::new();
        BufReader::new(stream).take(limit).read_until(b'\n', &mut answer).await?;
        if answer.is_empty() {
            return Err(std::io::Error::other("it hung up (may this user ask it?)"));
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}
