//! The router: carries out commands against the store and hands what was committed to everyone whom it
//! concerns.
//!
//! Owns who is connected and what an account may do. Never acknowledges or fans out anything but
//! [`Committed`] values. The session's commands come through [`Router::begin`], the edges' through
//! [`Router::add_account`].

mod command;
mod outbox;
mod password;
mod registry;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use posthouse_protocol::{
    Account, ConnectParams, ConnectResult, Conversation, ConversationsDirectParams, ConversationsListResult, ErrorBody,
    ErrorCode, HistoryParams, HistoryResult, LimitsInfo, LoginParams, LoginResult, SendParams, Username, limits,
};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub use command::{Caller, Command, Outcome};
pub use outbox::{Outbox, outbox};

use crate::store::{
    AccountAdd, Committed, DeviceAdd, DirectOpen, MessageAppend, Origin, Published, Refusal, Store, StoreError,
};
use password::Passwords;
use registry::Registry;

/// The rest of a command, once it has its place in the order.
pub type Completion = BoxFuture<'static, Result<Outcome, ErrorBody>>;

/// A handle to the router; clones share it.
#[derive(Clone)]
pub struct Router {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    registry: Registry,
    passwords: Passwords,
    origins: AtomicU64,
}

impl Router {
    /// A router over `store`.
    pub fn new(store: Store) -> Self {
        let inner =
            Inner { store, registry: Registry::default(), passwords: Passwords::new(), origins: AtomicU64::new(1) };
        Self { inner: Arc::new(inner) }
    }

