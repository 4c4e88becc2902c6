//! The discovery edge: the box announces itself on the local network, so that clients find it without an address.
//!
//! Owns the DNS-SD service `_posthouse._tcp` (RFC 6763) and the box's name under `.local` with its addresses (RFC 6762). It follows
//! the interfaces, gives way when another device has the name already and says which name it took. It says goodbye when the box
//! shuts down (SIGUSR1, which `posthouse-goodbye.service` sends) and never when the server restarts: clients would forget a
//! box that is back within a second. It knows nothing of chat; only the composition starts it.

mod interfaces;
mod kept;
mod name;
mod responder;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use mdns_sd::ServiceDaemon;
use posthouse_protocol::Fingerprint;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::names::NamesSender;
use interfaces::Address;
use kept::Kept;
use name::Candidate;
use responder::{End, Probing, Responder};

/// How often the interfaces are looked at: a box that was plugged in is to be found within 2 s, of which probing takes 1.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Longest wait before a name is given up that was ours for a while: of two devices that find each other, one is to be faster.
const GIVE_WAY_MS_MAX: u64 = 1_500;

/// Names tried in a row before each further one waits: somebody says that he has them all (RFC 6762, §8.1).
const TRIES_MAX: u32 = 10;
const PAUSE: Duration = Duration::from_secs(5);

/// Between attempts to start a responder that the system refuses.
const RETRY: Duration = Duration::from_secs(5);

/// Hex digits of the identity in the service's name: enough for people to tell boxes apart.
const INSTANCE_DIGITS: usize = 6;

/// What is announced, but for name and addresses.
struct Service {
    identity: String,
    port: u16,
    is_secure: bool,
}

impl Service {
    /// What lists of services show. Never contested, so that a clash of host names changes no more than these. In lower case,
    /// since the responder's second announcement is lost otherwise.
    fn instance(&self) -> String {
        format!("posthouse {}", &self.identity[..INSTANCE_DIGITS.min(self.identity.len())])
    }

    fn scheme(&self) -> &'static str {
        if self.is_secure { "https" } else { "http" }
    }
}

/// How clients get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where they connect to.
    pub port: u16,
    /// The authority's public key; `None` where there is no TLS.
    pub fingerprint: Option<Fingerprint>,
}

/// What to announce.
pub struct Announcement<'a> {
    /// How clients get in, until something else is said.
    pub way: Way,
    /// Where the name and the identity last; `None` where nothing can be kept.
    pub data_dir: Option<&'a Path>,
}

