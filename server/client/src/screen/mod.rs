//! `posthouse chat`: conversations in a terminal.
//!
//! Owns the loop between terminal, link and app. What is known is in [`app`], what is shown in [`draw`]; both are
//! pure, and the view under them belongs to the library.

mod app;
mod command;
mod completion;
mod deed;
mod draw;
mod editor;
mod mention;
mod palette;
mod rows;
mod scrollback;
mod terminal;
mod text;
mod typing;

use std::time::Duration;

use anyhow::{Context, bail};
use crossterm::event::{Event as TerminalEvent, EventStream};
use futures_util::StreamExt;
use jiff::tz::TimeZone;
use posthouse_client::{ClientError, Inbox, Item, Link, Login, Start, Transport};
use posthouse_protocol::{
    Conversation, ConversationId, ConversationsDirect, ConversationsDirectParams, ConversationsGet,
    ConversationsGetParams, ConversationsList, ConversationsListParams, ConversationsMembers,
    ConversationsMembersParams, ErrorBody, ErrorCode, History, HistoryParams, Presence, PresenceParams, Receipt,
    ReceiptsGet, ReceiptsGetParams, SendParams, Typing, TypingParams, Username, limits,
};
use tokio::sync::mpsc;

use crate::cli::logged_out;
use app::{App, Outcome, Request};
use palette::Palette;
use terminal::Screen;

pub use text::{indented, one_line, printable};

/// At most so often the screen is drawn: what comes faster is shown together, which is also what a slow line wants.
const FRAME_INTERVAL: Duration = Duration::from_millis(25);

/// Keys that may wait to be shown; past it the terminal holds them.
const KEYS_LEN_MAX: usize = 256;

/// Runs until the person leaves. `with` names the conversation to begin with.
pub async fn run(transport: Transport, with: Option<String>) -> anyhow::Result<()> {
    let login = Login::load()?;
    let mut screen = Screen::open()?;
    let (link, inbox) = Link::start_by(transport, login.server.clone(), login.token.clone(), Start::Now);
    let app = App::new(login.server.to_string(), with, Palette::of_environment(), TimeZone::system());
    let ended = Chat::new(app, link).run(&mut screen, inbox).await;
    drop(screen);
    match ended? {
        End::Left => Ok(()),
        End::LoggedOut => bail!(logged_out(&login)),
    }
}

enum End {
    Left,
    LoggedOut,
}

struct Chat {
    app: App,
    link: Link,
    outcomes: mpsc::UnboundedSender<Outcome>,
    outcomes_receiver: mpsc::UnboundedReceiver<Outcome>,
    /// In the order in which they were written.
    sends: mpsc::UnboundedSender<SendParams>,
}

impl Chat {
    fn new(app: App, link: Link) -> Self {
        let (outcomes, outcomes_receiver) = mpsc::unbounded_channel();
        let (sends, sends_receiver) = mpsc::unbounded_channel();
        tokio::spawn(send_all(link.clone(), sends_receiver, outcomes.clone()));
        Self { app, link, outcomes, outcomes_receiver, sends }
    }

    async fn run(mut self, screen: &mut Screen, mut inbox: Inbox) -> anyhow::Result<End> {
        let mut keys = keys();
        let terminated = terminated();
        tokio::pin!(terminated);
        loop {
            self.app.on_time(tokio::time::Instant::now());
            while let Some(request) = self.app.requests.pop_front() {
                self.ask(request);
            }
            if self.app.is_over() {
                return Ok(End::Left);
            }
            screen.terminal.draw(|frame| draw::draw(frame, &mut self.app)).context("cannot write to the terminal")?;
            if !self.app.requests.is_empty() {
                continue;
            }
            let drawn = tokio::time::Instant::now();
            let tick = self.app.next_tick(drawn);
            tokio::select! {
                event = keys.recv() => match event {
                    Some(event) => self.app.on_terminal(event.context("cannot read from the terminal")?),
                    None => return Ok(End::Left),
                },
                item = inbox.next() => match item {
                    Some(Item::LoggedOut) | None => return Ok(End::LoggedOut),
                    Some(item) => self.app.on_item(item),
                },
                Some(outcome) = self.outcomes_receiver.recv() => self.app.on_outcome(outcome),
                () = &mut terminated => return Ok(End::Left),
                () = tokio::time::sleep(tick.unwrap_or_default()), if tick.is_some() => {}
            }
            self.take_what_is_there(&mut keys, &mut inbox, drawn + FRAME_INTERVAL).await?;
        }
    }

