//! The router: carries out calls against the store and hands what was committed to everyone whom it
//! concerns.
//!
//! Owns who is connected and what an account may do. Never acknowledges or fans out anything but
//! [`Committed`] values. The session finds its methods in the table ([`method`]) and its calls come
//! through [`Router::begin`]; the edges' come through functions of their own. Each family of methods has
//! its file, as in the protocol, the store's commands and its snapshots.

mod accounts;
mod call;
mod claim;
mod conversations;
mod devices;
mod edits;
mod groups;
mod import;
mod invites;
mod messages;
mod methods;
mod outbox;
mod password;
mod preferences;
mod presence;
mod probe;
mod receipts;
mod registry;
mod secret;
mod session;
mod site;
mod typing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use posthouse_protocol::{Epoch, ErrorBody, ErrorCode};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

#[cfg(test)]
pub use call::Answer;
pub use call::{Access, Call, Caller, Completion, Outcome, Wire};
pub use claim::Claimed;
pub use methods::method;
pub use outbox::{Outbox, Verdict, outbox};
pub use probe::may_call;

use crate::store::{Committed, Origin, Published, Records, Refusal, SignedOut, Snapshot, Store, StoreError, Write};
use password::Passwords;
use registry::Registry;

/// A handle to the router; clones share it.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

/// What the methods work with.
struct Inner {
    store: Store,
    registry: Registry,
    receipts: receipts::Gathered,
    writers: typing::Writers,
    presences: presence::Presences,
    passwords: Passwords,
    /// Set while the probe may log in.
    probe: std::sync::OnceLock<()>,
    origins: AtomicU64,
}

impl Router {
    /// A router over `store`, whose newest record is `last_gseq`.
    pub fn new(store: Store, last_gseq: u64) -> Self {
        // A client sees the numbers as `session_id`: another run of the server gives others.
        let first = getrandom::u64().expect("the kernel has random numbers once user space runs") >> 12;
        let (registry, passwords) = (Registry::new(last_gseq), Passwords::new());
        Self {
            inner: Arc::new(Inner {
                store,
                registry,
                receipts: receipts::Gathered::default(),
                writers: typing::Writers::default(),
                presences: presence::Presences::default(),
                passwords,
                probe: std::sync::OnceLock::new(),
                origins: AtomicU64::new(first),
            }),
        }
    }

    /// The life of the database that this router serves.
    pub fn epoch(&self) -> Epoch {
        self.inner.store.epoch()
    }

    /// The oldest schema whose servers can read the database, at the latest once this release is confirmed.
    ///
    /// # Errors
    /// When the database can't be read.
    pub fn database_needs(&self) -> Result<u32, StoreError> {
        self.inner.store.needs()
    }

    /// How many sessions of people are connected.
    pub fn session_count(&self) -> usize {
        self.inner.registry.count()
    }

    /// A name for a new connection.
    pub fn next_origin(&self) -> Origin {
        Origin(self.inner.origins.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives a call its place in the order and returns the rest of it. One connection's sends keep their
    /// order when each `begin` is awaited before the next; their completions may run at once.
    pub async fn begin(&self, wire: &Wire, call: Call) -> Completion {
        call.begin(&self.inner, wire).await
    }

    /// Forgets a session; its events go to nobody from here on.
    pub fn disconnect(&self, origin: Origin) {
        self.inner.store.devices().note_use(self.inner.registry.session(origin));
        if let Some(account_id) = self.inner.registry.remove(origin) {
            self.inner.presences.add(account_id);
        }
    }

    /// Closes the connections of devices that were signed out. Runs until the store ends.
    pub async fn close_signed_out(self, mut signed_out: mpsc::Receiver<Committed<SignedOut>>) {
        while let Some(devices) = signed_out.recv().await {
            self.inner.registry.sign_out(&devices);
        }
    }

    /// Hands committed records to the outboxes of all they concern, in the order of their commits; those who wait
    /// for a group are answered by its being taken. Runs until the store ends.
    pub async fn fan_out(self, mut published: Records) {
        while let Some(record) = published.recv().await {
            let frame = event_frame(&record);
            self.inner.registry.deliver(&record, frame.as_ref());
        }
    }
}

impl Inner {
    async fn read<T, F>(&self, read: F) -> Result<T, ErrorBody>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot) -> Result<T, StoreError> + Send + 'static,
    {
        self.store.read(read).await.map_err(|error| store_failed(&error))
    }

    async fn write<W: Write>(&self, command: W) -> Result<Committed<W::Output>, ErrorBody> {
        self.store.write(command).await.map_err(|error| store_failed(&error))?.map_err(refused)
    }
}

/// The stored bytes as a text frame, without copying them.
fn event_frame(record: &Committed<Published>) -> Option<Utf8Bytes> {
    let frame = Utf8Bytes::try_from(record.frame.clone());
    if frame.is_err() {
        tracing::error!("a stored event is not UTF-8 and was not delivered");
    }
    frame.ok()
}

/// How many entries a page is to have.
fn page_limit(asked: Option<u32>, default: u32, most: u32) -> Result<u32, ErrorBody> {
    let limit = asked.unwrap_or(default);
    if limit == 0 || limit > most { Err(invalid(format!("limit: 1 to {most}"))) } else { Ok(limit) }
}

fn invalid(message: impl Into<String>) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidParams, message)
}

fn refused(refusal: Refusal) -> ErrorBody {
    let code = match refusal {
        Refusal::UsernameTaken => ErrorCode::AlreadyExists,
        Refusal::NoSuchAccount
        | Refusal::NoSuchConversation
        | Refusal::NoSuchDevice
        | Refusal::NoSuchInvite
        | Refusal::NoSuchMember
        | Refusal::NoSuchMessage
        | Refusal::Departed => ErrorCode::NotFound,
        Refusal::Forbidden
        | Refusal::LastOwner
        | Refusal::NotAllowed
        | Refusal::EverybodyStays
        | Refusal::NotTheAuthor
        | Refusal::RecallLate => ErrorCode::Forbidden,
        Refusal::AccountDisabled => ErrorCode::AccountDisabled,
        Refusal::PasswordChanged => ErrorCode::LoginFailed,
        Refusal::InviteInvalid => ErrorCode::InviteInvalid,
        Refusal::NotAGroup | Refusal::Oneself | Refusal::MentionedStranger => ErrorCode::InvalidParams,
        Refusal::GroupFull | Refusal::TooManyInvites | Refusal::EditedOften | Refusal::ManyReactions => {
            ErrorCode::LimitReached
        }
        Refusal::AlreadyClaimed | Refusal::ClientMsgIdUsed | Refusal::Recalled => ErrorCode::Conflict,
    };
    ErrorBody::new(code, refusal.to_string())
}

fn store_failed(error: &StoreError) -> ErrorBody {
    let told = match error {
        StoreError::Stopped => "the server is stopping",
        _ => "the server cannot read or write its database; its log says more",
    };
    tracing::error!(%error, "a request failed");
    ErrorBody::new(ErrorCode::Unavailable, told)
}
