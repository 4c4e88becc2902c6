//! `posthouse-box watch`: shows how the box is, to people without a log-in and mostly without a monitor. It owns the consoles, the
//! activity light and `POSTHOUSE.TXT`; it decides nothing, speaks to nobody, and what it can't show in one way it shows in the
//! others. posthouse-watch.service runs it.
//!
//! `senses` looks at the box, `picture` says what that means, `page`, `report` and `light` say it to people in words of `words`.

mod light;
mod page;
mod picture;
mod qr;
mod report;
mod senses;
mod terminal;
mod words;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use posthouse_appliance::boot_partition::BootPartition;
use posthouse_protocol::appliance::Status;

use picture::{Picture, Server};
use report::Report;
use senses::Senses;
use terminal::{Consoles, Terminal};

/// How often the server's word is looked at: people wait for a code in front of the screen.
const TICK: Duration = Duration::from_secs(2);

/// How often the box is.
const LOOK: Duration = Duration::from_secs(10);

/// The server's word goes with the server, which is started again within seconds: who is away no longer than this has not been.
const AWAY_MAX: Duration = Duration::from_secs(15);

/// What the server says of itself.
const STATUS: &str = "run/posthouse/status.json";

/// Of a report that is read to be compared; the image has made it.
const REPORT_LEN_MAX: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where the box's file system begins
    #[arg(long, env = "POSTHOUSE_ROOT", default_value = "/")]
    root: PathBuf,

    /// Which consoles show the page
    #[arg(long, value_enum, default_value_t = Consoles::All)]
    consoles: Consoles,
}

/// Never ends.
pub fn run(options: &Options) -> ! {
    let mut watch = Watch::new(options, Instant::now());
    loop {
        watch.look(Instant::now());
        std::thread::sleep(TICK);
    }
}

/// Everything that shows how the box is, and what was heard of the server.
struct Watch {
    root: PathBuf,
    began: Instant,
    heard: Option<(Status, Instant)>,
    senses: Senses,
    looked: Option<Instant>,
    terminals: Vec<Terminal>,
    light: Option<PathBuf>,
    pattern: Option<light::Pattern>,
    report: Option<Report>,
    complaints: Complaints,
}

impl Watch {
    fn new(options: &Options, now: Instant) -> Self {
        let mut complaints = Complaints::default();
        let root = options.root.clone();
        Self {
            began: now,
            heard: None,
            senses: Senses::default(),
            looked: None,
            terminals: terminal::find(&root, options.consoles),
            light: light::find(&root),
            pattern: None,
            report: complaints.hear("the report", report_on_card()),
            root,
            complaints,
        }
    }

    fn look(&mut self, now: Instant) {
        if let Some(status) = status(&self.root) {
            self.heard = Some((status, now));
        }
        if self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK) {
            self.senses = Senses::take(&self.root);
            self.looked = Some(now);
        }
        let watched_for = now.duration_since(self.began);
        let server = match &self.heard {
            Some((status, since)) if now.duration_since(*since) < AWAY_MAX => Server::Serves(status),
            Some(_) => Server::Silent,
            None => Server::unheard(watched_for),
        };
        let picture = Picture::new(server, &self.senses, watched_for);
        self.show(&picture, now);
    }

    fn show(&mut self, picture: &Picture, now: Instant) {
        for terminal in &mut self.terminals {
            let name = terminal.path().display().to_string();
            self.complaints.hear(&name, terminal.show(page::page(picture, terminal.eyes), now));
        }
        if let Some(light) = &self.light {
            let pattern = light::pattern(picture.condition);
            if self.pattern != Some(pattern) {
                self.pattern = Some(pattern);
                self.complaints.hear("the light", light::set(light, pattern));
            }
        }
        if let Some(report) = &mut self.report
            && let Some(bytes) = report.due(picture, now)
        {
            let written = BootPartition::open().and_then(|card| card.overwrite(report::NAME, &bytes));
            match self.complaints.hear("the report", written) {
                Some(()) => report.wrote(bytes, picture, now),
                None => report.failed(now),
            }
        }
    }
}

fn status(root: &Path) -> Option<Status> {
    serde_json::from_str(&senses::text_of(&root.join(STATUS))?).ok()
}

fn report_on_card() -> anyhow::Result<Report> {
    let found = BootPartition::open()?.read(report::NAME, REPORT_LEN_MAX)?;
    let found = found.ok_or_else(|| anyhow::anyhow!("the boot partition has no {}", report::NAME))?;
    Ok(Report::new(found.bytes))
}

/// What went wrong, said once and not at each tick.
#[derive(Default)]
struct Complaints {
    last: std::collections::BTreeMap<String, String>,
}

impl Complaints {
    fn hear<T, E: std::fmt::Display>(&mut self, of: &str, outcome: Result<T, E>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.last.remove(of);
                Some(value)
            }
            Err(error) => {
                let error = error.to_string();
                if self.last.get(of) != Some(&error) {
                    eprintln!("posthouse-box watch: {of}: {error}");
                    self.last.insert(of.to_owned(), error);
                }
                None
            }
        }
    }
}
