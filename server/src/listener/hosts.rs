//! For whom a request is, and whose page makes it: what keeps other sites' pages out (DNS rebinding, RFC 6454).

use std::net::IpAddr;

use super::Carrier;
use crate::names::Names;

/// Whether the `Host` of a request names this box: by one of its names, by the address that it came to or another one of its own,
/// or from the same machine. A page whose name was bent to point here has another one.
pub(super) fn is_ours(host: &str, names: &Names, at: IpAddr) -> bool {
    let Some(host) = without_port(host) else { return false };
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        let address = address.to_canonical();
        return address.is_loopback() || address == at.to_canonical() || names.addresses.contains(&address);
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host == names.host || names.dns().contains(&host)
}

/// Whether the page came from where it now asks: the same scheme, host and port.
pub(super) fn is_same_origin(origin: &str, host: &str, carrier: Carrier) -> bool {
    let scheme = match carrier {
        Carrier::Plain => "http://",
        Carrier::Secure => "https://",
    };
    !host.is_empty() && origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// The host of `HOST[:PORT]`, with its brackets if it has some.
fn without_port(host: &str) -> Option<&str> {
    let (name, rest) = match host.find(']') {
        Some(end) if host.starts_with('[') => host.split_at(end + 1),
        Some(_) => return None,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = rest.strip_prefix(':').unwrap_or(rest);
    let is_port = port.chars().all(|c| c.is_ascii_digit()) && (rest.is_empty() || rest.starts_with(':'));
    (!name.is_empty() && is_port).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_this_very_origin_may_ask() {
        for (origin, host, carrier) in [
            ("http://posthouse.local", "posthouse.local", Carrier::Plain),
            ("https://Posthouse.local:8443", "posthouse.local:8443", Carrier::Secure),
            ("http://[fe80::1]:8080", "[fe80::1]:8080", Carrier::Plain),
        ] {
            assert!(is_same_origin(origin, host, carrier), "{origin} at {host}");
        }
        for (origin, host, carrier) in [
            ("http://evil.example", "posthouse.local", Carrier::Plain),
            ("http://posthouse.local.evil.example", "posthouse.local", Carrier::Plain),
            ("http://posthouse.local:81", "posthouse.local", Carrier::Plain),
            ("http://posthouse.local", "posthouse.local", Carrier::Secure),
            ("https://posthouse.local", "posthouse.local", Carrier::Plain),
            ("null", "posthouse.local", Carrier::Plain),
            ("", "posthouse.local", Carrier::Plain),
            ("http://", "", Carrier::Plain),
            ("file://posthouse.local", "posthouse.local", Carrier::Plain),
        ] {
            assert!(!is_same_origin(origin, host, carrier), "{origin} at {host}");
        }
    }

    #[test]
    fn the_box_answers_to_its_names_and_addresses_and_to_no_others() {
        let addresses = vec!["192.168.1.9".parse().expect("an address"), "fd00::9".parse().expect("an address")];
        let names = Names { host: "teahouse".to_owned(), extra: vec!["chat.example.org".to_owned()], addresses };
        let at: IpAddr = "::ffff:10.0.0.5".parse().expect("an address");
        for host in [
            "teahouse.local",
            "Teahouse.Local.:8080",
            "teahouse",
            "chat.example.org",
            "localhost:1",
            "127.0.0.1",
            "[::1]:80",
            "10.0.0.5",
            "192.168.1.9:8443",
            "[fd00::9]",
            "[::ffff:192.168.1.9]",
        ] {
            assert!(is_ours(host, &names, at), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "posthouse.local",
            "teahouse.local.evil.example",
            "evil.teahouse.local",
            "10.0.0.6",
            "[fd00::8]",
            "teahouse.local:x",
            "teahouse.local:80:80",
            "[::1",
            "::1]",
            "[teahouse.local]x",
            "user@teahouse.local",
            "0.0.0.0",
        ] {
            assert!(!is_ours(host, &names, at), "{host}");
        }
    }
}
