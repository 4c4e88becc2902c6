//! Boxes that announce themselves on the local network (DNS-SD, RFC 6763, by multicast DNS, RFC 6762).
//!
//! What is found is what somebody on the network says: a name to show and an address to try. Who it is shows the connection, by its
//! fingerprint.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs as _};
use std::time::Duration;

use mdns_sd::{HostnameResolutionEvent, IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent};
use posthouse_protocol::{DISCOVERY_SERVICE, WEBSOCKET_PATH};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::ServerUrl;

/// Long enough for a box to answer to the second question, a second after the first.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long the system may take to look up a name that ends in `.local`. Many systems don't know such names.
const LOOKUP: Duration = Duration::from_millis(500);

/// The version of what a box tells about itself.
const TEXT_VERSION: &str = "1";

/// Hex digits of an identity.
const IDENTITY_LEN: usize = 16;

/// The network can't be asked.
#[derive(Debug, thiserror::Error)]
#[error("cannot ask this network for boxes: {0}")]
pub struct DiscoverError(#[from] mdns_sd::Error);

/// A box that says that it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBox {
    /// Its name, such as `posthouse.local`.
    pub name: String,
    /// The beginning of its fingerprint, or, where it has no TLS, a number of its own: 16 hex digits.
    pub identity: String,
    /// Whether it speaks HTTPS.
    pub is_secure: bool,
    /// Where it listens, those first that reach furthest; at least one.
    pub addresses: Vec<SocketAddr>,
}

/// Asks the network for boxes and waits for `patience`; in the order of their names.
///
/// # Errors
/// The system lets this program ask nobody.
pub async fn boxes(patience: Duration) -> Result<Vec<FoundBox>, DiscoverError> {
    let deadline = Instant::now() + patience;
    let daemon = ServiceDaemon::new()?;
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    let events = daemon.browse(DISCOVERY_SERVICE)?;
    let mut found = HashMap::new();
    while let Ok(Ok(event)) = timeout_at(deadline, events.recv_async()).await {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                if let Some(one) = FoundBox::read(&service) {
                    found.insert(service.fullname, one);
                }
            }
            ServiceEvent::ServiceRemoved(_, fullname) => {
                found.remove(&fullname);
            }
            _ => {}
        }
    }
    // It has nothing to withdraw, and the process may end before it.
    let _ = daemon.shutdown();
    let mut boxes: Vec<FoundBox> = found.into_values().collect();
    boxes.sort_by(|a, b| (&a.name, &a.identity).cmp(&(&b.name, &b.identity)));
    Ok(boxes)
}

/// Where a name that ends in `.local` is, as the network says; nothing where nobody answers to it.
pub(crate) async fn addresses_of(name: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let daemon = ServiceDaemon::new().ok()?;
    let patience_ms = u64::try_from(PATIENCE.as_millis()).ok();
    let answers = daemon.resolve_hostname(&format!("{}.", name.trim_end_matches('.')), patience_ms).ok()?;
    let mut found: Vec<SocketAddr> = Vec::new();
    while let Ok(Ok(event)) = timeout(PATIENCE, answers.recv_async()).await {
        match event {
            HostnameResolutionEvent::AddressesFound(_, addresses) => {
                found.extend(addresses.iter().map(|one| address(one, port)));
                break;
            }
            HostnameResolutionEvent::SearchTimeout(_) | HostnameResolutionEvent::SearchStopped(_) => break,
            _ => {}
        }
    }
    // It has nothing to withdraw, and nobody waits for its end.
    let _ = daemon.shutdown();
    found.sort_by_key(|address| (rank(address), *address));
    (!found.is_empty()).then_some(found)
}

