//! The task behind a link.
//!
//! **Sends keep their order.** One that the server refuses for now holds up all behind it: nothing more is sent until what is
//! under way is answered and the time to wait is over; then they go again in their order, the first one alone, until one gets
//! through. The server does its part and refuses what comes behind a refused one as well. It can't for longer than it told the
//! client to wait: what was under way and arrives later still may overtake.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use posthouse_protocol::{
    AccountId, Connect, ConnectParams, ConnectResult, Cursor, ErrorCode, Event, Message, Push, Pushed, Resume, Send,
    SendParams, SendResult, Sync, SyncParams, SyncResult, Token, limits,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::{Connected, Item, Start};
use crate::backoff::Backoff;
use crate::own::Own;
use crate::{Client, ClientError, Events, ServerUrl, Transport};

/// Sends under way at once: half of what the server takes, so that there is room for other calls.
const IN_FLIGHT_MAX: usize = limits::REQUESTS_IN_FLIGHT_MAX / 2;

/// Live events that may wait until the gap before them is filled; past it the link begins anew, from where the
/// filling has come to.
const HELD_LEN_MAX: usize = 10_000;

/// The wait before a send is tried again that the server refused for now without saying for how long.
pub(super) const RETRY_WAIT_MS: u64 = 500;

/// A send on its way.
pub(super) struct Outgoing {
    pub params: SendParams,
    pub answer: oneshot::Sender<Result<SendResult, ClientError>>,
}

pub(super) struct Keeper {
    server: ServerUrl,
    transport: Transport,
    token: Token,
    from: Start,
    /// Up to where the program has everything; none before the first connection.
    position: Option<Resume>,
    sends: mpsc::Receiver<Outgoing>,
    /// By their order, those that were taken and not answered for good.
    unanswered: BTreeMap<u64, Outgoing>,
    taken: u64,
    own: Own,
    items: mpsc::Sender<Item>,
    current: watch::Sender<Option<Connected>>,
    backoff: Backoff,
}

/// Why a connection is over.
enum End {
    /// Try again.
    Lost(ClientError),
    /// The program wants no more, or the device is logged out.
    Over,
}

type Answers = FuturesUnordered<BoxFuture<'static, (u64, Result<SendResult, ClientError>)>>;

/// How sends follow one another.
#[derive(Clone, Copy)]
enum Flow {
    /// As they come.
    Free,
    /// One was refused for now: none goes until all that are under way are answered, nor before this time.
    Held(Instant),
    /// After that the first one is under way, alone.
    Tried,
}

/// One connection's work.
struct Session {
    client: Client,
    events: Events,
    account_id: AccountId,
    answers: Answers,
    flow: Flow,
    /// The page of `sync` that is under way; none once the gap is filled.
    page: Option<BoxFuture<'static, Result<SyncResult, ClientError>>>,
    until: Cursor,
    held: VecDeque<Pushed>,
}

impl Keeper {
    pub fn new(
        (server, transport): (ServerUrl, Transport),
        token: Token,
        from: Start,
        sends: mpsc::Receiver<Outgoing>,
        items: mpsc::Sender<Item>,
        current: watch::Sender<Option<Connected>>,
    ) -> Self {
        let position = if let Start::Position(position) = &from { Some(position.clone()) } else { None };
        let (unanswered, own, backoff) = (BTreeMap::new(), Own::default(), Backoff::new());
        Self { server, transport, token, from, position, sends, unanswered, taken: 0, own, items, current, backoff }
    }

