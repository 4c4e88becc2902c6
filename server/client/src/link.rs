//! A session that outlives its connections: it reconnects, catches up and sends again by itself.
//!
//! [`Link::start`] gives two ends. Through the [`Link`] a program sends; each send ends when it is
//! acknowledged, over however many connections. From the [`Inbox`] come all durable events once and in
//! their order, whatever happened to the connection meanwhile. A message that was sent through this link comes
//! as the result of its send, and not as an event.

mod keeper;

use std::time::Duration;

use posthouse_protocol::{Account, Event, Method, Push, Resume, SendParams, SendResult, Token};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{Client, ClientError, ServerUrl, Transport};
use keeper::{Keeper, Outgoing};

/// Items that may wait for the program; past it the connection is read no further, and at last the server
/// closes it and the link catches up when there is room.
const ITEMS_LEN_MAX: usize = 1024;

/// Sends that may wait for a connection; past it, senders wait.
const SENDS_LEN_MAX: usize = 64;

/// Where the events begin.
#[derive(Clone, Debug)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// With everything that is kept.
    Beginning,
    /// Behind the place where an earlier link was (see [`Inbox::position`]).
    Position(Resume),
}

/// The sending end; clones share it. The link ends when all of them are dropped.
#[derive(Clone)]
pub struct Link {
    sends: mpsc::Sender<Outgoing>,
    current: watch::Receiver<Option<Connected>>,
}

/// The connection that there is.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    account: Account,
}

/// The receiving end.
pub struct Inbox {
    items: mpsc::Receiver<Item>,
    position: Option<Resume>,
}

/// What comes.
#[derive(Clone, Debug)]
pub enum Item {
    /// Something happened.
    Event(Push),
    /// Connected and caught up: what follows happens now.
    Online,
    /// There is no connection; the link tries again by itself.
    Offline {
        /// Why.
        error: ClientError,
        /// How long it waits before the next try.
        retry_in: Duration,
    },
    /// The server's database is another one, or no longer has what this client missed: what it holds is
    /// void. Everything comes again.
    Reset,
    /// This device is logged out; nothing follows.
    LoggedOut,
    /// All events before were taken: not for the program.
    #[doc(hidden)]
    At(Resume),
}

impl Link {
    /// Starts a link. It is at work when this returns, also if the server can't be reached.
    pub fn start(server: ServerUrl, token: Token, from: Start) -> (Self, Inbox) {
        Self::start_by(Transport::default(), server, token, from)
    }

    /// The same by a transport of the caller's choice.
    pub fn start_by(transport: Transport, server: ServerUrl, token: Token, from: Start) -> (Self, Inbox) {
        let (sends, sends_receiver) = mpsc::channel(SENDS_LEN_MAX);
        let (items, items_receiver) = mpsc::channel(ITEMS_LEN_MAX);
        let (current, current_receiver) = watch::channel(None);
        let position = if let Start::Position(resume) = &from { Some(resume.clone()) } else { None };
        tokio::spawn(Keeper::new((server, transport), token, from, sends_receiver, items, current).run());
        (Self { sends, current: current_receiver }, Inbox { items: items_receiver, position })
    }

    /// Sends a message and waits for its acknowledgement. After a lost connection it is sent again under the
    /// same name, so that it is stored once.
    ///
    /// # Errors
    /// `Refused` when the server says no for good; `Disconnected` when the link has ended.
    pub async fn send(&self, params: SendParams) -> Result<SendResult, ClientError> {
        self.queue(params).await?.await
    }

    /// The same in two steps: messages are sent in the order in which this hands them over, and what it returns waits
    /// for the acknowledgement.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub async fn queue(
        &self,
        params: SendParams,
    ) -> Result<impl Future<Output = Result<SendResult, ClientError>> + Send + use<>, ClientError> {
        let (answer, receiver) = oneshot::channel();
        self.sends.send(Outgoing { params, answer }).await.map_err(|_| ended())?;
        Ok(async move { receiver.await.map_err(|_| ended())? })
    }

    /// Whose session it is, once it is connected.
    ///
    /// # Errors
    /// `Disconnected` when the link has ended.
    pub async fn account(&self) -> Result<Account, ClientError> {
        Ok(self.connected().await?.account)
    }

    /// Calls a method on the connection that there is, or on the next one.
    ///
    /// # Errors
    /// As [`Client::call`]: a call that was cut off is not repeated, because not every one may be.
    pub async fn call<M: Method>(&self, params: &M::Params) -> Result<M::Result, ClientError> {
        self.connected().await?.client.call::<M>(params).await
    }

    /// Calls a method whose parameters name what it makes, so that the server makes it once: a call that was cut off, or
    /// refused for now, is repeated.
    ///
    /// # Errors
    /// As [`Link::send`].
    pub async fn call_until_answered<M: Method>(&self, params: &M::Params) -> Result<M::Result, ClientError> {
        let mut current = self.current.clone();
        loop {
            let connected = current.wait_for(Option::is_some).await.map_err(|_| ended())?.clone();
            match connected.ok_or_else(ended)?.client.call::<M>(params).await {
                // The link sees its end as well, and makes another.
                Err(ClientError::Disconnected(_)) => current.changed().await.map_err(|_| ended())?,
                Err(ClientError::Refused(error)) if error.retryable => {
                    let wait_ms = error.retry_after_ms.unwrap_or(keeper::RETRY_WAIT_MS);
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                result => return result,
            }
        }
    }

    pub(crate) async fn connected(&self) -> Result<Connected, ClientError> {
        let mut current = self.current.clone();
        let connected = current.wait_for(Option::is_some).await.map_err(|_| ended())?.clone();
        connected.ok_or_else(ended)
    }
}

impl Inbox {
    /// The next item; `None` when the link has ended.
    pub async fn next(&mut self) -> Option<Item> {
        loop {
            match self.items.recv().await? {
                Item::At(position) => self.position = Some(position),
                Item::Event(Push { cursor, event }) => {
                    if let (Some(position), Some(cursor)) = (&mut self.position, &cursor) {
                        position.cursor = cursor.clone();
                    }
                    return Some(Item::Event(Push { cursor, event }));
                }
                other => return Some(other),
            }
        }
    }

    /// Whether the link has ended and everything was taken.
    pub fn is_over(&self) -> bool {
        self.items.is_closed() && self.items.is_empty()
    }

    /// The next event, passing over all else.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Item::Event(push) = self.next().await? {
                return Some(push.event);
            }
        }
    }

    /// Everything up to here was taken: for [`Start::Position`], once it is kept.
    pub fn position(&self) -> Option<&Resume> {
        self.position.as_ref()
    }
}

fn ended() -> ClientError {
    ClientError::Disconnected("the link has ended".to_owned())
}
