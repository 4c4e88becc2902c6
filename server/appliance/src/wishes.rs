//! What the owner wants of the box, as a file on the card may say it.

use std::net::IpAddr;

use posthouse_protocol::appliance::{Language, PlainHttp, Window};
use serde::{Deserialize, Serialize};

/// What `posthouse.toml` may hold. Whatever it leaves out is as it is without it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(default)]
pub struct Wishes {
    /// The box's name on the network, without a domain: letters, digits and hyphens (RFC 1123, 2.1).
    #[cfg_attr(test, schemars(regex(pattern = "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$")))]
    pub host_name: Option<String>,
    /// What people call this site, in up to 64 characters.
    #[cfg_attr(test, schemars(length(max = 64)))]
    pub site_name: Option<String>,
    /// The time zone by its name in the time zone database, such as Asia/Shanghai.
    pub time_zone: Option<String>,
    /// The language of pages and of the console.
    #[cfg_attr(test, schemars(with = "Option<schema::Languages>"))]
    pub language: Option<Language>,
    /// The code that makes somebody the box's owner, of 10 to 64 letters, digits and hyphens. Valid until it is used.
    #[cfg_attr(test, schemars(regex(pattern = r"^(\*+|[A-Za-z0-9-]{10,64})$")))]
    pub claim_code: Option<String>,
    /// Time servers, by name or address, instead of the network's own.
    #[cfg_attr(test, schemars(with = "schema::Texts"))]
    pub ntp_servers: Vec<String>,
    /// The wired network.
    #[cfg_attr(test, schemars(with = "schema::Addressing"))]
    pub network: Option<Addressing>,
    /// The wireless network. Without this section Wi-Fi is off.
    #[cfg_attr(test, schemars(with = "schema::Wifi"))]
    pub wifi: Option<Wifi>,
    /// How clients connect.
    pub tls: Option<Tls>,
    /// Where updates come from.
    pub updates: Option<Updates>,
}

/// How an interface comes to its addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressing {
    /// The network's DHCP server and routers say so, or this file.
    pub method: Method,
    /// Addresses with the length of their network's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The way out of the network.
    pub gateways: Vec<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
}

/// Who gives an interface its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The network.
    #[default]
    Dhcp,
    /// The file.
    Static,
}

/// A wireless network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wifi {
    /// Its name.
    pub ssid: String,
    /// Its password, or the key of 64 hexadecimal digits that follows from it; none where it is open.
    pub password: Option<String>,
    /// The country whose rules for radio apply, by its two letters (ISO 3166-1).
    pub country: Option<String>,
    /// Whether it does not tell its name.
    pub hidden: bool,
    /// How the box comes to its addresses there.
    pub addressing: Addressing,
}

/// How clients connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(default)]
pub struct Tls {
    /// Whether a person may choose to chat without TLS.
    #[cfg_attr(test, schemars(with = "Option<schema::PlainHttpChoice>"))]
    pub plain_http: Option<PlainHttp>,
    /// Further DNS names that clients reach the box by.
    #[cfg_attr(test, schemars(with = "schema::Texts"))]
    pub names: Vec<String>,
}

/// Where updates come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[serde(default)]
pub struct Updates {
    /// Where the box looks for updates by itself, https://…; without it, it does not.
    #[cfg_attr(test, schemars(regex(pattern = "^https://[^ ]+$")))]
    pub url: Option<String>,
    /// Which updates are meant for it, by the name that those who sign them chose: lower case, digits, hyphens, dots.
    #[cfg_attr(test, schemars(regex(pattern = "^[a-z0-9][a-z0-9.-]{0,31}$")))]
    pub channel: Option<String>,
    /// Whether updates from the URL are installed without anybody asking for it.
    pub automatic: Option<bool>,
    /// When they are, in the box's own time: 03:00-05:00.
    #[cfg_attr(
        test,
        schemars(with = "Option<String>", regex(pattern = "^[0-2][0-9]:[0-5][0-9] ?- ?[0-2][0-9]:[0-5][0-9]$"))
    )]
    pub window: Option<Window>,
    /// The certificate (PEM) of the authority that vouches for the URL, in place of the public ones: for a mirror of your own.
    pub authority: Option<String>,
}

/// What overwrote a secret after use. It means: as before.
pub(crate) const OVERWRITTEN: u8 = b'*';

/// Whether a secret was overwritten after use.
pub fn is_overwritten(secret: &str) -> bool {
    !secret.is_empty() && secret.bytes().all(|byte| byte == OVERWRITTEN)
}

impl Wishes {
    /// These wishes, and where they leave something out, those below them.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            host_name: self.host_name.or(below.host_name),
            site_name: self.site_name.or(below.site_name),
            time_zone: self.time_zone.or(below.time_zone),
            language: self.language.or(below.language),
            claim_code: self.claim_code.or(below.claim_code),
            ntp_servers: if self.ntp_servers.is_empty() { below.ntp_servers } else { self.ntp_servers },
            network: self.network.or(below.network),
            wifi: self.wifi.or(below.wifi),
            tls: self.tls.or(below.tls),
            updates: self.updates.or(below.updates),
        }
    }

    /// Takes one part, by its key in the file, from the wishes of an earlier time.
    pub fn keep(&mut self, key: &str, earlier: &Self) {
        match key {
            "host_name" => self.host_name.clone_from(&earlier.host_name),
            "site_name" => self.site_name.clone_from(&earlier.site_name),
            "time_zone" => self.time_zone.clone_from(&earlier.time_zone),
            "language" => self.language = earlier.language,
            "claim_code" => self.claim_code.clone_from(&earlier.claim_code),
            "ntp_servers" => self.ntp_servers.clone_from(&earlier.ntp_servers),
            "network" => self.network.clone_from(&earlier.network),
            "wifi" => self.wifi.clone_from(&earlier.wifi),
            "tls" => self.tls.clone_from(&earlier.tls),
            "updates" => self.updates.clone_from(&earlier.updates),
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "wishes/schema.rs"]
mod schema;