    pub async fn run(mut self) {
        while let Err(End::Lost(error)) = self.keep_connected().await {
            self.current.send_replace(None);
            if let Some(wait_ms) = error.retry_after_ms() {
                self.backoff.asked_for(wait_ms);
            }
            let retry_in = self.backoff.next();
            let until = tokio::time::Instant::now() + retry_in;
            if self.tell(Item::Offline { error, retry_in }).await.is_err() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// One connection, from its beginning to its end.
    async fn keep_connected(&mut self) -> Result<(), End> {
        let (client, events) = Client::open_by(&self.server, self.transport).await.map_err(End::Lost)?;
        let params = ConnectParams { token: Some(self.token.clone()), resume: self.position.clone() };
        let connected = match client.call::<Connect>(&params).await {
            Ok(connected) => connected,
            Err(ClientError::Refused(error)) if error.code == ErrorCode::TokenInvalid => {
                self.tell(Item::LoggedOut).await?;
                return Ok(());
            }
            Err(error) => return Err(End::Lost(error)),
        };
        let mut session = self.begin(client, events, connected).await?;
        loop {
            self.step(&mut session).await?;
        }
    }

    async fn begin(&mut self, client: Client, events: Events, connected: ConnectResult) -> Result<Session, End> {
        let ConnectResult { account, epoch, cursor: until, resumed, .. } = connected;
        self.backoff.reset();
        let start = match (self.position.take(), &self.from) {
            (Some(position), _) if resumed => position.cursor,
            (None, Start::Now) => until.clone(),
            (None, _) => Cursor("0".to_owned()),
            (Some(_), _) => {
                self.own.clear();
                self.tell(Item::Reset).await?;
                Cursor("0".to_owned())
            }
        };
        let position = Resume { epoch, cursor: start };
        self.tell(Item::At(position.clone())).await?;
        self.position = Some(position);
        let account_id = account.account_id;
        let (answers, held) = (FuturesUnordered::new(), VecDeque::new());
        let mut session = Session { client, events, account_id, answers, flow: Flow::Free, page: None, until, held };
        self.unanswered.retain(|_, outgoing| !outgoing.answer.is_closed());
        session.send_all(&self.unanswered);
        if self.position.as_ref().is_some_and(|position| position.cursor == session.until) {
            self.tell(Item::Online).await?;
        } else {
            session.page = Some(self.page(&session, Duration::ZERO));
        }
        self.current.send_replace(Some(Connected { client: session.client.clone(), account }));
        Ok(session)
    }

    async fn step(&mut self, session: &mut Session) -> Result<(), End> {
        let may_take = self.unanswered.len() < IN_FLIGHT_MAX;
        tokio::select! {
            // Answers first: an acknowledged message is then known before an event can bring it again.
            biased;
            Some((number, result)) = session.answers.next(), if !session.answers.is_empty() => {
                self.on_answer(session, number, result)
            }
            () = end_of_hold(session.flow), if session.answers.is_empty() => {
                self.try_first(session);
                Ok(())
            }
            page = next_page(&mut session.page), if session.page.is_some() => self.on_page(session, page).await,
            event = session.events.next_of_any_kind() => match event {
                Some(event) => self.on_event(session, event).await,
                None => Err(End::Lost(session.client.reason())),
            },
            outgoing = self.sends.recv(), if may_take => match outgoing {
                Some(outgoing) => {
                    self.taken += 1;
                    if let Flow::Free = session.flow {
                        session.send(self.taken, &outgoing.params);
                    }
                    self.unanswered.insert(self.taken, outgoing);
                    Ok(())
                }
                None => Err(End::Over),
            },
        }
    }

    fn on_answer(
        &mut self,
        session: &mut Session,
        number: u64,
        result: Result<SendResult, ClientError>,
    ) -> Result<(), End> {
        match result {
            // It stays unanswered, and is sent again on the next connection.
            Err(error @ ClientError::Disconnected(_)) => return Err(End::Lost(error)),
            // It stays unanswered, and is sent again when the hold is over.
            Err(ClientError::Refused(error)) if error.retryable => {
                session.hold(Duration::from_millis(error.retry_after_ms.unwrap_or(RETRY_WAIT_MS)));
            }
            result => {
                if let Some(outgoing) = self.unanswered.remove(&number) {
                    let told = result.clone();
                    // Who gave up waiting gets the message as an event, if it comes again.
                    if outgoing.answer.send(told).is_ok()
                        && let Ok(acknowledged) = result
                    {
                        self.own.add(outgoing.params.conversation_id, acknowledged.seq);
                    }
                }
                if let Flow::Tried = session.flow {
                    session.flow = Flow::Free;
                    session.send_all(&self.unanswered);
                }
            }
        }
        Ok(())
    }

    /// Nothing is under way any more: sends the first of what waits, alone.
    fn try_first(&self, session: &mut Session) {
        session.flow = Flow::Free;
        if let Some((number, outgoing)) = self.unanswered.first_key_value() {
            session.flow = Flow::Tried;
            session.send(*number, &outgoing.params);
        }
    }

    fn page(&self, session: &Session, wait: Duration) -> BoxFuture<'static, Result<SyncResult, ClientError>> {
        let cursor = self.position.as_ref().expect("it is set when a connection begins").cursor.clone();
        let params = SyncParams { cursor, until: Some(session.until.clone()), limit: None };
        let client = session.client.clone();
        async move {
            tokio::time::sleep(wait).await;
            client.call::<Sync>(&params).await
        }
        .boxed()
    }

    async fn on_page(&mut self, session: &mut Session, page: Result<SyncResult, ClientError>) -> Result<(), End> {
        session.page = None;
        let page = match page {
            Ok(page) => page,
            Err(ClientError::Refused(error)) if error.code == ErrorCode::CursorExpired => {
                // It expired after `connect`: the next one says so in `resumed`.
                return Err(End::Lost(ClientError::Refused(error)));
            }
            Err(ClientError::Refused(error)) if error.retryable => {
                let wait = Duration::from_millis(error.retry_after_ms.unwrap_or(RETRY_WAIT_MS));
                session.page = Some(self.page(session, wait));
                return Ok(());
            }
            Err(error) => return Err(End::Lost(error)),
        };
        for event in &page.events {
            let event = Push::parse(event.get()).map_err(|error| End::Lost(ClientError::Answer(error.to_string())))?;
            self.deliver(session.account_id, event).await?;
        }
        self.moved(page.next_cursor).await?;
        if page.has_more {
            session.page = Some(self.page(session, Duration::ZERO));
            return Ok(());
        }
        while let Some(event) = session.held.pop_front() {
            self.deliver(session.account_id, event).await?;
        }
        self.tell(Item::Online).await
    }

    async fn on_event(&mut self, session: &mut Session, event: Pushed) -> Result<(), End> {
        if let Pushed::Known(Push { event: Event::Restarting(restarting), .. }) = &event {
            self.backoff.asked_for(restarting.retry_ms);
        }
        let is_durable =
            matches!(&event, Pushed::Known(Push { cursor: Some(_), .. }) | Pushed::Unknown { cursor: Some(_), .. });
        if session.page.is_none() || !is_durable {
            return self.deliver(session.account_id, event).await;
        }
        if session.held.len() == HELD_LEN_MAX {
            let reason = "events came faster than the gap before them was filled".to_owned();
            return Err(End::Lost(ClientError::Disconnected(reason)));
        }
        session.held.push_back(event);
        Ok(())
    }

    /// Hands an event to the program, if it does not have it already, and remembers its place.
    async fn deliver(&mut self, me: AccountId, event: Pushed) -> Result<(), End> {
        match event {
            Pushed::Known(push) => {
                let is_known = match &push.event {
                    Event::Message(message) => self.has(me, message),
                    Event::AccountUpdated(_)
                    | Event::OwnerRecovered(_)
                    | Event::ConversationAdded(_)
                    | Event::ConversationUpdated(_)
                    | Event::ConversationRemoved(_)
                    | Event::MessageEdited(_)
                    | Event::MessageRecalled(_)
                    | Event::Reaction(_)
                    | Event::Preferences(_)
                    | Event::Typing(_)
                    | Event::Presence(_)
                    | Event::Receipts(_)
                    | Event::ReadState(_)
                    | Event::Restarting(_) => false,
                };
                let cursor = push.cursor.clone();
                if !is_known {
                    self.tell(Item::Event(push)).await?;
                }
                if let Some(cursor) = cursor {
                    // Where the event was told, its own cursor tells the place.
                    if is_known { self.moved(cursor).await? } else { self.stands_at(cursor) }
                }
            }
            Pushed::Unknown { cursor: Some(cursor), .. } => self.moved(cursor).await?,
            Pushed::Unknown { cursor: None, .. } => {}
        }
        Ok(())
    }

    /// Whether the program has the message by its acknowledgement, or will have.
    fn has(&mut self, me: AccountId, message: &Message) -> bool {
        let is_mine = message.sender.account_id == me;
        let is_known = is_mine
            && (self.own.has(message.conversation_id, message.seq)
                || self.unanswered.values().any(|outgoing| {
                    Some(&outgoing.params.client_msg_id) == message.client_msg_id.as_ref()
                        && !outgoing.answer.is_closed()
                }));
        self.own.passed(message.conversation_id, message.seq);
        is_known
    }

    async fn moved(&mut self, cursor: Cursor) -> Result<(), End> {
        self.stands_at(cursor);
        let position = self.position.clone().expect("it is set when a connection begins");
        self.tell(Item::At(position)).await
    }

    fn stands_at(&mut self, cursor: Cursor) {
        if let Some(position) = &mut self.position {
            position.cursor = cursor;
        }
    }

    /// Waits for room; fails when the program has dropped its end.
    async fn tell(&self, item: Item) -> Result<(), End> {
        self.items.send(item).await.map_err(|_| End::Over)
    }
}

impl Session {
    /// Sends; the answer comes through `answers`.
    fn send(&mut self, number: u64, params: &SendParams) {
        let answer = self.client.begin::<Send>(params);
        self.answers.push(answer.map(move |result| (number, result)).boxed());
    }

    fn send_all(&mut self, unanswered: &BTreeMap<u64, Outgoing>) {
        for (number, outgoing) in unanswered {
            self.send(*number, &outgoing.params);
        }
    }

    /// Nothing is sent for so long, nor before a hold that there is already is over.
    fn hold(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        self.flow = match self.flow {
            Flow::Held(earlier) => Flow::Held(earlier.max(until)),
            Flow::Free | Flow::Tried => Flow::Held(until),
        };
    }
}

async fn end_of_hold(flow: Flow) {
    match flow {
        Flow::Held(until) => tokio::time::sleep_until(until).await,
        Flow::Free | Flow::Tried => std::future::pending().await,
    }
}

async fn next_page(
    page: &mut Option<BoxFuture<'static, Result<SyncResult, ClientError>>>,
) -> Result<SyncResult, ClientError> {
    match page {
        Some(page) => page.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
