//! One client's protocol state, as pure code: frames and time come in, actions come out.
//!
//! Owns what may be asked when. Does no I/O, reads no clock, never waits, so that it can be tested and
//! simulated exhaustively. The connection drives it and carries out its actions; what an account may
//! do is the router's to decide.

use std::time::{Duration, Instant};

use posthouse_protocol::{
    AccountId, ClientMsgId, Connect, ConversationId, ErrorBody, ErrorCode, Method, Outgoing, RequestHead, RequestId,
    Send, SendParams, close, limits,
};

use crate::admission::rate_limited;
use crate::router::{self, Access, Call, Caller, Outcome};

/// How long a `send` that came too soon is told to wait at least: what the client sent behind it, before it heard of that, is here
/// by then, also by way of the internet.
const HOLD_MIN_MS: u64 = 250;

/// What the connection is to do.
pub enum Action {
    /// Write this frame.
    Reply(String),
    /// Begin this call; its outcome comes back through [`Session::on_outcome`].
    Run(Running, Call),
    /// Close with this code and reason.
    Close(u16, &'static str),
}

/// A request that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    id: RequestId,
    is_connect: bool,
}

/// The state of one client.
pub struct Session {
    state: State,
    /// What no other `send` may overtake. In a box, since there are many sessions and few have one.
    held: Option<Box<Held>>,
}

/// A `send` that was refused because it came too soon.
struct Held {
    conversation_id: ConversationId,
    client_msg_id: ClientMsgId,
    /// When it has waited for as long as it was told.
    until: Instant,
}

enum State {
    /// `connect` must be through by then.
    New { deadline: Instant },
    /// `connect` is under way.
    Connecting { deadline: Instant },
    Connected {
        caller: Caller,
        /// The record behind which its events begin.
        begin: u64,
        /// Whether the client has said that it has everything up to there.
        has_caught_up: bool,
    },
}

impl Session {
    /// A client that has just arrived.
    pub fn new(now: Instant) -> Self {
        Self { state: State::New { deadline: now + Duration::from_secs(limits::CONNECT_TIMEOUT_S) }, held: None }
    }

    /// The same, with another time to connect.
    pub fn with_patience(mut self, now: Instant, patience: Duration) -> Self {
        if let State::New { deadline } = &mut self.state {
            *deadline = now + patience;
        }
        self
    }

    /// Whose session it is, once connected.
    pub fn account(&self) -> Option<AccountId> {
        self.caller().map(|caller| caller.account_id)
    }

    fn caller(&self) -> Option<Caller> {
        match self.state {
            State::Connected { caller, .. } => Some(caller),
            State::New { .. } | State::Connecting { .. } => None,
        }
    }

    /// Whether the client has said that it has everything up to where its events begin. That it was answered is not enough:
    /// an answer may be lost on its way.
    pub fn has_caught_up(&self) -> bool {
        matches!(self.state, State::Connected { has_caught_up: true, .. })
    }

