//! One registration with the responder of the crate `mdns-sd`, for one name and one set of addresses.
//!
//! Whatever changes (a name, an address, a link) ends it and begins another, which asks the network anew whether the name is free.
//! `mdns-sd` would keep on without asking, and after a clash it names the other device's host in its SRV answers; neither happens
//! to a registration that never changes.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use mdns_sd::{DaemonEvent, Error, HostnameResolutionEvent, IfKind, Receiver, ServiceDaemon, ServiceInfo};
use posthouse_protocol::{DISCOVERY_SERVICE, WEBSOCKET_PATH};

use super::Service;
use super::interfaces::{Address, told};

/// How long somebody who has the name may take to say so. It is asked for twice, a second apart: whoever has just answered
/// another question does not answer within that second (RFC 6762, §6).
const ASK_MS: u64 = 1_600;

/// A goodbye is said twice, 120 ms apart.
const GOODBYE: Duration = Duration::from_millis(200);

/// The responder's thread ends at once; this is in case it hangs.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the name is asked for before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probing {
    /// The rule (RFC 6762, §8.1).
    On,
    /// The name is known to be free, and only this box's own addresses on another interface speak against it.
    Off,
}

/// Why a registration can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Another device answers to the name, which was not announced yet.
    Taken,
    /// Another device answers to the name that was announced: two networks were joined, and in both a device had it.
    Shared,
    /// Something on the network spoke against the name, and it may have been this box, on another interface.
    Contested,
    /// The responder's thread has ended.
    Failed,
}

/// A name that is announced, or about to be.
pub struct Responder {
    daemon: ServiceDaemon,
    fullname: String,
    events: Receiver<DaemonEvent>,
    answers: Receiver<HostnameResolutionEvent>,
    own: HashSet<IpAddr>,
    is_announced: bool,
}

impl Responder {
    /// Probes for `host` and then announces it and the service.
    pub fn start(
        daemon: ServiceDaemon,
        service: &Service,
        host: &str,
        addresses: &[Address],
        probing: Probing,
    ) -> Result<Self, Error> {
        let events = daemon.monitor()?;
        let told = told(addresses);
        let properties =
            [("txtvers", "1"), ("id", &service.identity), ("p", service.scheme()), ("path", WEBSOCKET_PATH)];
        let mut info =
            ServiceInfo::new(DISCOVERY_SERVICE, &service.instance(), host, &told[..], service.port, &properties[..])?;
        info.set_requires_probe(probing == Probing::On);
        let fullname = info.get_fullname().to_owned();
        daemon.register(info)?;
        let answers = daemon.resolve_hostname(host, None)?;
        let own = addresses.iter().map(|one| one.address).collect();
        Ok(Self { daemon, fullname, events, answers, own, is_announced: false })
    }

    /// Waits until it can't go on. Safe to drop before.
    pub async fn ended(&mut self) -> End {
        loop {
            tokio::select! {
                event = self.events.recv_async() => match event {
                    Ok(DaemonEvent::NameChange(_)) => return End::Contested,
                    Ok(DaemonEvent::Announce(..)) => self.is_announced = true,
                    Ok(DaemonEvent::Error(error)) => tracing::warn!(%error, "announcing the box on the network"),
                    Ok(_) => {}
                    Err(_) => return End::Failed,
                },
                answer = self.answers.recv_async() => match answer {
                    Ok(answer) if is_foreign(&answer, &self.own) => {
                        return if self.is_announced { End::Shared } else { End::Taken };
                    }
                    Ok(_) => {}
                    Err(_) => return End::Failed,
                },
            }
        }
    }

    /// Withdraws what was announced, so that nobody shows the box any longer.
    pub async fn goodbye(self) {
        if self.daemon.unregister(&self.fullname).is_ok() {
            tokio::time::sleep(GOODBYE).await;
        }
        end(&self.daemon).await;
    }

    /// Ends it without a word: what others know of the box stays with them, until it is announced anew.
    pub async fn silence(self) {
        // The responder says goodbye when it ends, on the interfaces that it has.
        if let Err(error) = self.daemon.disable_interface(IfKind::All) {
            tracing::debug!(%error, "silencing the responder");
        }
        end(&self.daemon).await;
    }
}

/// Asks who has a name. To be called while this box announces nothing.
pub async fn is_taken(daemon: &ServiceDaemon, host: &str, addresses: &[Address]) -> Result<bool, Error> {
    let own: HashSet<IpAddr> = addresses.iter().map(|one| one.address).collect();
    let answers = daemon.resolve_hostname(host, Some(ASK_MS))?;
    while let Ok(answer) = answers.recv_async().await {
        if is_foreign(&answer, &own) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A responder that has nothing to say yet. Its thread has the caller's priority.
pub fn quiet_daemon() -> Result<ServiceDaemon, Error> {
    let daemon = ServiceDaemon::new()?;
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    // Who calls this looks at the interfaces itself.
    daemon.set_ip_check_interval(0)?;
    Ok(daemon)
}

/// Ends a responder's thread.
pub async fn end(daemon: &ServiceDaemon) {
    let Ok(ended) = daemon.shutdown() else { return };
    if tokio::time::timeout(END_TIMEOUT, ended.recv_async()).await.is_err() {
        tracing::warn!("the responder did not end");
    }
}

fn is_foreign(answer: &HostnameResolutionEvent, own: &HashSet<IpAddr>) -> bool {
    let HostnameResolutionEvent::AddressesFound(_, addresses) = answer else { return false };
    addresses.iter().any(|address| !own.contains(&address.to_ip_addr()))
}
