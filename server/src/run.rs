//! The composition: makes the parts, hands each what it needs, and takes them down in order.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use posthouse_protocol::Fingerprint;
use posthouse_protocol::appliance::Settings;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::admin::Reach;
use crate::admission::{Admission, Allowance};
use crate::claim::Claim;
use crate::config::Config;
use crate::discovery::{Announcement, Discovery, Way};
use crate::listener::{self, Entrance, Gate, Handler, House};
use crate::names::{Names, NamesSender};
use crate::router::Router;
use crate::service::{Listeners, StopSignal};
use crate::shutdown::{self, Shutdown, ShutdownSender};
use crate::status::{Apology, Reporter};
use crate::store::{FILE_NAME, Snapshot, Store, StoreError, StoreParts};
use crate::tls::{self, Handshakes, Keyring, TrustMaterial};
use crate::trial::{self, raise_when_confirmed};
use crate::update::{Updates, Wiring};
use crate::web::Web;
use crate::{VERSION, admin, demo, logging, names, rescue, service, settings};

/// For how long people are shown why the store could not be opened, before it is tried again.
const REFUSAL_SHOWN: Duration = Duration::from_secs(300);

/// How the store's threads ended.
type StoreEnd = Result<Result<(), StoreError>, oneshot::error::RecvError>;

/// Where the server asks for the clock to be set, beside the status file.
const CLOCK_REQUEST: &str = "clock-request";

/// Runs the server until a signal or the store ends it.
///
/// # Errors
/// What keeps it from starting (an address in use, a damaged database), or the store's failure.
pub async fn run(config: Config) -> anyhow::Result<()> {
    if let Some(reason) = rescue::reason(config.rescue_file.as_deref())? {
        return apologise(&config, reason, false).await;
    }
    logging::name_database(config.data_dir.join(FILE_NAME));
    match Store::open_with_cache(&config.data_dir, config.cache_mib) {
        Ok(parts) => chat(&config, parts).await,
        // A box has nobody to read its log. What passes by itself (a card that did not answer) is found out by a new start.
        Err(refusal) if config.rescue_file.is_some() => {
            let apology = apologise(&config, rescue::refusal(&refusal), refusal.is_storage_full());
            match tokio::time::timeout(REFUSAL_SHOWN, apology).await {
                Ok(stopped) => stopped,
                Err(_) => Err(refusal).context("trying again"),
            }
        }
        Err(refusal) => Err(refusal.into()),
    }
}