    /// A name for a new connection.
    pub fn next_origin(&self) -> Origin {
        Origin(self.inner.origins.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives a command its place in the order and returns the rest of it. One connection's sends keep
    /// their order when each `begin` is awaited before the next; their completions may run at once.
    pub async fn begin(&self, caller: &Caller, command: Command) -> Completion {
        if let Command::Send(account, params) = command {
            return self.begin_send(caller.origin, account, params).await;
        }
        let inner = Arc::clone(&self.inner);
        let caller = caller.clone();
        async move { inner.run(&caller, command).await }.boxed()
    }

    async fn begin_send(&self, origin: Origin, sender: Account, params: SendParams) -> Completion {
        if let Err(refused) = check_text(&params.text) {
            return std::future::ready(Err(refused)).boxed();
        }
        let SendParams { conversation_id, client_msg_id, text } = params;
        let append = MessageAppend { sender, origin, conversation_id, client_msg_id, text };
        match self.inner.store.submit(append).await {
            Err(error) => std::future::ready(Err(store_failed(&error))).boxed(),
            Ok(pending) => async move {
                let answer = pending.done().await.map_err(|error| store_failed(&error))?;
                Ok(Outcome::Send(answer.map_err(refused)?))
            }
            .boxed(),
        }
    }

    /// Forgets a session; its events go to nobody from here on.
    pub fn disconnect(&self, origin: Origin) {
        self.inner.registry.remove(origin);
    }

    /// Makes an account.
    ///
    /// # Errors
    /// `already_exists`, or `invalid_params` for a password out of bounds.
    pub async fn add_account(&self, username: Username, password: String) -> Result<Committed<Account>, ErrorBody> {
        let password_hash = self.inner.passwords.hash(password).await?;
        let answer = self.inner.store.write(AccountAdd { username, password_hash }).await;
        answer.map_err(|error| store_failed(&error))?.map_err(refused)
    }

    /// Hands committed records to the outboxes of all they concern, in the order of their commits. Runs
    /// until the store ends.
    pub async fn fan_out(self, mut published: mpsc::Receiver<Committed<Published>>) {
        while let Some(record) = published.recv().await {
            let Some(frame) = event_frame(&record) else { continue };
            for account_id in record.audience.iter() {
                self.inner.registry.push(*account_id, record.origin, &frame);
            }
        }
    }
}

impl Inner {
    async fn run(&self, caller: &Caller, command: Command) -> Result<Outcome, ErrorBody> {
        match command {
            Command::Login(params) => self.login(params).await.map(Outcome::Login),
            Command::Connect(params) => self.connect(caller, params).await.map(Outcome::Connect),
            Command::ConversationsList(account) => self.list(account).await.map(Outcome::ConversationsList),
            Command::ConversationsDirect(account, params) => {
                self.direct(account, params).await.map(Outcome::ConversationsDirect)
            }
            Command::History(account, params) => self.history(account, params).await.map(Outcome::History),
            Command::Send(..) => unreachable!("begin() has its own way for send"),
        }
    }

    async fn login(&self, params: LoginParams) -> Result<LoginResult, ErrorBody> {
        let LoginParams { username, password, device } = params;
        if device.is_empty() || device.chars().count() > limits::DEVICE_NAME_CHARS_MAX {
            let message = format!("device: 1 to {} characters", limits::DEVICE_NAME_CHARS_MAX);
            return Err(ErrorBody::new(ErrorCode::InvalidParams, message));
        }
        let record = self.read(move |snapshot| snapshot.account_by_name(&username)).await?;
        let stored_hash = record.as_ref().map(|record| record.password_hash.clone());
        let matches = self.passwords.verify(password, stored_hash).await?;
        let Some(record) = record.filter(|_| matches) else {
            return Err(ErrorBody::new(ErrorCode::LoginFailed, "user name and password don't match"));
        };
        let token = token::generate();
        let account = record.account;
        let device = DeviceAdd { account_id: account.account_id, token_hash: token::hash(&token), name: device };
        self.store.write(device).await.map_err(|error| store_failed(&error))?.map_err(refused)?;
        Ok(LoginResult { token, account })
    }

    async fn connect(&self, caller: &Caller, params: ConnectParams) -> Result<ConnectResult, ErrorBody> {
        let token_hash = token::hash(&params.token);
        let account = self.read(move |snapshot| snapshot.account_by_token(&token_hash)).await?;
        let account = account.ok_or_else(|| ErrorBody::new(ErrorCode::TokenInvalid, "log in again"))?;
        // Events first, cursor second: what is committed between the two is then seen twice, never missed.
        self.registry.add(account.account_id, caller.origin, caller.outbox.clone());
        let cursor = self.read(crate::store::Snapshot::cursor).await?;
        Ok(ConnectResult {
            account,
            epoch: self.store.epoch(),
            cursor,
            ping_interval_s: limits::PING_INTERVAL_S,
            limits: LimitsInfo::CURRENT,
        })
    }

    async fn list(&self, account: Account) -> Result<ConversationsListResult, ErrorBody> {
        let conversations = self.read(move |snapshot| snapshot.conversations(account.account_id)).await?;
        Ok(ConversationsListResult { conversations })
    }

    async fn direct(&self, account: Account, params: ConversationsDirectParams) -> Result<Conversation, ErrorBody> {
        let peer = self.read(move |snapshot| snapshot.account_by_name(&params.username)).await?;
        let peer = peer.ok_or_else(|| refused(Refusal::NoSuchAccount))?.account;
        let open = DirectOpen { account_id: account.account_id, peer_id: peer.account_id };
        let answer = self.store.write(open).await.map_err(|error| store_failed(&error))?;
        let (conversation_id, last_seq) = answer.map_err(refused)?.into_inner();
        Ok(Conversation { conversation_id, peer, last_seq })
    }

    async fn history(&self, account: Account, params: HistoryParams) -> Result<HistoryResult, ErrorBody> {
        let limit = params.limit.unwrap_or(limits::HISTORY_LIMIT_DEFAULT);
        if limit == 0 || limit > limits::HISTORY_LIMIT_MAX {
            let message = format!("limit: 1 to {}", limits::HISTORY_LIMIT_MAX);
            return Err(ErrorBody::new(ErrorCode::InvalidParams, message));
        }
        let HistoryParams { conversation_id, before, .. } = params;
        let page = self
            .read(move |snapshot| snapshot.history(account.account_id, conversation_id, before, limit))
            .await?
            .ok_or_else(|| refused(Refusal::NoSuchConversation))?;
        Ok(HistoryResult { messages: page.messages, has_more: page.has_more })
    }

    async fn read<T, F>(&self, read: F) -> Result<T, ErrorBody>
    where
        T: Send + 'static,
        F: FnOnce(&crate::store::Snapshot) -> Result<T, StoreError> + Send + 'static,
    {
        self.store.read(read).await.map_err(|error| store_failed(&error))
    }
}

fn check_text(text: &str) -> Result<(), ErrorBody> {
    if text.is_empty() || text.len() > limits::TEXT_LEN_MAX {
        let message = format!("text: 1 to {} bytes, not {}", limits::TEXT_LEN_MAX, text.len());
        return Err(ErrorBody::new(ErrorCode::InvalidParams, message));
    }
    Ok(())
}

/// The stored bytes as a text frame, without copying them.
fn event_frame(record: &Committed<Published>) -> Option<Utf8Bytes> {
    let frame = Utf8Bytes::try_from(record.frame.clone());
    if frame.is_err() {
        tracing::error!("a stored event is not UTF-8 and was not delivered");
    }
    frame.ok()
}

fn refused(refusal: Refusal) -> ErrorBody {
    let code = match refusal {
        Refusal::UsernameTaken => ErrorCode::AlreadyExists,
        Refusal::NoSuchAccount | Refusal::NoSuchConversation => ErrorCode::NotFound,
        Refusal::ClientMsgIdUsed => ErrorCode::Conflict,
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
