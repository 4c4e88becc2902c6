//! For which names and addresses the authority signs. The same stands in its certificate, so that a browser that trusts it does so
//! for nothing else.

use std::net::IpAddr;

use posthouse_protocol::appliance::Settings;
use posthouse_protocol::authority::{NETWORKS, is_private};
use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};

/// Every name of a network without a name server stands under it (RFC 6762).
const LOCAL_DOMAIN: &str = "local";

/// Longest label and longest name of the DNS (RFC 1035, §2.3.4).
const LABEL_LEN_MAX: usize = 63;
const NAME_LEN_MAX: usize = 253;

/// What one box may be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permitted {
    /// DNS names that its owner has configured, in lower case, in order.
    names: Vec<String>,
}

impl Permitted {
    /// What the owner wants; what is no DNS name is left out.
    pub fn of(settings: &Settings) -> Self {
        let mut names: Vec<String> = settings.names.iter().filter_map(|name| clean(name)).collect();
        names.sort();
        names.dedup();
        Self { names }
    }

    /// The configured names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a certificate may bear the name: a configured one, or one under `.local`. Never a wildcard.
    pub fn name(&self, name: &str) -> bool {
        let Some(name) = clean(name) else { return false };
        let is_local = name.strip_suffix(LOCAL_DOMAIN).is_some_and(|rest| rest.ends_with('.'));
        is_local || self.names.contains(&name)
    }

    /// Whether a certificate may bear the address.
    pub fn address(&self, address: IpAddr) -> bool {
        is_private(address)
    }

    /// The same as the certificate says it.
    pub fn constraints(&self) -> NameConstraints {
        let local = GeneralSubtree::DnsName(LOCAL_DOMAIN.to_owned());
        let names = self.names.iter().cloned().map(GeneralSubtree::DnsName);
        let subnet = |(network, len): &(IpAddr, u8)| CidrSubnet::from_addr_prefix(*network, *len);
        // A constraint that names no address would permit them all.
        let networks = NETWORKS.iter().map(subnet).map(GeneralSubtree::IpAddress);
        let permitted_subtrees = std::iter::once(local).chain(names).chain(networks).collect();
        NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() }
    }
}

/// The name in lower case, if it is one.
fn clean(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_address = name.parse::<IpAddr>().is_ok();
    (name.len() <= NAME_LEN_MAX && !is_address && name.split('.').all(is_label)).then_some(name)
}

/// Letters, digits and hyphens (RFC 1123, §2.1).
fn is_label(label: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=LABEL_LEN_MAX).contains(&label.len())
        && label.chars().all(is_inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted() -> Permitted {
        let names = ["Chat.Example.org", "box.example.net.", "*.example.com", "192.0.2.1", "a b"];
        Permitted::of(&Settings { names: names.map(str::to_owned).into(), ..Settings::default() })
    }

    #[test]
    fn configured_names_and_local_ones_are_permitted_and_no_others() {
        let permitted = permitted();
        assert_eq!(permitted.names(), ["box.example.net", "chat.example.org"]);
        for name in ["posthouse.local", "a.b.local", "chat.example.org", "CHAT.example.org"] {
            assert!(permitted.name(name), "{name}");
        }
        for name in ["local", ".local", "evillocal", "*.local", "x.chat.example.org", "example.org", "", "a b.local"] {
            assert!(!permitted.name(name), "{name}");
        }
    }

    #[test]
    fn only_addresses_of_private_networks_are_permitted() {
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        for text in ["10.255.0.1", "127.0.0.1", "172.31.9.9", "192.168.0.1", "169.254.1.1", "::1", "fd12::1", "fe80::1"]
        {
            assert!(permitted().address(parse(text)), "{text}");
        }
        for text in ["11.0.0.1", "172.32.0.1", "192.169.0.1", "8.8.8.8", "2001:db8::1", "::2", "::ffff:10.0.0.1"] {
            assert!(!permitted().address(parse(text)), "{text}");
        }
    }
}