    /// All that comes until the next frame may be drawn; a key is shown at once.
    async fn take_what_is_there(
        &mut self,
        keys: &mut mpsc::Receiver<std::io::Result<TerminalEvent>>,
        inbox: &mut Inbox,
        until: tokio::time::Instant,
    ) -> anyhow::Result<()> {
        loop {
            let mut has_key = false;
            while let Ok(event) = keys.try_recv() {
                self.app.on_terminal(event.context("cannot read from the terminal")?);
                has_key = true;
            }
            if has_key || self.app.is_over() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(until) => return Ok(()),
                Some(outcome) = self.outcomes_receiver.recv() => self.app.on_outcome(outcome),
                item = inbox.next(), if !inbox.is_over() => if let Some(item) = item { self.app.on_item(item) },
            }
        }
    }

    /// Asks the server; the outcome comes when it comes.
    fn ask(&self, request: Request) {
        let (link, outcomes) = (self.link.clone(), self.outcomes.clone());
        // Nobody waits for an outcome once the chat has ended.
        let tell = move |outcome| drop(outcomes.send(outcome));
        match request {
            Request::Send(send) => drop(self.sends.send(*send)),
            // What is lost is told again: the list says what the server does not know.
            Request::Receipt(params) => {
                drop(tokio::spawn(async move { drop(link.call::<Receipt>(&params).await) }));
            }
            Request::Deed(deed, typed) => drop(tokio::spawn(async move {
                tell(Outcome::Done(typed, deed.carry_out(&link).await));
            })),
            Request::Typing(conversation_id) => drop(tokio::spawn(async move {
                drop(link.call::<Typing>(&TypingParams { conversation_id }).await);
            })),
            Request::Presence(status) => drop(tokio::spawn(async move {
                if let Ok(result) = link.call::<Presence>(&PresenceParams { status }).await {
                    tell(Outcome::Present(result.accounts));
                }
            })),
            Request::Marks(conversation_id) => drop(tokio::spawn(async move {
                if let Ok(receipts) = link.call::<ReceiptsGet>(&ReceiptsGetParams { conversation_id }).await {
                    tell(Outcome::Marks(receipts));
                }
            })),
            Request::Members(conversation_id) => drop(tokio::spawn(async move {
                let limit = Some(limits::PAGE_LIMIT_MAX);
                let params = ConversationsMembersParams { conversation_id, after: None, limit };
                if let Ok(page) = link.call::<ConversationsMembers>(&params).await {
                    tell(Outcome::Members(conversation_id, page.members));
                }
            })),
            Request::Profiles(ids) => drop(tokio::spawn(async move {
                // Where it is lost, the next connection asks again.
                if let Ok(profiles) = link.profiles(&ids).await {
                    tell(Outcome::Profiles(profiles));
                }
            })),
            Request::List => drop(tokio::spawn(list(link, tell))),
            Request::Get(conversation_id) => drop(tokio::spawn(async move {
                let params = ConversationsGetParams { conversation_id };
                tell(Outcome::Got(link.call::<ConversationsGet>(&params).await));
            })),
            Request::Open(name) => drop(tokio::spawn(async move {
                tell(match open(&link, &name).await {
                    Ok(conversation) => Outcome::Opened(conversation),
                    Err(error) => Outcome::NotOpened(name, error),
                });
            })),
            Request::History(id, before) => drop(tokio::spawn(async move {
                let params = HistoryParams { conversation_id: id, before, after: None, limit: None };
                tell(Outcome::History(id, before, link.call::<History>(&params).await));
            })),
        }
    }
}

/// What comes from the terminal. A task of its own polls it: the stream wakes only the one that polled it last when
/// nothing was there, so a look in passing would cost the next key.
fn keys() -> mpsc::Receiver<std::io::Result<TerminalEvent>> {
    let (sender, receiver) = mpsc::channel(KEYS_LEN_MAX);
    tokio::spawn(async move {
        let mut events = EventStream::new();
        while let Some(event) = events.next().await {
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Hands messages to the link one after the other, and tells what became of each.
async fn send_all(
    link: Link,
    mut sends: mpsc::UnboundedReceiver<SendParams>,
    outcomes: mpsc::UnboundedSender<Outcome>,
) {
    while let Some(params) = sends.recv().await {
        let (id, name) = (params.conversation_id, params.client_msg_id.clone());
        let outcomes = outcomes.clone();
        // Nobody waits for an outcome once the chat has ended.
        match link.queue(params).await {
            Ok(acknowledged) => {
                tokio::spawn(async move { drop(outcomes.send(Outcome::Sent(id, name, acknowledged.await))) });
            }
            Err(error) => drop(outcomes.send(Outcome::Sent(id, name, Err(error)))),
        }
    }
}

async fn list(link: Link, tell: impl Fn(Outcome)) {
    let pages = async {
        tell(Outcome::Me(link.account().await?));
        let mut params = ConversationsListParams { after: None, limit: Some(limits::PAGE_LIMIT_MAX) };
        loop {
            let page = link.call::<ConversationsList>(&params).await?;
            tell(Outcome::Listed(page.conversations));
            if page.next.is_none() {
                return Ok(());
            }
            params.after = page.next;
        }
    };
    let ended = pages.await;
    tell(Outcome::ListEnded(ended));
}

/// The conversation that a person calls so: `#7`, or somebody's name.
async fn open(link: &Link, name: &str) -> Result<Conversation, ClientError> {
    if let Some(number) = name.strip_prefix('#').and_then(|number| number.parse().ok()) {
        let params = ConversationsGetParams { conversation_id: ConversationId(number) };
        return link.call::<ConversationsGet>(&params).await;
    }
    match Username::new(name.strip_prefix('@').unwrap_or(name)) {
        Ok(username) => link.call::<ConversationsDirect>(&ConversationsDirectParams { username }).await,
        Err(error) => Err(ClientError::Refused(ErrorBody::new(ErrorCode::NotFound, error.to_string()))),
    }
}

/// Ends when the system wants this program to end.
#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}
