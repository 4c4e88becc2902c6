//! The network as systemd-networkd, systemd-timesyncd and iwd are told of it.

use std::fmt::Write as _;
use std::fs;
use std::io;

use super::root::{Root, make_open_folder, remove, write_whole};
use crate::wishes::{Addressing, Method, Wifi, Wishes, is_overwritten};

/// Where iwd's settings of this boot lie; overlays lay them over its own.
const IWD_SETTINGS: &str = "run/posthouse-wifi/main.conf";

/// What both kinds of networks have in common; the reasons are in 80-wired.network.
const COMMON: &str = "[Link]\nRequiredForOnline=no\n\n[Network]\nLinkLocalAddressing=yes\nMulticastDNS=no\nLLMNR=no\n\
                      KeepConfiguration=dynamic-on-stop\n";

/// Writes networkd's files of this boot.
pub fn write_networks(root: &Root, wishes: &Wishes) -> io::Result<()> {
    let folder = root.path("run/systemd/network");
    make_open_folder(&folder)?;
    let wired = folder.join("70-posthouse-wired.network");
    match &wishes.network {
        Some(network) => write_whole(&wired, 0o644, network_file("ether", network, 1024).as_bytes())?,
        None => remove(&wired)?,
    }
    let wireless = folder.join("70-posthouse-wifi.network");
    match &wishes.wifi {
        // Behind the cable, where there is one.
        Some(wifi) => write_whole(&wireless, 0o644, network_file("wlan", &wifi.addressing, 2048).as_bytes()),
        None => remove(&wireless),
    }
}

fn network_file(kind: &str, addressing: &Addressing, metric: u32) -> String {
    let mut text = format!("# From posthouse.toml; made at each boot.\n[Match]\nType={kind}\n\n{COMMON}");
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "{key}={value}");
    };
    match addressing.method {
        Method::Dhcp => line("DHCP", &"yes"),
        Method::Static => {
            line("DHCP", &"no");
            for (address, len) in &addressing.addresses {
                line("Address", &format!("{address}/{len}"));
            }
        }
    }
    for server in &addressing.dns {
        line("DNS", server);
    }
    for gateway in &addressing.gateways {
        let _ = write!(text, "\n[Route]\nGateway={gateway}\nMetric={metric}\n");
    }
    let use_dns = if addressing.dns.is_empty() { "yes" } else { "no" };
    let _ = write!(text, "\n[DHCPv4]\nSendHostname=yes\nRouteMetric={metric}\nUseDNS={use_dns}\n");
    let _ = write!(text, "\n[IPv6AcceptRA]\nRouteMetric={metric}\nUseDNS={use_dns}\n");
    text
}

/// Writes timesyncd's settings of this boot: the servers that were asked for, and without DHCP the gateway, which often knows the
/// time.
pub fn write_time_servers(root: &Root, wishes: &Wishes) -> io::Result<()> {
    let folder = root.path("run/systemd/timesyncd.conf.d");
    make_open_folder(&folder)?;
    let path = folder.join("95-posthouse-card.conf");
    if wishes.ntp_servers.is_empty() {
        return remove(&path);
    }
    let text = format!("# From posthouse.toml; made at each boot.\n[Time]\nNTP={}\n", wishes.ntp_servers.join(" "));
    write_whole(&path, 0o644, text.as_bytes())
}

/// Makes the network known to iwd, and an earlier one unknown. Returns the name of iwd's file for it.
pub fn write_wifi(root: &Root, wifi: Option<&Wifi>, earlier: Option<&str>) -> io::Result<Option<String>> {
    let folder = root.system().join("iwd");
    let file = wifi.map(|wifi| (iwd_file(wifi), wifi));
    if let Some(earlier) = earlier
        && file.as_ref().is_none_or(|(name, _)| name != earlier)
    {
        remove(&folder.join(earlier))?;
    }
    let Some((name, wifi)) = file else {
        remove(&root.path(IWD_SETTINGS))?;
        return Ok(None);
    };
    let text = iwd_network(wifi);
    let path = folder.join(&name);
    if fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
        write_whole(&path, 0o600, text.as_bytes())?;
    }
    let settings = root.path(IWD_SETTINGS);
    make_open_folder(settings.parent().unwrap_or(&settings))?;
    let country = wifi.country.as_ref().map_or_else(String::new, |country| format!("[General]\nCountry={country}\n"));
    write_whole(&settings, 0o644, format!("# From the card; made at each boot.\n{country}").as_bytes())?;
    Ok(Some(name))
}

/// The name of a network's file in iwd's folder (iwd.network(5), "File naming").
fn iwd_file(wifi: &Wifi) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'_' | b'-');
    let name = if wifi.ssid.bytes().all(is_plain) {
        wifi.ssid.clone()
    } else {
        wifi.ssid.bytes().fold("=".to_owned(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
    };
    format!("{name}.{}", if wifi.password.is_some() { "psk" } else { "open" })
}

fn iwd_network(wifi: &Wifi) -> String {
    let mut text = String::new();
    if let Some(password) = wifi.password.as_deref().filter(|password| !is_overwritten(password)) {
        let key = if password.len() == 64 { "PreSharedKey" } else { "Passphrase" };
        // Blanks at its beginning and backslashes would be lost (iwd.network(5), "File format").
        let escaped = password.replace('\\', "\\\\");
        let escaped = match escaped.strip_prefix(' ') {
            Some(rest) => format!("\\s{rest}"),
            None => escaped,
        };
        let _ = write!(text, "[Security]\n{key}={escaped}\n\n");
    }
    let _ = writeln!(text, "[Settings]\nAutoConnect=true\nHidden={}", wifi.hidden);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wifi(ssid: &str, password: Option<&str>) -> Wifi {
        Wifi { ssid: ssid.to_owned(), password: password.map(str::to_owned), ..Wifi::default() }
    }

    #[test]
    fn iwd_finds_a_network_by_its_files_name() {
        assert_eq!(iwd_file(&wifi("My net_1-a", Some("12345678"))), "My net_1-a.psk");
        assert_eq!(iwd_file(&wifi("驿", None)), "=e9a9bf.open");
        assert_eq!(iwd_file(&wifi("../etc", None)), "=2e2e2f657463.open");
    }

    #[test]
    fn iwd_reads_the_password_that_was_typed() {
        assert_eq!(
            iwd_network(&wifi("a", Some(" b\\n"))),
            "[Security]\nPassphrase=\\sb\\\\n\n\n[Settings]\nAutoConnect=true\nHidden=false\n"
                .replace("\n\n\n", "\n\n")
        );
        let key = "0f".repeat(32);
        assert!(iwd_network(&wifi("a", Some(&key))).starts_with(&format!("[Security]\nPreSharedKey={key}\n")));
        assert!(!iwd_network(&wifi("a", None)).contains("[Security]"));
    }

    #[test]
    fn a_fixed_address_asks_no_dhcp_server() {
        let addressing = Addressing {
            method: Method::Static,
            addresses: vec![("192.168.1.10".parse().expect("an address"), 24)],
            gateways: vec!["192.168.1.1".parse().expect("an address")],
            dns: vec!["9.9.9.9".parse().expect("an address")],
        };
        let text = network_file("ether", &addressing, 1024);
        for line in ["DHCP=no", "Address=192.168.1.10/24", "DNS=9.9.9.9", "Gateway=192.168.1.1", "UseDNS=no"] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
        }
    }
}
