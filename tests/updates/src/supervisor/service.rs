//! One service: systemd's state machine of it (`src/core/service.c`), as far as the units of the image use it.
//!
//! It is told of ends, notices, time and wishes, and starts and signals processes through the [`Ground`] that it is given.

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::process::{Process, exit_words};
use super::{Answer, Ground};
use crate::settings::{Kind, Restart, Settings};

/// As `systemctl show --property=SubState` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Dead,
    Failed,
    StartPre,
    Start,
    Running,
    StopWatchdog,
    StopSigterm,
    StopSigkill,
    StopPost,
    FinalSigkill,
    AutoRestart,
}

/// Why a service ended, by systemd's names (`$SERVICE_RESULT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Protocol,
    Timeout,
    ExitCode,
    Signal,
    CoreDump,
    Watchdog,
    StartLimitHit,
}

/// A unit that is there to be started.
pub struct Service {
    pub name: String,
    pub settings: Settings,
    pub state: State,
    pub outcome: Outcome,
    pub restarts: u32,
    /// Of the main process; kept while the service is stopped, for `ExecStopPost=`.
    pub main: Option<Process>,
    /// Of a command before or after it.
    control: Option<Process>,
    /// The next command of this state.
    command: usize,
    deadline: Option<Instant>,
    watchdog: Option<Instant>,
    /// What somebody asked for, to begin when it has stopped.
    start_again: bool,
    may_restart: bool,
    starts: VecDeque<Instant>,
    waiting: Vec<Sender<Answer>>,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::CoreDump => "core-dump",
            Self::Watchdog => "watchdog",
            Self::StartLimitHit => "start-limit-hit",
        }
    }

    /// Of a process. What runs until it is stopped may end by the signals that stop it.
    fn of(status: ExitStatus, is_daemon: bool) -> Self {
        match exit_words(status) {
            ("exited", code) if code == "0" => Self::Success,
            ("exited", _) => Self::ExitCode,
            ("dumped", _) => Self::CoreDump,
            (_, signal) if is_daemon && ["HUP", "INT", "TERM", "PIPE"].contains(&signal.as_str()) => Self::Success,
            _ => Self::Signal,
        }
    }
}

impl Service {
    pub fn new(name: &str, settings: Settings) -> Self {
        Self {
            name: name.to_owned(),
            settings,
            state: State::Dead,
            outcome: Outcome::Success,
            restarts: 0,
            main: None,
            control: None,
            command: 0,
            deadline: None,
            watchdog: None,
            start_again: false,
            may_restart: true,
            starts: VecDeque::new(),
            waiting: Vec::new(),
        }
    }

    /// The next instant at which something is due.
    pub fn due(&self) -> Option<Instant> {
        [self.deadline, self.watchdog].into_iter().flatten().min()
    }

    /// Somebody wants it to run; `waiting` hears when it does, or can't.
    pub fn want(&mut self, ground: &mut Ground, waiting: Option<Sender<Answer>>) {
        self.waiting.extend(waiting);
        match self.state {
            State::Dead | State::Failed | State::AutoRestart => self.begin(ground),
            State::Running => self.answer(),
            State::StartPre | State::Start => {}
            _ => self.start_again = true,
        }
    }

    /// Somebody wants it to run anew.
    pub fn want_again(&mut self, ground: &mut Ground, waiting: Option<Sender<Answer>>) {
        if matches!(self.state, State::Dead | State::Failed | State::AutoRestart) {
            return self.want(ground, waiting);
        }
        self.waiting.extend(waiting);
        self.start_again = true;
        self.stop(ground);
    }

    /// Somebody wants it to end.
    pub fn want_stopped(&mut self, ground: &mut Ground, waiting: Option<Sender<Answer>>) {
        self.start_again = false;
        self.waiting.extend(waiting);
        self.stop(ground);
        if matches!(self.state, State::Dead | State::Failed) {
            self.answer();
        }
    }

    fn stop(&mut self, ground: &mut Ground) {
        match self.state {
            State::AutoRestart => self.enter(State::Dead, None),
            State::StartPre | State::Start | State::Running => {
                self.may_restart = false;
                self.terminate(ground, Outcome::Success);
            }
            // It is on its way, and is not started again by itself.
            _ => self.may_restart = false,
        }
    }

