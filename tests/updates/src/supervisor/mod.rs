//! A service manager with systemd's semantics, for a machine on which PID 1 is not systemd: it starts the units of the image by
//! their own files.
//!
//! Followed as systemd has it (`src/core/service.c`, man systemd.service, systemd.exec, sd_notify): listening sockets that stay
//! open through all restarts; `Type=notify`, `oneshot` and `simple`; `ExecStartPre=`, `ExecStart=` (a link is resolved when it is
//! executed), `ExecStopPost=` with `$SERVICE_RESULT`, `$EXIT_CODE`, `$EXIT_STATUS`; `WATCHDOG=1`, `STOPPING=1`,
//! `EXTEND_TIMEOUT_USEC=`; the time-outs and what they lead to; `Restart=always` with its steps; the start limit; path units by
//! `PathExists=`; `RuntimeDirectory=`.
//!
//! Different from systemd: no sandbox, users, capabilities, limits and namespaces; a process group instead of a control group,
//! so that what leaves its group escapes; whoever writes to a unit's notify socket counts as its main process; dependencies
//! between units are not followed (a test starts what it needs); a path is looked at 20 times a second; an
//! `ExecStopPost=` that takes too long gets SIGKILL without SIGTERM before it; ports are free ones of the loopback address.

mod control;
mod notify;
mod process;
mod service;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use posthouse_e2e::wait::until;

pub use crate::journal::Journal;
use crate::settings::Settings;
use crate::unit_file::UnitFile;
use process::{Process, Start, exit_words};
use service::Service;
pub use service::{Outcome, State};

/// How often path units look.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The answer of `systemctl`: its exit code, and what it says.
pub type Answer = (u8, String);

/// Where this run's files are, and what differs from the image.
#[derive(Clone, Default)]
pub struct Options {
    /// The image's unit files.
    pub units: PathBuf,
    /// The program `unit-launch`.
    pub launcher: PathBuf,
    /// The program `unit-control`.
    pub control: PathBuf,
    /// A folder for the supervisor's own sockets, and for `systemctl`.
    pub folder: PathBuf,
    /// Beginnings of paths, and what stands for them; the first that fits counts.
    pub paths: Vec<(String, PathBuf)>,
    /// Words that a command of the image has and that are left out here.
    pub without: Vec<String>,
    /// Words that are put behind a program, named by its path in the image; `{http}` and `{https}` are the sockets' addresses.
    pub with: Vec<(String, Vec<String>)>,
    /// Words that are put behind the main command of a unit.
    pub behind: Vec<(String, Vec<String>)>,
    /// What every process finds in its environment besides the unit's own.
    pub environment: Vec<(String, String)>,
    /// The same, for a while.
    pub armed: Armed,
    /// Spans that stand for those of the units (`posthoused.service`, `WatchdogSec`), for tests that can't wait.
    pub spans: Vec<(String, String, Duration)>,
}

/// A variable that processes find in their environment until one of them has ended by SIGABRT, as a failpoint ends it. Clones are
/// the same.
#[derive(Clone, Default)]
pub struct Armed(Arc<Mutex<Option<(String, String)>>>);

/// The running supervisor. Dropping it kills all that it has started.
pub struct Supervisor {
    events: Sender<Event>,
    thread: Option<JoinHandle<()>>,
    journal: Journal,
    addresses: [SocketAddr; 2],
}

/// What is known of a unit.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    pub state: State,
    pub outcome: Outcome,
    /// 0 where none runs.
    pub main_pid: i32,
    /// Since somebody asked for it.
    pub restarts: u32,
}

/// What the loop waits for.
enum Event {
    Ended { unit: String, number: u64, status: ExitStatus },
    Noticed { unit: String, text: String },
    Asked { words: Vec<String>, answer: Sender<Answer> },
    Looked { unit: String, answer: Sender<Status> },
    Over,
}

/// What services stand on.
struct Ground {
    options: Options,
    journal: Journal,
    events: Sender<Event>,
    /// For HTTP and for HTTPS, with their names.
    sockets: [(String, TcpListener); 2],
    started: u64,
}