    /// When [`Session::on_deadline`] is to be called, if nothing else happens.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::New { deadline } | State::Connecting { deadline } => Some(deadline),
            State::Connected { .. } => None,
        }
    }

    /// The deadline has passed.
    pub fn on_deadline(&mut self, now: Instant) -> Option<Action> {
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        due.then_some(Action::Close(close::REAUTHENTICATE, "connect did not come in time"))
    }

    /// Whether a frame may come now, as far as those before it are concerned: no `send` overtakes one that was refused because
    /// it came too soon, until that one comes again or has waited.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn admit(&mut self, frame: &str, now: Instant) -> Result<(), ErrorBody> {
        let Some(held) = &self.held else { return Ok(()) };
        let rest = held.until.saturating_duration_since(now);
        if !rest.is_zero() {
            let Some(params) = RequestHead::parse(frame).ok().and_then(|head| send_params(&head)) else {
                return Ok(());
            };
            if (params.conversation_id, &params.client_msg_id) != (held.conversation_id, &held.client_msg_id) {
                return Err(rate_limited("too many requests", rest));
            }
        }
        self.held = None;
        Ok(())
    }

    /// A text frame came from the client.
    pub fn on_frame(&mut self, frame: &str) -> Action {
        let head = match RequestHead::parse(frame) {
            Ok(head) => head,
            Err(error) => return Action::Reply(error_frame(None, &error)),
        };
        let is_connect = head.method == Connect::NAME;
        match self.call(&head, is_connect) {
            Ok(call) => Action::Run(Running { id: head.id, is_connect }, call),
            Err(error) => Action::Reply(error_frame(Some(head.id), &error)),
        }
    }

    /// The answer to a frame that came too soon, whatever it asks for.
    pub fn refuse(&mut self, frame: &str, refused: ErrorBody, now: Instant) -> Action {
        match RequestHead::parse(frame) {
            Ok(head) => Action::Reply(error_frame(Some(head.id), &self.hold(&head, refused, now))),
            Err(error) => Action::Reply(error_frame(None, &error)),
        }
    }

    /// Holds what comes behind a `send` that is refused, if nothing is held yet. Gives the error with the time that goes with that.
    fn hold(&mut self, head: &RequestHead<'_>, refused: ErrorBody, now: Instant) -> ErrorBody {
        if self.held.is_some() || self.caller().is_none() {
            return refused;
        }
        let Some(SendParams { conversation_id, client_msg_id, .. }) = send_params(head) else { return refused };
        let wait_ms = refused.retry_after_ms.unwrap_or_default().max(HOLD_MIN_MS);
        self.held =
            Some(Box::new(Held { conversation_id, client_msg_id, until: now + Duration::from_millis(wait_ms) }));
        refused.retry_after_ms(wait_ms)
    }

    /// A call has ended. Gives the frame to write and, where the client has to log in again, how to
    /// close behind it.
    pub fn on_outcome(&mut self, running: Running, outcome: Outcome) -> (String, Option<Action>) {
        match outcome {
            Ok(answer) => {
                if let Some((caller, begin)) = answer.connected {
                    self.state = State::Connected { caller, begin, has_caught_up: false };
                }
                if let (Some(up_to), State::Connected { begin, has_caught_up, .. }) =
                    (answer.caught_up, &mut self.state)
                {
                    *has_caught_up |= *begin <= up_to;
                }
                (answer.into_frame(running.id), None)
            }
            Err(error) => {
                if let (true, State::Connecting { deadline }) = (running.is_connect, &self.state) {
                    self.state = State::New { deadline: *deadline };
                }
                let rejected = running.is_connect && error.code == ErrorCode::TokenInvalid;
                let then = rejected.then_some(Action::Close(close::REAUTHENTICATE, "the token is not valid"));
                (error_frame(Some(running.id), &error), then)
            }
        }
    }

    /// What the request asks for, if it may.
    fn call(&mut self, head: &RequestHead<'_>, is_connect: bool) -> Result<Call, ErrorBody> {
        let Some(entry) = router::method(&head.method) else {
            let shown: String = head.method.chars().take(64).collect();
            return Err(ErrorBody::new(ErrorCode::UnknownMethod, format!("there is no method {shown:?}")));
        };
        match (&entry.access, &self.state) {
            (Access::Open(call), State::New { deadline }) if is_connect => {
                let deadline = *deadline;
                let call = call(head)?;
                self.state = State::Connecting { deadline };
                Ok(call)
            }
            (Access::Open(_), _) if is_connect => {
                Err(ErrorBody::new(ErrorCode::AlreadyConnected, "connect comes once in a connection"))
            }
            (Access::Open(call), _) => call(head),
            (Access::Connected(call), State::Connected { caller, .. }) if router::may_call(caller, entry.name) => {
                call(head, *caller)
            }
            (Access::Connected(_), State::Connected { .. }) => {
                Err(ErrorBody::new(ErrorCode::Forbidden, "this account is not for that"))
            }
            (Access::Connected(_), _) => Err(ErrorBody::new(ErrorCode::NotConnected, "call connect first")),
        }
    }
}

/// None where it is another method, or no `send` that could succeed.
fn send_params(head: &RequestHead<'_>) -> Option<SendParams> {
    if head.method == Send::NAME { head.params::<Send>().ok() } else { None }
}

fn error_frame(id: Option<RequestId>, error: &ErrorBody) -> String {
    let frame: Outgoing<'_, ()> = Outgoing::Error { id, error };
    serde_json::to_string(&frame).expect("frames have string keys and no failing serialisers")
}

#[cfg(test)]
mod tests;