/// The part of the server that announces it. Dropped, it falls silent without a goodbye.
pub struct Discovery {
    way: watch::Sender<Way>,
    farewell: mpsc::Sender<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Discovery {
    /// Announces the box from now on, under the name that it has now. `naming` is told when it takes another one.
    ///
    /// # Errors
    /// The signal can't be caught, or the system has no randomness.
    pub fn start(announcement: &Announcement, naming: NamesSender) -> anyhow::Result<Self> {
        let mut kept = Kept::open(announcement.data_dir);
        let service = service(&announcement.way, &mut kept)?;
        let (telling, way) = watch::channel(announcement.way.clone());
        let shutdown = signal(SignalKind::user_defined1()).context("cannot catch the signal of the box's shutdown")?;
        let (farewell, asked) = mpsc::channel(1);
        let wanted = naming.host();
        let candidate = kept.candidate(&wanted);
        let keeper = Keeper { service, way, wanted, kept, naming, tries: 0, doubts: 0 };
        let task = tokio::spawn(keeper.run(candidate, asked, shutdown));
        Ok(Self { way: telling, farewell, task })
    }

    /// To say how clients get in from now on.
    pub fn way(&self) -> watch::Sender<Way> {
        self.way.clone()
    }

    /// Withdraws the announcement: the server ends for good. Takes a fifth of a second.
    pub async fn goodbye(self) {
        let (said, heard) = oneshot::channel();
        if self.farewell.send(said).await.is_ok() {
            // An end without an answer means that there was nothing left to withdraw.
            let _ = heard.await;
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What ends a registration.
enum Change {
    Name(End),
    Addresses,
    Way,
    Farewell(Option<oneshot::Sender<()>>),
}

struct Keeper {
    service: Service,
    way: watch::Receiver<Way>,
    wanted: String,
    kept: Kept,
    naming: NamesSender,
    /// Names given up since the addresses last changed.
    tries: u32,
    /// How often the present name was contested, and nobody had it.
    doubts: u32,
}

impl Keeper {
    async fn run(
        mut self,
        mut candidate: Candidate,
        mut asked: mpsc::Receiver<oneshot::Sender<()>>,
        mut shutdown: Signal,
    ) {
        loop {
            self.take(&candidate).await;
            let addresses = look().await;
            let Some(mut responder) = self.announce(&candidate, &addresses).await else {
                tokio::select! {
                    () = sleep(RETRY) => continue,
                    said = asked.recv() => return confirm(said),
                }
            };
            let change = tokio::select! {
                end = responder.ended() => Change::Name(end),
                () = moved(&addresses) => Change::Addresses,
                Ok(()) = self.way.changed() => Change::Way,
                said = asked.recv() => Change::Farewell(said),
                _ = shutdown.recv() => Change::Farewell(None),
            };
            match change {
                Change::Farewell(said) => {
                    responder.goodbye().await;
                    tracing::info!("said goodbye to the network");
                    return confirm(said);
                }
                Change::Addresses => {
                    responder.silence().await;
                    (self.tries, self.doubts) = (0, 0);
                }
                Change::Way => {
                    // It is another service from now on, and the one before is not to be found beside it.
                    responder.goodbye().await;
                    self.follow_way();
                }
                Change::Name(end) => {
                    responder.silence().await;
                    candidate = self.settle(end, candidate, &addresses).await;
                }
            }
        }
    }

    /// From now on the box is called so.
    async fn take(&mut self, candidate: &Candidate) {
        tracing::info!(name = %candidate.host(), identity = %self.service.identity, "announcing the box on the network");
        if self.kept.remember(&self.wanted, candidate) {
            let kept = self.kept.clone();
            spawn_blocking(move || kept.write()).await.expect("writing a file does not panic");
        }
        self.naming.rename(&candidate.label());
    }

    fn follow_way(&mut self) {
        let way = self.way.borrow_and_update().clone();
        match service(&way, &mut self.kept) {
            Ok(service) => self.service = service,
            Err(error) => tracing::warn!(%error, "announcing the box as before"),
        }
    }

    async fn announce(&self, candidate: &Candidate, addresses: &[Address]) -> Option<Responder> {
        let probing = if self.doubts > 1 { Probing::Off } else { Probing::On };
        let daemon = quiet_daemon().await?;
        Responder::start(daemon, &self.service, &candidate.host(), addresses, probing).inspect_err(warn).ok()
    }

    /// What to be called after `end`.
    async fn settle(&mut self, end: End, candidate: Candidate, addresses: &[Address]) -> Candidate {
        let is_taken = match end {
            End::Failed => {
                tracing::warn!("the responder has ended; starting another");
                sleep(RETRY).await;
                return candidate;
            }
            End::Taken => true,
            End::Contested => is_taken(&candidate, addresses).await,
            End::Shared => {
                sleep(random(GIVE_WAY_MS_MAX)).await;
                is_taken(&candidate, addresses).await
            }
        };
        if self.tries >= TRIES_MAX {
            sleep(PAUSE).await;
        }
        if !is_taken {
            // An own address was heard on another interface, or the other device has given way.
            self.doubts += 1;
            return candidate;
        }
        tracing::warn!(name = %candidate.host(), "another device on the network has this name; taking another one");
        (self.tries, self.doubts) = (self.tries + 1, 0);
        candidate.next()
    }
}

/// By what clients know the box, and how they get in.
fn service(way: &Way, kept: &mut Kept) -> anyhow::Result<Service> {
    let identity = match &way.fingerprint {
        Some(fingerprint) => fingerprint.short(),
        None => kept.identity().context("making an identity for the network")?,
    };
    Ok(Service { identity, port: way.port, is_secure: way.fingerprint.is_some() })
}

async fn is_taken(candidate: &Candidate, addresses: &[Address]) -> bool {
    let Some(daemon) = quiet_daemon().await else { return false };
    let taken = responder::is_taken(&daemon, &candidate.host(), addresses).await;
    responder::end(&daemon).await;
    taken.inspect_err(warn).unwrap_or(false)
}

/// A responder's thread, which inherits its priority: among the readers, not among those that serve the network.
async fn quiet_daemon() -> Option<ServiceDaemon> {
    let started = spawn_blocking(responder::quiet_daemon).await.expect("starting a thread does not panic");
    started.inspect_err(warn).ok()
}

async fn look() -> Vec<Address> {
    spawn_blocking(interfaces::addresses).await.expect("reading addresses does not panic")
}

/// Waits until the addresses are others than these.
async fn moved(from: &[Address]) {
    loop {
        sleep(LOOK_EVERY).await;
        if look().await != from {
            return;
        }
    }
}

fn warn(error: &mdns_sd::Error) {
    tracing::warn!(%error, "announcing the box on the network");
}

fn confirm(said: Option<oneshot::Sender<()>>) {
    if let Some(said) = said {
        // Whoever asked may be gone.
        let _ = said.send(());
    }
}

fn random(most_ms: u64) -> Duration {
    // Without randomness both wait equally long, and then ask each other again.
    let number = getrandom::u64().unwrap_or(0);
    Duration::from_millis(number % most_ms)
}
