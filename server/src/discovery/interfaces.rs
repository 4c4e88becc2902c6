//! The addresses to announce: those of interfaces that carry traffic now.

use std::net::{IpAddr, Ipv6Addr, SocketAddrV6, UdpSocket};

use if_addrs::Interface;

/// An address and where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The interface's number, by the kernel.
    pub interface: u32,
    /// The address itself.
    pub address: IpAddr,
}

/// What can be announced, in a fixed order: addresses of interfaces that have a link (a cable that is plugged in, a network that
/// was joined), without loopback and tunnels to a single peer. Nothing where the kernel does not say.
pub fn addresses() -> Vec<Address> {
    let Ok(interfaces) = if_addrs::get_if_addrs() else { return Vec::new() };
    let mut found: Vec<Address> = interfaces.iter().filter(|one| is_usable(one)).filter_map(address).collect();
    found.sort();
    found.dedup();
    found
}

/// Of them those that clients are told.
///
/// An address that holds on one link only (`fe80::…`) says nothing on another link, and the responder can't tell links apart by it.
/// Where there are several links, such addresses are told only if there are no others.
pub fn told(addresses: &[Address]) -> Vec<IpAddr> {
    let is_one_link = addresses.windows(2).all(|pair| pair[0].interface == pair[1].interface);
    let has_others = addresses.iter().any(|one| !is_link_local(one.address));
    let is_told = |one: &&Address| is_one_link || !has_others || !is_link_local(one.address);
    addresses.iter().filter(is_told).map(|one| one.address).collect()
}

fn is_usable(interface: &Interface) -> bool {
    interface.is_oper_up() && !interface.is_loopback() && !interface.is_p2p()
}

fn address(interface: &Interface) -> Option<Address> {
    let (index, address) = (interface.index?, interface.ip());
    let is_ready = match address {
        IpAddr::V4(address) => !address.is_unspecified(),
        IpAddr::V6(address) => is_assigned(address, index),
    };
    is_ready.then_some(Address { interface: index, address })
}

/// The kernel gives an IPv6 address for use only a second after it was set, when no neighbour has claimed it (RFC 4862, §5.4).
/// What is sent from it before is lost; binding to it says whether it is so far.
fn is_assigned(address: Ipv6Addr, interface: u32) -> bool {
    let scope = if address.is_unicast_link_local() { interface } else { 0 };
    UdpSocket::bind(SocketAddrV6::new(address, 0, 0, scope)).is_ok()
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(list: &[(u32, &str)]) -> Vec<Address> {
        list.iter().map(|&(interface, text)| Address { interface, address: text.parse().expect(text) }).collect()
    }

    fn shown(list: &[(u32, &str)]) -> Vec<String> {
        told(&all(list)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn on_one_link_every_address_is_told() {
        assert_eq!(shown(&[(2, "10.0.0.5"), (2, "fe80::5")]), ["10.0.0.5", "fe80::5"]);
    }

    #[test]
    fn an_address_of_one_link_is_not_told_on_another() {
        let two = [(2, "10.0.0.5"), (2, "fe80::5"), (3, "10.1.0.5"), (3, "fe80::6"), (3, "fd00::6")];
        assert_eq!(shown(&two), ["10.0.0.5", "10.1.0.5", "fd00::6"]);
    }

    #[test]
    fn where_there_is_nothing_else_addresses_of_a_link_are_told() {
        assert_eq!(shown(&[(2, "fe80::5"), (3, "fe80::6")]), ["fe80::5", "fe80::6"]);
        assert!(shown(&[]).is_empty());
    }
}