async fn chat(config: &Config, parts: StoreParts) -> anyhow::Result<()> {
    let StoreParts { store, last_gseq, published, signed_out, mut ended } = parts;
    let mut stop = StopSignal::catch()?;
    let listeners = service::listeners(config.listen, config.listen_tls)?;
    let (secure_addresses, addresses) = (addresses(&listeners.secure), addresses(&listeners.plain));
    let settings = Arc::new(settings::read(config.settings.as_deref()));
    let (naming, names) = names::channel(&settings);
    let mut tls = tls::start(config.ca_socket.as_deref(), &config.data_dir, names.clone());
    // They end with this function.
    let mut following = JoinSet::new();
    following.spawn(naming.clone().follow_addresses());
    if let Some(renewal) = tls.renewal.take() {
        following.spawn(renewal.run());
    }
    let secret = trial::secret(config.probe_secret.as_deref());
    let admission = Admission::new(Allowance { on_trial: secret.is_some(), ..config.allowance() });
    let router = Router::new(store.clone(), last_gseq);
    let watching = tokio::spawn(admission.clone().watch());
    let fan_out = tokio::spawn(router.clone().fan_out(published));
    let signing_out = tokio::spawn(router.clone().close_signed_out(signed_out));
    let receipts = tokio::spawn(router.clone().flush_receipts());
    let presence = tokio::spawn(router.clone().tell_presence());
    let uses = tokio::spawn(router.clone().note_uses());
    following.spawn(raise_when_confirmed(store.clone(), config.update_status.clone(), secret.is_some()));
    let_probe_in(&router, secret).await;
    let (shutdown, stopping) = shutdown::channel();
    let admin = admin::bind(&config.admin_socket)?;
    let reach = Reach { router: router.clone(), certificates: tls.own.clone() };
    let admin = tokio::spawn(admin.serve(reach, stopping.clone()));
    if config.demo {
        demo::add_accounts(&router, &addresses).await?;
    }
    let updates = updates(config, &router, &settings, &stopping);
    following.spawn(Arc::clone(&updates).keep());
    let claim = Claim::new(router.clone(), &settings, tls.trust.clone(), &config.data_dir);
    let seen = (Arc::clone(&settings), names.clone(), addresses.clone());
    let telling = tell_people(config, &router, &claim, &updates, seen);
    let clock_request = config.status_file.as_ref().map(|file| file.with_file_name(CLOCK_REQUEST));
    let house = House { router: router.clone(), names, plain_http: settings.plain_http };
    let (trust, secure_port) = (tls.trust.clone(), secure_addresses.first().map(SocketAddr::port));
    let web = Web { store: store.clone(), router: router.clone(), claim, settings, trust, secure_port, clock_request };
    let gate = Gate::new(Some(house), admission, updates.handler(web.handler()), stopping);
    let doors = open(listeners, &tls.keyring, &gate);

    let records = store.read(Snapshot::record_count).await?;
    tls.first_answer().await;
    let fingerprint = tls.fingerprint().filter(|_| !secure_addresses.is_empty());
    let reached = if fingerprint.is_some() { &secure_addresses } else { &addresses };
    let mut discovery = announce(config, reached, naming, fingerprint, Some(&config.data_dir))?;
    if let (Some(discovery), Some(port)) = (&discovery, open_port(&secure_addresses)) {
        following.spawn(announce_secure(tls.trust, port, discovery.way()));
    }
    tracing::info!(version = VERSION, ?addresses, ?secure_addresses, records, data = %config.data_dir.display(), "serving");
    service::ready("serving", addresses.first().copied());
    let failed = tokio::select! {
        signal = stop.received() => { leave(discovery.take(), signal).await; None }
        end = &mut ended => Some(end),
    };
    let begun = Instant::now();
    close(doors, &shutdown, router.session_count()).await?;
    admin.await.context("the administration socket panicked")?;
    let end = match failed {
        Some(end) => Some(end),
        None => tokio::time::timeout_at(begun + shutdown::CLOSE, stop_store(&router, &store, ended)).await.ok(),
    };
    for task in [watching, receipts, presence, uses, fan_out, signing_out, telling] {
        task.abort();
    }
    stored(begun, end)
}

/// The probe of a release on trial. One that can't come in fails the trial, and nothing else.
async fn let_probe_in(router: &Router, secret: Option<String>) {
    if let Err(error) = router.admit_probe(secret).await {
        tracing::warn!(%error, "the probe can't log in");
    }
}

/// Says what people should see who have no log-in. A box shows its code by other programs; a developer's server says it itself.
fn tell_people(
    config: &Config,
    router: &Router,
    claim: &Claim,
    updates: &Arc<Updates>,
    (settings, names, addresses): (Arc<Settings>, watch::Receiver<Names>, Vec<SocketAddr>),
) -> JoinHandle<()> {
    let Some(file) = config.status_file.clone() else { return tokio::spawn(claim.clone().invite(addresses)) };
    let (data_dir, claim, router, updates) =
        (config.data_dir.clone(), claim.clone(), router.clone(), Arc::clone(updates));
    let notice = Box::new(move || updates.notice());
    tokio::spawn(Reporter { file, data_dir, settings, claim, router, names, notice }.keep())
}

/// How this server is replaced by a newer one.
fn updates(config: &Config, router: &Router, settings: &Settings, stopping: &Shutdown) -> Arc<Updates> {
    Updates::new(Wiring {
        router: router.clone(),
        settings,
        inbox: config.update_inbox.as_deref(),
        status_file: config.update_status.clone(),
        data_dir: &config.data_dir,
        stopping: stopping.clone(),
    })
}

