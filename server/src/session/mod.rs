//! One client's protocol state, as pure code: frames and time come in, actions come out.
//!
//! Owns what may be asked when. Does no I/O, reads no clock, never waits, so that it can be tested and
//! simulated exhaustively. The connection drives it and carries out its actions; what an account may
//! do is the router's to decide.

use std::time::{Duration, Instant};

use posthouse_protocol::{
    Account, Connect, ConversationsDirect, ConversationsList, Empty, ErrorBody, ErrorCode, History, Login, Method,
    Outgoing, Ping, RequestHead, RequestId, Send, close, limits,
};

use crate::router::{Command, Outcome};

/// What the connection is to do.
#[derive(Debug)]
pub enum Action {
    /// Write this frame.
    Reply(String),
    /// Begin this command; its outcome comes back through [`Session::on_outcome`].
    Run(RequestId, Command),
    /// Close with this code and reason.
    Close(u16, &'static str),
}

/// The state of one client.
pub struct Session {
    state: State,
}

enum State {
    /// `connect` must be through by then.
    New {
        deadline: Instant,
    },
    /// `connect` is under way.
    Connecting {
        deadline: Instant,
    },
    Connected {
        account: Account,
    },
}

impl Session {
    /// A client that has just arrived.
    pub fn new(now: Instant) -> Self {
        Self { state: State::New { deadline: now + Duration::from_secs(limits::CONNECT_TIMEOUT_S) } }
    }

    /// Whose session it is, once connected.
    pub fn account(&self) -> Option<&Account> {
        match &self.state {
            State::Connected { account } => Some(account),
            State::New { .. } | State::Connecting { .. } => None,
        }
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

    /// A text frame came from the client.
    pub fn on_frame(&mut self, frame: &str) -> Action {
        let head = match RequestHead::parse(frame) {
            Ok(head) => head,
            Err(error) => return Action::Reply(error_frame(None, &error)),
        };
        match self.command(&head) {
            Ok(Some(command)) => Action::Run(head.id, command),
            Ok(None) => Action::Reply(result_frame(head.id, &Outcome::Empty(Empty {}))),
            Err(error) => Action::Reply(error_frame(Some(head.id), &error)),
        }
    }

    /// A command has ended. Gives the frame to write and, where the client has to log in again, how to
    /// close behind it.
    pub fn on_outcome(&mut self, id: RequestId, outcome: &Result<Outcome, ErrorBody>) -> (String, Option<Action>) {
        match outcome {
            Ok(outcome) => {
                if let Outcome::Connect(result) = outcome {
                    self.state = State::Connected { account: result.account.clone() };
                }
                (result_frame(id, outcome), None)
            }
            Err(error) => {
                if let State::Connecting { deadline } = self.state {
                    self.state = State::New { deadline };
                }
                let rejected = error.code == ErrorCode::TokenInvalid;
                let then = rejected.then_some(Action::Close(close::REAUTHENTICATE, "the token is not valid"));
                (error_frame(Some(id), error), then)
            }
        }
    }

    /// What the request asks for; `None` for what needs no work.
    fn command(&mut self, head: &RequestHead<'_>) -> Result<Option<Command>, ErrorBody> {
        let command = match head.method.as_ref() {
            Ping::NAME => {
                head.params::<Ping>()?;
                return Ok(None);
            }
            Login::NAME => Command::Login(head.params::<Login>()?),
            Connect::NAME => self.connect(head)?,
            ConversationsList::NAME => {
                head.params::<ConversationsList>()?;
                Command::ConversationsList(self.connected()?)
            }
            ConversationsDirect::NAME => {
                Command::ConversationsDirect(self.connected()?, head.params::<ConversationsDirect>()?)
            }
            Send::NAME => Command::Send(self.connected()?, head.params::<Send>()?),
            History::NAME => Command::History(self.connected()?, head.params::<History>()?),
            unknown => {
                let shown: String = unknown.chars().take(64).collect();
                return Err(ErrorBody::new(ErrorCode::UnknownMethod, format!("there is no method {shown:?}")));
            }
        };
        Ok(Some(command))
    }

    fn connect(&mut self, head: &RequestHead<'_>) -> Result<Command, ErrorBody> {
        let State::New { deadline } = self.state else {
            return Err(ErrorBody::new(ErrorCode::AlreadyConnected, "connect comes once in a connection"));
        };
        let params = head.params::<Connect>()?;
        self.state = State::Connecting { deadline };
        Ok(Command::Connect(params))
    }

    fn connected(&self) -> Result<Account, ErrorBody> {
        let account = self.account().cloned();
        account.ok_or_else(|| ErrorBody::new(ErrorCode::NotConnected, "call connect first"))
    }
}

fn result_frame(id: RequestId, outcome: &Outcome) -> String {
    to_json(&Outgoing::Result { id, result: outcome })
}

fn error_frame(id: Option<RequestId>, error: &ErrorBody) -> String {
    to_json(&Outgoing::Error { id, error })
}

fn to_json(frame: &Outgoing<'_, Outcome>) -> String {
    serde_json::to_string(frame).expect("frames have string keys and no failing serialisers")
}

#[cfg(test)]
mod tests;
