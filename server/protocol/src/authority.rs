//! What the server asks of the box's certificate authority, and what it gets: one JSON object a line, by a local socket. Not part
//! of the wire that clients speak.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Longest line, in bytes: room for a chain of RSA certificates.
pub const LINE_LEN_MAX: usize = 64 * 1024;

/// For how many days a certificate is valid that the authority signs, at most: what browsers accept of public ones (CA/Browser
/// Forum, ballot SC-031) they may one day ask of all.
pub const LEAF_DAYS_MAX: i64 = 397;

/// Addresses that mean something on one network only: loopback, private (RFC 1918), link-local, unique local (RFC 4193). The authority
/// signs for addresses in these and no others.
pub const NETWORKS: [(IpAddr, u8); 8] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthorityRequest {
    /// Its own certificate.
    Root,
    /// A certificate for the key and the names of this request (PKCS #10, PEM).
    Sign(String),
    /// A certificate without a name for the key of this one (PEM), by which clients that know the authority know that the key is
    /// the box's, too.
    Handover(String),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityAnswer {
    /// What was asked for, as PEM.
    Certificate(String),
    /// Why not, for people.
    Refused(String),
}

/// Whether an address is in one of the [`NETWORKS`].
pub fn is_private(address: IpAddr) -> bool {
    NETWORKS.iter().any(|(network, len)| is_within(address, *network, *len))
}

fn is_within(address: IpAddr, network: IpAddr, len: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(len)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (address.to_bits() ^ network.to_bits()).leading_zeros() >= u32::from(len)
        }
        _ => false,
    }
}