/// Serves nothing but the reason why there is no chat, until somebody stops it.
async fn apologise(config: &Config, reason: String, is_storage_full: bool) -> anyhow::Result<()> {
    let mut stop = StopSignal::catch()?;
    let listeners = service::listeners(config.listen, config.listen_tls)?;
    let addresses = addresses(&listeners.plain);
    let (shutdown, stopping) = shutdown::channel();
    tracing::error!(?addresses, %reason, "serving the rescue page only");
    let settings = settings::read(config.settings.as_deref());
    let (naming, names) = names::channel(&settings);
    // They end with this function.
    let mut following = JoinSet::new();
    following.spawn(naming.clone().follow_addresses());
    if let Some(file) = config.status_file.clone() {
        following.spawn(Apology { file, settings, names, reason: reason.clone() }.keep());
    }
    let handler: Handler = Arc::new(move |request, _| {
        let response = rescue::respond(&reason, is_storage_full, &request);
        Box::pin(async move { response })
    });
    // Nobody signs for a box in this state: who asks for a secure stream gets an alert.
    let gate = Gate::new(None, Admission::new(config.allowance()), handler, stopping);
    let doors = open(listeners, &Keyring::default(), &gate);
    let discovery = announce(config, &addresses, naming, None, None)?;
    service::ready("serving the rescue page only", addresses.first().copied());
    leave(discovery, stop.received().await).await;
    close(doors, &shutdown, 0).await
}

/// Makes the box known on the local network, where it is to be known.
fn announce(
    config: &Config,
    addresses: &[SocketAddr],
    naming: NamesSender,
    fingerprint: Option<Fingerprint>,
    data_dir: Option<&Path>,
) -> anyhow::Result<Option<Discovery>> {
    if !config.discovery {
        return Ok(None);
    }
    let port = open_port(addresses);
    let port = port.context("--discovery needs an address that others can reach (--listen 0.0.0.0:8080)")?;
    Ok(Some(Discovery::start(&Announcement { way: Way { port, fingerprint }, data_dir }, naming)?))
}

/// Where others can get in.
fn open_port(addresses: &[SocketAddr]) -> Option<u16> {
    addresses.iter().find(|address| !address.ip().is_loopback()).map(SocketAddr::port)
}

/// The authority may answer only once the box is announced. Ends where there is none.
async fn announce_secure(mut trust: watch::Receiver<Option<Arc<TrustMaterial>>>, port: u16, way: watch::Sender<Way>) {
    loop {
        let fingerprint = trust.borrow_and_update().as_ref().map(|trust| trust.fingerprint);
        if fingerprint.is_some() {
            let secure = Way { port, fingerprint };
            way.send_if_modified(|way| std::mem::replace(way, secure.clone()) != secure);
        }
        if trust.changed().await.is_err() {
            return;
        }
    }
}

/// Begins to stop. Who presses Ctrl-C ends the server for good; the service manager may start it again, so that nobody is to
/// forget it.
async fn leave(discovery: Option<Discovery>, signal: &'static str) {
    tracing::info!(signal, "stopping");
    if let (Some(discovery), "SIGINT") = (discovery, signal) {
        discovery.goodbye().await;
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

fn open(listeners: Listeners, keyring: &Keyring, gate: &Gate) -> Vec<JoinHandle<()>> {
    let secure = Entrance::Secure(Handshakes::new(keyring.clone()));
    let plain = listeners.plain.into_iter().map(|listener| (listener, Entrance::Plain));
    let all = plain.chain(listeners.secure.into_iter().map(|listener| (listener, secure.clone())));
    all.map(|(listener, entrance)| tokio::spawn(listener::serve(listener, entrance, gate.clone()))).collect()
}

/// Lets everybody know, and waits until the last connection has ended or its time is up.
async fn close(doors: Vec<JoinHandle<()>>, shutdown: &ShutdownSender, clients: usize) -> anyhow::Result<()> {
    service::stopping();
    shutdown.request(clients);
    for door in doors {
        door.await.context("a listener panicked")?;
    }
    Ok(())
}

/// Lets the store finish what it has accepted, and what was acknowledged and only gathered.
async fn stop_store(router: &Router, store: &Store, ended: oneshot::Receiver<Result<(), StoreError>>) -> StoreEnd {
    // What fails there is logged, and shows in the store's own end.
    let _ = router.write_receipts().await;
    store.stop().await;
    ended.await
}

/// How the store has ended, since so long; nothing is there where it has not.
fn stored(begun: Instant, end: Option<StoreEnd>) -> anyhow::Result<()> {
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let Some(end) = end else {
        tracing::warn!(took_ms, "the database could not be closed in time: the next start reads its log");
        return Ok(());
    };
    tracing::info!(took_ms, "stopped");
    end.context("the store's writer panicked")?.context("the store failed; what was not acknowledged is lost")
}