    /// A process of it has ended.
    pub fn ended(&mut self, ground: &mut Ground, number: u64, status: ExitStatus) {
        let is_daemon = self.settings.kind != Kind::Oneshot;
        if let Some(main) = self.main.as_mut().filter(|main| main.number == number) {
            main.ended = Some(status);
            let (how, what) = exit_words(status);
            ground.journal.note("supervisor", &format!("{}: main process {how}, {what}", self.name));
            self.main_ended(ground, Outcome::of(status, is_daemon));
        } else if self.control.as_ref().is_some_and(|control| control.number == number) {
            self.control = None;
            self.control_ended(ground, Outcome::of(status, false));
        }
    }

    fn main_ended(&mut self, ground: &mut Ground, outcome: Outcome) {
        self.watchdog = None;
        match (self.state, self.settings.kind) {
            (State::Start, Kind::Oneshot) if outcome == Outcome::Success => self.next_start(ground),
            (State::Start, Kind::Notify) if outcome == Outcome::Success => self.terminate(ground, Outcome::Protocol),
            (State::Start | State::Running, _) => self.terminate(ground, outcome),
            (State::StopWatchdog | State::StopSigterm | State::StopSigkill, _) => {
                self.note(outcome);
                if self.control.is_none() {
                    self.after_stop(ground);
                }
            }
            _ => self.note(outcome),
        }
    }

    fn control_ended(&mut self, ground: &mut Ground, outcome: Outcome) {
        let list = if self.state == State::StartPre { &self.settings.before_start } else { &self.settings.after_stop };
        let may_fail = list.get(self.command.saturating_sub(1)).is_some_and(|command| command.may_fail);
        let outcome = if may_fail { Outcome::Success } else { outcome };
        match self.state {
            State::StartPre if outcome == Outcome::Success => self.next_before_start(ground),
            State::StartPre => self.terminate(ground, outcome),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill if !self.main_runs() => {
                self.after_stop(ground);
            }
            State::StopPost => {
                self.note(outcome);
                self.next_after_stop(ground);
            }
            State::FinalSigkill => self.finish(ground),
            _ => {}
        }
    }