impl FoundBox {
    /// None where it is no box of this kind, or damaged.
    fn read(service: &ResolvedService) -> Option<Self> {
        let text = |key| service.txt_properties.get_property_val_str(key);
        let identity = text("id")?;
        let is_identity = identity.len() == IDENTITY_LEN && identity.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_secure = match text("p")? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let name = service.host.strip_suffix('.').unwrap_or(&service.host);
        let is_known = text("txtvers") == Some(TEXT_VERSION) && text("path") == Some(WEBSOCKET_PATH);
        if !is_known || !is_identity || !is_name(name) || service.port == 0 {
            return None;
        }
        let mut addresses: Vec<SocketAddr> = service.addresses.iter().map(|one| address(one, service.port)).collect();
        addresses.sort_by_key(|address| (rank(address), *address));
        addresses.first()?;
        Some(Self { name: name.to_owned(), identity: identity.to_ascii_lowercase(), is_secure, addresses })
    }

    /// Where to reach it: by its name, which it keeps when its address changes, if this system can look that up.
    pub async fn url(&self) -> ServerUrl {
        let port = self.addresses[0].port();
        let looked_up = timeout(LOOKUP, look_up(self.name.clone())).await.unwrap_or_default();
        let is_found = looked_up.iter().any(|one| self.has(one.ip()));
        let authority = if is_found { format!("{}:{port}", self.name) } else { self.addresses[0].to_string() };
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{authority}").parse().expect("a name or an address, and a port")
    }

    fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.ip() == address)
    }
}

/// As the system does it, which takes seconds where nobody answers: on a thread that nobody waits for in the end.
async fn look_up(name: String) -> Vec<SocketAddr> {
    let (found, heard) = oneshot::channel();
    std::thread::spawn(move || {
        let addresses = (name, 0).to_socket_addrs().map(Iterator::collect);
        // Nobody waits any longer.
        let _ = found.send(addresses.unwrap_or_default());
    });
    heard.await.unwrap_or_default()
}

/// Letters, digits, hyphens and dots: a name that does no harm where it is shown.
fn is_name(name: &str) -> bool {
    name.ends_with(".local") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
}

fn address(found: &ScopedIp, port: u16) -> SocketAddr {
    match found {
        ScopedIp::V6(found) if found.addr().is_unicast_link_local() => {
            SocketAddrV6::new(*found.addr(), port, 0, found.scope_id().index).into()
        }
        other => SocketAddr::new(other.to_ip_addr(), port),
    }
}

/// The lower, the likelier that it works from here.
fn rank(address: &SocketAddr) -> u8 {
    match address.ip() {
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) if address.is_unicast_link_local() => 2,
        IpAddr::V6(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use mdns_sd::ServiceInfo;

    use super::*;

    const IDENTITY: &str = "00112233445566FF";

    fn announced(host: &str, address: &str, properties: &[(&str, &str)]) -> Option<FoundBox> {
        let info = ServiceInfo::new(DISCOVERY_SERVICE, "posthouse 001122", host, address, 8080, properties);
        FoundBox::read(&info.expect("a service").as_resolved_service())
    }

    #[test]
    fn a_box_is_what_it_says_with_its_best_address_first() {
        let properties = [("txtvers", "1"), ("id", IDENTITY), ("p", "https"), ("path", "/ws")];
        let found = announced("posthouse-2.local.", "fe80::1,fd00::1,10.0.0.5", &properties).expect("a box");
        assert_eq!((found.name.as_str(), found.is_secure), ("posthouse-2.local", true));
        assert_eq!(found.identity, IDENTITY.to_lowercase());
        let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.5:8080", "[fd00::1]:8080", "[fe80::1]:8080"]);
    }

    #[test]
    fn what_is_no_box_is_passed_over() {
        let good = [("txtvers", "1"), ("id", IDENTITY), ("p", "http"), ("path", "/ws")];
        assert!(announced("posthouse.local.", "10.0.0.5", &good).is_some());
        for (at, bad) in [
            (0, ("txtvers", "2")),
            (1, ("id", "00112233")),
            (1, ("id", "00112233445566f\u{1b}")),
            (2, ("p", "gopher")),
            (3, ("path", "/evil")),
        ] {
            let mut properties = good;
            properties[at] = bad;
            assert!(announced("posthouse.local.", "10.0.0.5", &properties).is_none(), "{bad:?}");
        }
        assert!(announced("posthouse.local.", "", &good).is_none(), "no address");
        assert!(announced("evil\u{1b}[2J.local.", "10.0.0.5", &good).is_none(), "a name that moves the cursor");
    }
}
