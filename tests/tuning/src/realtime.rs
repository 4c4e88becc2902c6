//! Real-time threads beside programs that keep every core busy: what a message waits for its acknowledgement with and without
//! them. And what they cost: what a reader, who is served by normal threads, waits for while others write as fast as they can. The
//! server decides by its limit RLIMIT_RTTIME, as on the box.

use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use posthouse_bench::Figure;
use posthouse_e2e::{Server, Site};
use thread_priority::unix::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use thread_priority::{ThreadPriority, ThreadPriorityValue};

use crate::talk::Person;
use crate::waits::percentile_ms;

/// Hogs a core.
const HOGS_PER_CORE: usize = 2;

const MESSAGES: usize = 300;

/// People pause between messages; so do the server's threads, which then have to get a core again.
const PAUSE: Duration = Duration::from_millis(2);

/// The box's limit, as in posthoused.service.
const BRAKE: &str = "--rttime=200000:unlimited";

/// Writes at once of those who flood the server.
const FLOOD: usize = 64;

const PAGES: usize = 20;

const MODES: [Mode; 2] = [Mode::On, Mode::Off];

/// Whether the server has real-time threads.
#[derive(Clone, Copy, Debug)]
enum Mode {
    On,
    Off,
}

pub fn measure(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let cores = std::thread::available_parallelism()?.get();
    let mut figures = Vec::new();
    for hogs in [0, cores * HOGS_PER_CORE] {
        let name = |mode, hundredths| format!("send to ack, {hogs} hogs, real-time {mode:?}, p{hundredths}");
        figures.extend(compare(rounds, name, |mode| beside_hogs(mode, hogs))?);
    }
    let name = |mode, hundredths| format!("page of 120 kB, {FLOOD} writers, real-time {mode:?}, p{hundredths}");
    figures.extend(compare(rounds, name, in_a_flood)?);
    Ok(figures)
}

/// Both modes in turns.
fn compare(
    rounds: usize,
    name: impl Fn(Mode, usize) -> String,
    round: impl Fn(Mode) -> anyhow::Result<Vec<Duration>>,
) -> anyhow::Result<Vec<Figure>> {
    let mut waits = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (mode, waits) in MODES.into_iter().zip(&mut waits) {
            waits.push(round(mode)?);
        }
    }
    let mut figures = Vec::new();
    for (mode, waits) in MODES.into_iter().zip(waits) {
        for hundredths in [50, 99] {
            let values: Vec<f64> = waits.iter().map(|waits: &Vec<Duration>| percentile_ms(waits, hundredths)).collect();
            figures.push(Figure::new(name(mode, hundredths), "ms", &values));
        }
    }
    Ok(figures)
}

fn beside_hogs(mode: Mode, hogs: usize) -> anyhow::Result<Vec<Duration>> {
    let site = Site::new();
    let server = serve(&site, mode)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let person = runtime.block_on(Person::arrive(&server, "anna"));
    let hogs = Hogs::start(hogs)?;
    let waits = unhindered(|| runtime.block_on(person.send(MESSAGES, PAUSE)))?;
    drop(hogs);
    let demoted = server.log().text().contains("was made a normal one");
    ensure!(!demoted, "a thread lost its real-time priority: this round shows nothing");
    Ok(waits)
}

fn in_a_flood(mode: Mode) -> anyhow::Result<Vec<Duration>> {
    let site = Site::new();
    let server = serve(&site, mode)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reader = runtime.block_on(Person::arrive(&server, "anna"));
    runtime.block_on(reader.fill_page());
    let flooding = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let writer = flooding.block_on(Person::arrive(&server, "ben"));
    flooding.spawn(async move { writer.flood(FLOOD).await });
    let read = async {
        let mut waits = Vec::with_capacity(PAGES);
        for _ in 0..PAGES {
            waits.push(reader.read_page().await);
        }
        waits
    };
    let waits = unhindered(|| runtime.block_on(read))?;
    server.kill();
    Ok(waits)
}

fn serve(site: &Site, mode: Mode) -> anyhow::Result<Server> {
    let plain = site.command();
    let command = match mode {
        Mode::Off => plain,
        Mode::On => {
            let mut braked = Command::new("prlimit");
            braked.args([BRAKE, "--"]).arg(plain.get_program()).args(plain.get_args());
            braked
        }
    };
    Server::start(command, site.admin_socket()).map_err(|stopped| anyhow!("no server: {stopped:?}"))
}

/// The one who measures must not wait for a core himself. What he starts is started before.
fn unhindered<T>(measure: impl FnOnce() -> T) -> anyhow::Result<T> {
    set_own(ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin), 10)
        .context("this bench needs real-time scheduling: run it as root")?;
    let measured = measure();
    set_own(ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other), 48)?;
    Ok(measured)
}

fn set_own(policy: ThreadSchedulePolicy, priority: u8) -> anyhow::Result<()> {
    let priority = ThreadPriorityValue::try_from(priority).map_err(|error| anyhow!("{error}"))?;
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(priority), policy)
        .map_err(|error| anyhow!("{error:?}"))
}

/// Programs that compute without a pause until this is dropped.
struct Hogs(Vec<Child>);

impl Hogs {
    fn start(count: usize) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut hogs = Self(Vec::new());
        for _ in 0..count {
            hogs.0.push(Command::new(&program).arg("hog").spawn().context("starting a hog")?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}