    /// Its main process has said something (man sd_notify).
    pub fn noticed(&mut self, ground: &mut Ground, notice: &str) {
        for line in notice.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) if self.state == State::Start && self.settings.kind == Kind::Notify => {
                    self.enter(State::Running, None);
                    self.alive();
                    ground.journal.note("supervisor", &format!("{}: ready", self.name));
                    self.answer();
                }
                Some(("STOPPING", "1")) if self.state == State::Running => {
                    self.enter(State::StopSigterm, Some(self.settings.stop_timeout));
                }
                Some(("WATCHDOG", "1")) if self.watchdog.is_some() => self.alive(),
                Some(("EXTEND_TIMEOUT_USEC", text)) if self.state != State::Running => {
                    let more = Duration::from_micros(text.parse().expect("a number of microseconds"));
                    self.deadline = self.deadline.max(Instant::now().checked_add(more));
                }
                _ => {}
            }
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, ground: &mut Ground, now: Instant) {
        if self.watchdog.is_some_and(|due| due <= now) {
            self.watchdog = None;
            ground.journal.note("supervisor", &format!("{}: watchdog timeout", self.name));
            self.note(Outcome::Watchdog);
            self.signal(Signal::SIGABRT);
            self.enter(State::StopWatchdog, Some(self.settings.stop_timeout));
        }
        if self.deadline.is_none_or(|due| due > now) {
            return;
        }
        self.deadline = None;
        if self.state != State::AutoRestart {
            ground.journal.note("supervisor", &format!("{}: {:?} timed out", self.name, self.state));
        }
        match self.state {
            State::StartPre | State::Start => self.terminate(ground, Outcome::Timeout),
            State::StopWatchdog | State::StopSigterm => {
                self.note(Outcome::Timeout);
                self.signal(Signal::SIGKILL);
                self.enter(State::StopSigkill, Some(self.settings.stop_timeout));
            }
            State::StopSigkill => self.after_stop(ground),
            State::StopPost => {
                self.note(Outcome::Timeout);
                self.signal(Signal::SIGKILL);
                self.enter(State::FinalSigkill, Some(self.settings.stop_timeout));
            }
            State::FinalSigkill => self.finish(ground),
            State::AutoRestart => {
                self.restarts += 1;
                self.begin(ground);
            }
            State::Dead | State::Failed | State::Running => {}
        }
    }

    fn begin(&mut self, ground: &mut Ground) {
        (self.outcome, self.may_restart, self.start_again) = (Outcome::Success, true, false);
        (self.main, self.control) = (None, None);
        if !ground.options.meets(self.settings.condition_path.as_deref()) {
            self.enter(State::Dead, None);
            return self.answer();
        }
        if self.is_over_start_limit() {
            self.outcome = Outcome::StartLimitHit;
            ground.journal.note("supervisor", &format!("{}: start request repeated too quickly", self.name));
            self.enter(State::Failed, None);
            return self.answer();
        }
        self.command = 0;
        self.next_before_start(ground);
    }

    fn is_over_start_limit(&mut self) -> bool {
        let Some((burst, interval)) = self.settings.start_limit else { return false };
        let now = Instant::now();
        while self.starts.front().is_some_and(|start| now - *start > interval) {
            self.starts.pop_front();
        }
        self.starts.push_back(now);
        self.starts.len() > burst
    }

    fn next_before_start(&mut self, ground: &mut Ground) {
        if let Some(command) = self.settings.before_start.get(self.command) {
            let words = command.words.clone();
            self.command += 1;
            self.control = Some(ground.start(self, &words, false));
            self.enter(State::StartPre, Some(self.settings.start_timeout));
        } else {
            self.command = 0;
            self.next_start(ground);
        }
    }

    fn next_start(&mut self, ground: &mut Ground) {
        if self.settings.kind == Kind::Oneshot && self.command > 0 && self.command == self.settings.start.len() {
            return self.terminate(ground, Outcome::Success);
        }
        let words = self.settings.start[self.command].words.clone();
        self.command += 1;
        self.main = Some(ground.start(self, &words, true));
        if self.settings.kind == Kind::Simple {
            self.enter(State::Running, None);
            self.answer();
        } else {
            self.enter(State::Start, Some(self.settings.start_timeout));
        }
    }

    /// Ends what runs, by SIGTERM.
    fn terminate(&mut self, ground: &mut Ground, outcome: Outcome) {
        self.note(outcome);
        self.watchdog = None;
        self.signal(Signal::SIGTERM);
        if self.main_runs() || self.control.is_some() {
            self.enter(State::StopSigterm, Some(self.settings.stop_timeout));
        } else {
            self.after_stop(ground);
        }
    }

    fn after_stop(&mut self, ground: &mut Ground) {
        self.command = 0;
        self.next_after_stop(ground);
    }

    fn next_after_stop(&mut self, ground: &mut Ground) {
        if let Some(command) = self.settings.after_stop.get(self.command) {
            let words = command.words.clone();
            self.command += 1;
            self.control = Some(ground.start(self, &words, false));
            self.enter(State::StopPost, Some(self.settings.stop_timeout));
        } else {
            // What a process has left behind in its group ends now.
            self.signal(Signal::SIGKILL);
            self.finish(ground);
        }
    }

    fn finish(&mut self, ground: &mut Ground) {
        for name in &self.settings.runtime_directories {
            let _ = std::fs::remove_dir_all(ground.options.mapped(&format!("/run/{name}")));
        }
        let ended = if self.outcome == Outcome::Success { State::Dead } else { State::Failed };
        ground.journal.note("supervisor", &format!("{}: ended, {}", self.name, self.outcome.name()));
        self.enter(ended, None);
        if std::mem::take(&mut self.start_again) {
            self.restarts = 0;
            return self.begin(ground);
        }
        let restarts = match self.settings.restart {
            Restart::No => false,
            Restart::OnFailure => self.outcome != Outcome::Success,
            Restart::Always => true,
        };
        if restarts && self.may_restart {
            let wait = self.settings.restart_wait.before(self.restarts + 1);
            self.enter(State::AutoRestart, Some(wait));
        } else {
            self.restarts = 0;
        }
        self.answer();
    }

    /// Tells those who wait for a start or a stop how it went.
    fn answer(&mut self) {
        let answer = match self.outcome {
            Outcome::Success => (0, String::new()),
            outcome => (1, format!("Job for {} failed: {}.", self.name, outcome.name())),
        };
        for waiting in self.waiting.drain(..) {
            // Who asked may have gone.
            let _ = waiting.send(answer.clone());
        }
    }

    /// The first that went wrong is why it ended.
    fn note(&mut self, outcome: Outcome) {
        if self.outcome == Outcome::Success {
            self.outcome = outcome;
        }
    }

    fn alive(&mut self) {
        self.watchdog = self.settings.watchdog.map(|span| Instant::now() + span);
    }

    fn enter(&mut self, state: State, timeout: Option<Duration>) {
        self.state = state;
        self.deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    }

    pub fn main_runs(&self) -> bool {
        self.main.as_ref().is_some_and(|main| main.ended.is_none())
    }

    pub fn signal(&self, signal: Signal) {
        let running = [self.main.as_ref(), self.control.as_ref()];
        running.into_iter().flatten().for_each(|process| process.signal(signal));
    }
}