impl Supervisor {
    /// Opens the sockets and reads the units; nothing runs yet.
    ///
    /// # Panics
    /// When a unit says what is not known here.
    pub fn start(options: Options) -> Self {
        let (events, inbox) = mpsc::channel();
        let journal = Journal::new();
        let sockets = ["posthoused.socket", "posthoused-https.socket"].map(|unit| open(&options.units.join(unit)));
        let addresses = [&sockets[0].1, &sockets[1].1].map(|socket| socket.local_addr().expect("it is bound"));
        control::serve(&options, events.clone());
        let (services, paths) = read_units(&options);
        for name in services.keys() {
            notify::listen(&options.folder, name, events.clone());
        }
        let ground = Ground { options, journal: journal.clone(), events: events.clone(), sockets, started: 0 };
        let run = move || Manager { services, paths, ground }.run(&inbox);
        let thread = Some(std::thread::spawn(run));
        Self { events, thread, journal, addresses }
    }

    /// `systemctl`: gives its exit code and what it says.
    pub fn control(&self, words: &[&str]) -> Answer {
        let (answer, answered) = mpsc::channel();
        let words = words.iter().map(|&word| word.to_owned()).collect();
        self.events.send(Event::Asked { words, answer }).expect("the loop runs as long as this");
        answered.recv().expect("every question is answered")
    }

    /// How a unit is.
    pub fn status(&self, unit: &str) -> Status {
        let (answer, answered) = mpsc::channel();
        self.events.send(Event::Looked { unit: unit.to_owned(), answer }).expect("the loop runs as long as this");
        answered.recv().expect("a unit of the image")
    }

    /// Waits until a unit runs, and gives its main process.
    pub fn running(&self, unit: &str) -> Pid {
        until(&format!("running {unit}"), || {
            let status = self.status(unit);
            (status.state == State::Running).then(|| Pid::from_raw(status.main_pid))
        })
    }

    /// Where the sockets listen: for HTTP, for HTTPS.
    pub fn addresses(&self) -> [SocketAddr; 2] {
        self.addresses
    }

    /// What all units write.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}

impl Armed {
    /// Another one, or none.
    pub fn set(&self, variable: Option<(String, String)>) {
        *self.0.lock().expect("nobody panics with it") = variable;
    }

