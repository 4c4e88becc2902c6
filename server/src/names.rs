//! What the box is called, and at which addresses it can be reached, now.
//!
//! Owns the one place where this stands: certificates, the list of hosts that are answered to, discovery and the console follow it
//! by a watch channel. Discovery writes the name that a clash has forced on the box; addresses are asked of the kernel. Nothing
//! here knows who follows. The composition makes it.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use posthouse_protocol::appliance::Settings;
use tokio::sync::watch;

/// How often the kernel is asked for addresses: a box that has moved to another network is found again within seconds, and asking
/// takes some 50 µs.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What names stand under on a local network without a name server (RFC 6762).
const LOCAL_DOMAIN: &str = "local";

/// What a box is called that has no name of its own.
const HOST_DEFAULT: &str = "posthouse";

/// Longest label and longest name of the DNS (RFC 1035, §2.3.4).
const LABEL_LEN_MAX: usize = 63;
const NAME_LEN_MAX: usize = 253;

/// What the box answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The first label of the name under `.local`: after a clash another one than was asked for.
    pub host: String,
    /// Further DNS names, in lower case, without a dot at the end.
    pub extra: Vec<String>,
    /// Addresses of interfaces that are up, loopback left out, those first that most clients can use.
    pub addresses: Vec<IpAddr>,
}

impl Names {
    /// The name under `.local`.
    pub fn local(&self) -> String {
        format!("{}.{LOCAL_DOMAIN}", self.host)
    }

    /// All DNS names, the one that people are told first.
    pub fn dns(&self) -> Vec<String> {
        std::iter::once(self.local()).chain(self.extra.iter().cloned()).collect()
    }
}

/// The end that says what has changed; clones say it to the same followers.
#[derive(Clone)]
pub struct NamesSender(Arc<watch::Sender<Names>>);

/// Names as they are now, and what says when they change.
pub fn channel(settings: &Settings) -> (NamesSender, watch::Receiver<Names>) {
    let extra = settings.names.iter().filter_map(|name| {
        let clean = clean_name(name);
        if clean.is_none() {
            tracing::warn!(name, "this is no DNS name, so the box does not answer to it");
        }
        clean
    });
    let host = settings.host_name.clone().or_else(system_host_name);
    let host = host.and_then(|host| clean_label(&host)).unwrap_or_else(|| HOST_DEFAULT.to_owned());
    let names = Names { host, extra: extra.collect(), addresses: addresses() };
    let (sender, receiver) = watch::channel(names);
    (NamesSender(Arc::new(sender)), receiver)
}

impl NamesSender {
    /// Another box has the name already: this one is called so from now on. What is no label is passed over.
    pub fn rename(&self, host: &str) {
        let Some(host) = clean_label(host) else { return };
        self.0.send_if_modified(|names| std::mem::replace(&mut names.host, host.clone()) != host);
    }

    /// What the box is called now.
    pub fn host(&self) -> String {
        self.0.borrow().host.clone()
    }

    /// Follows the interfaces' addresses. Runs until it is dropped.
    pub async fn follow_addresses(self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = addresses();
            let changed = self.0.send_if_modified(|names| std::mem::replace(&mut names.addresses, now.clone()) != now);
            if changed {
                tracing::info!(addresses = ?now, "the box's addresses have changed");
            }
        }
    }
}

/// None where the kernel does not say: names still serve.
fn addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let in_use = interfaces.filter(|interface| {
        let flags = interface.flags;
        flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let found = in_use.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    in_order(found.collect())
}

fn in_order(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_by_key(|address| (rank(address), *address));
    addresses.dedup();
    addresses
}

/// The lower, the more clients get there by typing it.
fn rank(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) if address.is_link_local() => 3,
        IpAddr::V4(_) => 0,
        IpAddr::V6(address) if address.is_unicast_link_local() => 4,
        IpAddr::V6(address) if is_unique_local(*address) => 1,
        IpAddr::V6(_) => 2,
    }
}

fn is_unique_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xfe00 == 0xfc00
}

fn system_host_name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}

/// The first label of a host name in lower case, if the DNS can carry it.
fn clean_label(host: &str) -> Option<String> {
    let label = host.split('.').next()?.to_ascii_lowercase();
    is_label(&label).then_some(label)
}

fn clean_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_address = name.parse::<IpAddr>().is_ok();
    (name.len() <= NAME_LEN_MAX && !is_address && name.split('.').all(is_label)).then_some(name)
}

/// Letters, digits and hyphens (RFC 1123, §2.1).
fn is_label(label: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=LABEL_LEN_MAX).contains(&label.len())
        && label.chars().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(host_name: &str, names: &[&str]) -> Settings {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Settings { host_name: Some(host_name.to_owned()), names, ..Settings::default() }
    }

    #[test]
    fn settings_name_the_box_and_what_is_no_name_is_left_out() {
        let wanted = settings("Teahouse.example.org", &["Chat.Example.org.", "a b", "", "-x.org", "192.0.2.1", "chat"]);
        let (_sender, names) = channel(&wanted);
        assert_eq!(names.borrow().dns(), ["teahouse.local", "chat.example.org", "chat"]);
        let (_sender, names) = channel(&settings("驿站", &[]));
        assert_eq!(names.borrow().local(), "posthouse.local");
    }

    #[test]
    fn a_clash_renames_the_box_for_all_who_follow() {
        let (sender, mut names) = channel(&settings("posthouse", &[]));
        names.mark_unchanged();
        sender.rename("posthouse");
        sender.rename("no label");
        assert!(!names.has_changed().expect("the sender is there"), "it is called so already");
        sender.clone().rename("posthouse-2");
        assert!(names.has_changed().expect("the sender is there"));
        assert_eq!(names.borrow_and_update().local(), "posthouse-2.local");
    }

    #[test]
    fn addresses_that_most_clients_can_use_come_first() {
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        let found = ["fe80::1", "169.254.3.4", "2001:db8::1", "fd00::1", "192.168.1.2", "192.168.1.2"].map(parse);
        let expected = ["192.168.1.2", "fd00::1", "2001:db8::1", "169.254.3.4", "fe80::1"].map(parse);
        assert_eq!(in_order(found.into()), expected);
    }
}