    /// The one that there is.
    pub fn variable(&self) -> Option<(String, String)> {
        self.0.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // A loop that has panicked has said so.
        let _ = self.events.send(Event::Over);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Options {
    /// Where a path of the image is in this run.
    pub fn mapped(&self, word: &str) -> String {
        let found = self.paths.iter().find_map(|(from, to)| word.strip_prefix(from.as_str()).map(|rest| (to, rest)));
        found.map_or_else(|| word.to_owned(), |(to, rest)| format!("{}{rest}", to.display()))
    }

    fn meets(&self, condition: Option<&str>) -> bool {
        let Some(path) = condition else { return true };
        match path.strip_prefix('!') {
            Some(path) => !Path::new(&self.mapped(path)).exists(),
            None => Path::new(&self.mapped(path)).exists(),
        }
    }
}

impl Ground {
    /// Starts a command of a service.
    fn start(&mut self, service: &Service, words: &[String], is_main: bool) -> Process {
        let settings = &service.settings;
        let socket = notify::path(&self.options.folder, &service.name);
        let mut environment = settings.environment.clone();
        environment.push(("NOTIFY_SOCKET".to_owned(), socket.display().to_string()));
        let mut sockets = None;
        if is_main && service.name == "posthoused.service" {
            let [http, https] = &self.sockets;
            environment.push(("LISTEN_FDS".to_owned(), "2".to_owned()));
            environment.push(("LISTEN_FDNAMES".to_owned(), format!("{}:{}", http.0, https.0)));
            sockets = Some([&http.1, &https.1]);
        }
        if let (true, Some(span)) = (is_main, settings.watchdog) {
            environment.push(("WATCHDOG_USEC".to_owned(), span.as_micros().to_string()));
        }
        if service.state != State::StartPre && !is_main {
            environment.push(("SERVICE_RESULT".to_owned(), service.outcome.name().to_owned()));
            if let Some(ended) = service.main.as_ref().and_then(|main| main.ended) {
                let (code, status) = exit_words(ended);
                environment.push(("EXIT_CODE".to_owned(), code.to_owned()));
                environment.push(("EXIT_STATUS".to_owned(), status));
            }
        }
        self.started += 1;
        environment.extend(self.credentials(service));
        let mut words = self.words(words);
        let behind = self.options.behind.iter().filter(|(unit, _)| is_main && *unit == service.name);
        words.extend(behind.flat_map(|(_, more)| more.iter().cloned()));
        for word in &mut words {
            for (name, value) in &environment {
                *word = word.replace(&format!("${{{name}}}"), value);
            }
            for (name, socket) in &self.sockets {
                let address = socket.local_addr().expect("it is bound").to_string();
                *word = word.replace(&format!("{{{name}}}"), &address);
            }
        }
        let output = settings.output.as_ref().map(|path| self.options.mapped(path).into());
        let folders =
            settings.runtime_directories.iter().map(|name| self.options.mapped(&format!("/run/{name}")).into());
        let start =
            Start { unit: &service.name, words: &words, environment, sockets, output, folders: folders.collect() };
        Process::start(&start, self.started, &self.options, &self.journal, &self.events)
    }

    /// Copies a unit's credentials, and says where they are. One that is not there is not copied: systemd would not start the
    /// unit, and here its command finds nothing.
    fn credentials(&self, service: &Service) -> Option<(String, String)> {
        let credentials = &service.settings.credentials;
        let folder = self.options.folder.join(format!("{}.credentials", service.name));
        for (name, path) in credentials {
            std::fs::create_dir_all(&folder).expect("a folder");
            let _ = std::fs::remove_file(folder.join(name));
            let _ = std::fs::copy(self.options.mapped(path), folder.join(name));
        }
        (!credentials.is_empty()).then(|| ("CREDENTIALS_DIRECTORY".to_owned(), folder.display().to_string()))
    }

    /// A command of the image as it is run here.
    fn words(&self, words: &[String]) -> Vec<String> {
        let without = &self.options.without;
        let mut words: Vec<String> = words.iter().filter(|word| !without.contains(word)).cloned().collect();
        if let Some((_, more)) = self.options.with.iter().find(|(program, _)| *program == words[0]) {
            words.splice(1..1, more.iter().cloned());
        }
        words
    }
}

/// The loop's own.
struct Manager {
    services: BTreeMap<String, Service>,
    /// Paths that are looked at, and what they start.
    paths: Vec<PathUnit>,
    ground: Ground,
}

struct PathUnit {
    name: String,
    path: PathBuf,
    service: String,
    is_active: bool,
}

impl Manager {
    fn run(mut self, inbox: &Receiver<Event>) {
        loop {
            let due = self.services.values().filter_map(Service::due).min();
            let wait = due.map_or(LOOK_EVERY, |due| due.saturating_duration_since(Instant::now()).min(LOOK_EVERY));
            match inbox.recv_timeout(wait) {
                Ok(Event::Over) | Err(mpsc::RecvTimeoutError::Disconnected) => return self.kill_all(),
                Ok(event) => self.on_event(event),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            self.services.values_mut().for_each(|service| service.tick(&mut self.ground, now));
            for unit in self.paths.iter_mut().filter(|unit| unit.is_active && unit.path.exists()) {
                let service = self.services.get_mut(&unit.service).expect("it was read with its path unit");
                if matches!(service.state, State::Dead | State::Failed) {
                    service.want(&mut self.ground, None);
                    // systemd, too, gives up the path where it starts its service in vain.
                    unit.is_active = service.outcome != Outcome::StartLimitHit;
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        let Self { services, ground, .. } = self;
        match event {
            Event::Ended { unit, number, status } => {
                if status.signal() == Some(Signal::SIGABRT as i32) {
                    ground.options.armed.set(None);
                }
                services.get_mut(&unit).expect("it has started it").ended(ground, number, status);
            }
            Event::Noticed { unit, text } => services.get_mut(&unit).expect("its socket").noticed(ground, &text),
            Event::Asked { words, answer } => self.on_asked(&words, &answer),
            Event::Looked { unit, answer } => {
                if let Some(service) = services.get(&unit) {
                    let _ = answer.send(status_of(service));
                }
            }
            Event::Over => {}
        }
    }

    fn on_asked(&mut self, words: &[String], answer: &Sender<Answer>) {
        let is_blocking = !words.iter().any(|word| word == "--no-block");
        let plain: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
        let [verb, units @ ..] = &plain[..] else {
            let _ = answer.send((1, "Say what to do.".to_owned()));
            return;
        };
        for &unit in units {
            if let Some(path) = self.paths.iter_mut().find(|path| path.name == unit) {
                path.is_active = *verb != "stop";
                let _ = answer.send((0, String::new()));
                continue;
            }
            let Some(service) = self.services.get_mut(unit) else {
                let _ = answer.send((5, format!("Failed to {verb} {unit}: Unit {unit} not found.")));
                return;
            };
            let ground = &mut self.ground;
            if *verb != "show" {
                ground.journal.note("supervisor", &format!("asked: {}", words.join(" ")));
            }
            let waiting = is_blocking.then(|| answer.clone());
            match *verb {
                "start" => service.want(ground, waiting),
                "restart" => service.want_again(ground, waiting),
                "stop" => service.want_stopped(ground, waiting),
                "show" => drop(answer.send((0, shown(service, words)))),
                _ => drop(answer.send((1, format!("Unknown command verb {verb}.")))),
            }
            if !is_blocking {
                let _ = answer.send((0, String::new()));
            }
        }
    }

    fn kill_all(&mut self) {
        for service in self.services.values() {
            service.signal(Signal::SIGKILL);
        }
    }
}

fn status_of(service: &Service) -> Status {
    let Service { state, outcome, restarts, .. } = *service;
    let main_pid = service.main.as_ref().filter(|main| main.ended.is_none()).map_or(0, Process::id);
    Status { state, outcome, main_pid, restarts }
}

/// `systemctl show`, with or without `--value`.
fn shown(service: &Service, words: &[String]) -> String {
    let status = status_of(service);
    let active = match status.state {
        State::Dead => "inactive",
        State::Failed => "failed",
        State::Running => "active",
        State::StartPre | State::Start | State::AutoRestart => "activating",
        _ => "deactivating",
    };
    let all = [
        ("MainPID", status.main_pid.to_string()),
        ("ActiveState", active.to_owned()),
        ("Result", status.outcome.name().to_owned()),
        ("NRestarts", status.restarts.to_string()),
    ];
    let asked: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix("--property=")).collect();
    let is_bare = words.iter().any(|word| word == "--value");
    let found = all.into_iter().filter(|(name, _)| asked.is_empty() || asked.contains(name));
    let lines = found.map(|(name, value)| if is_bare { value } else { format!("{name}={value}") });
    lines.collect::<Vec<_>>().join("\n")
}

fn open(unit: &Path) -> (String, TcpListener) {
    let file = UnitFile::read(unit);
    let backlog = file.last("Socket", "Backlog").map_or(4096, |text| text.parse().expect("a number"));
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // Listening again only changes the length of the queue.
    let length = nix::sys::socket::Backlog::new(backlog).expect("a length that the system has");
    nix::sys::socket::listen(&socket, length).expect("a socket that listens");
    (file.last("Socket", "FileDescriptorName").expect("the sockets have names").to_owned(), socket)
}

/// All units of the server and of the updater that the image has.
fn read_units(options: &Options) -> (BTreeMap<String, Service>, Vec<PathUnit>) {
    let (mut services, mut paths) = (BTreeMap::new(), Vec::new());
    for entry in std::fs::read_dir(&options.units).expect("the image's units") {
        let path = entry.expect("a file").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a readable name").to_owned();
        let is_ours = ["posthoused.", "posthouse-trial.", "posthouse-probe.", "posthouse-update."];
        if !is_ours.iter().any(|ours| name.starts_with(ours)) {
            continue;
        }
        if name.ends_with(".service") {
            let mut settings = Settings::read(&UnitFile::read(&path));
            for (unit, key, span) in options.spans.iter().filter(|(unit, _, _)| *unit == name) {
                settings.set(unit, key, *span);
            }
            services.insert(name.clone(), Service::new(&name, settings));
        } else if let Some(stem) = name.strip_suffix(".path") {
            let file = UnitFile::read(&path);
            let path = options.mapped(file.last("Path", "PathExists").expect("a path unit waits for a path"));
            let service = file.last("Path", "Unit").map_or_else(|| format!("{stem}.service"), str::to_owned);
            paths.push(PathUnit { name, path: path.into(), service, is_active: false });
        }
    }
    (services, paths)
}
