//! `posthouse.toml`: from its bytes to wishes, and every mistake in it with its line.

mod section;
mod values;

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::DeTable;

use self::section::{Findings, Section};
pub(crate) use self::values::{host_name, ssid, time_zone, wifi_country, wifi_password};
use crate::problem::Problem;
use crate::text::Text;
use crate::wishes::{Addressing, Method, OVERWRITTEN, Tls, Updates, Wifi, Wishes};

/// Its name on the card.
pub const NAME: &str = "posthouse.toml";
/// The JSON Schema of what it may hold.
pub const SCHEMA: &str = include_str!("../schema/posthouse.toml.json");
/// More than this is no file that a person wrote, in bytes.
pub const LEN_MAX: u64 = 64 * 1024;
/// More mistakes than these are counted only: nobody reads on.
const PROBLEMS_MAX: usize = 20;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What of it can be used.
    pub wishes: Wishes,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// The keys of [`Wishes`] that it says something about which can't be used. As they were before is better than as they would be
    /// without the file.
    pub broken: BTreeSet<String>,
    /// Nothing of it can be used.
    pub is_unreadable: bool,
    /// Where in the file secrets stand that can be used.
    pub secrets: Vec<Secret>,
}

/// A secret in a file, and what is to overwrite it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its bytes.
    pub place: Range<usize>,
    /// As many others, which mean: as before.
    pub filler: Vec<u8>,
}

impl Secret {
    /// The secret that a part of a text is.
    pub(crate) fn of(text: &Text, part: &Range<usize>) -> Self {
        let place = text.place(part);
        let filler = text.fill(&place, OVERWRITTEN);
        Self { place, filler }
    }
}

impl Reading {
    /// What of the wishes counts on a box that knows no earlier ones.
    pub fn usable(&self) -> Wishes {
        let mut usable = self.wishes.clone();
        for key in &self.broken {
            usable.keep(key, &Wishes::default());
        }
        usable
    }

    /// Of a file that can't be read at all.
    pub fn unreadable(problem: Problem) -> Self {
        Self { problems: vec![problem], is_unreadable: true, ..Self::default() }
    }
}

/// Reads the file's bytes.
pub fn read(bytes: &[u8]) -> Reading {
    let len = bytes.len() as u64;
    if len > LEN_MAX {
        return Reading::unreadable(Problem::of_file(NAME, format!("it has {len} bytes, and may have {LEN_MAX}")));
    }
    match Text::read(bytes) {
        Ok(text) => read_text(&text),
        Err(error) => Reading::unreadable(Problem::of_file(NAME, error.to_string())),
    }
}

fn read_text(text: &Text) -> Reading {
    let content = text.content.as_str();
    let (table, errors) = DeTable::parse_recoverable(content);
    let mut findings = Findings {
        file: NAME,
        text: content,
        problems: Vec::new(),
        broken: BTreeSet::new(),
        secrets: Vec::new(),
        known: BTreeSet::new(),
    };
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        findings.object(at, format!("this is not TOML: {}", error.message().replace('\n', ", ")));
    }
    let of_syntax: BTreeSet<_> = findings.problems.iter().map(|problem| problem.line).collect();
    let wishes = read_wishes(&mut Section::top(table.get_ref(), &mut findings));
    let syntax_problems = errors.len();
    let mut count = 0;
    // What a line means that is not TOML is anybody's guess.
    findings.problems.retain(|problem| {
        count += 1;
        count <= syntax_problems || !of_syntax.contains(&problem.line)
    });
    findings.problems.sort_by_key(|problem| problem.line);
    findings.problems.dedup();
    shorten(&mut findings.problems);
    let used = findings.secrets.iter().filter(|(key, _)| errors.is_empty() && !findings.broken.contains(key));
    let secrets = used.map(|(_, part)| Secret::of(text, part)).collect();
    Reading {
        wishes: if errors.is_empty() { wishes } else { Wishes::default() },
        problems: findings.problems,
        broken: findings.broken,
        is_unreadable: !errors.is_empty(),
        secrets,
    }
}

fn shorten(problems: &mut Vec<Problem>) {
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    if more > 0 {
        problems.truncate(PROBLEMS_MAX);
        problems.push(Problem::of_file(NAME, format!("and {more} further mistakes")));
    }
}

fn read_wishes(top: &mut Section<'_, '_, '_>) -> Wishes {
    let wishes = Wishes {
        host_name: top.text("host_name", values::host_name),
        site_name: top.text("site_name", values::site_name),
        time_zone: top.text("time_zone", values::time_zone),
        language: top.text("language", values::language),
        claim_code: top.secret("claim_code", values::claim_code),
        ntp_servers: top.texts("ntp_servers", values::time_server),
        // A section without a word in it is not there.
        network: top.section("network", addressing).filter(|network| *network != Addressing::default()),
        wifi: top.section("wifi", wifi),
        tls: top.section("tls", tls),
        updates: top.section("updates", updates).filter(|updates| *updates != Updates::default()),
    };
    top.tell_unknown();
    wishes
}

fn tls(section: &mut Section<'_, '_, '_>) -> Tls {
    Tls { plain_http: section.text("plain_http", values::plain_http), names: section.texts("names", values::dns_name) }
}

fn updates(section: &mut Section<'_, '_, '_>) -> Updates {
    Updates {
        url: section.text("url", values::update_url),
        channel: section.text("channel", values::channel),
        automatic: section.flag("automatic"),
        window: section.text("window", values::window),
        authority: section.text("authority", values::authority),
    }
}

fn wifi(section: &mut Section<'_, '_, '_>) -> Wifi {
    if !section.has("ssid") {
        section.object_to("ssid", "[wifi] needs the network's name: ssid = \"…\"");
    }
    if !section.has("country") {
        section.object_to("country", "[wifi] needs the country that the box is in: country = \"CN\"");
    }
    Wifi {
        ssid: section.text("ssid", values::ssid).unwrap_or_default(),
        password: section.secret("password", values::wifi_password),
        country: section.text("country", values::wifi_country),
        hidden: section.flag("hidden").unwrap_or_default(),
        addressing: addressing(section),
    }
}

fn addressing(section: &mut Section<'_, '_, '_>) -> Addressing {
    let has_addresses = section.has("address");
    let found = Addressing {
        method: section.text("method", values::method).unwrap_or_default(),
        addresses: section.texts("address", values::address_in_network),
        gateways: section.texts("gateway", values::address),
        dns: section.texts("dns", values::address),
    };
    match found.method {
        Method::Static if !has_addresses => {
            section
                .object_to("method", "the method \"static\" needs an address, such as address = \"192.168.1.10/24\"");
        }
        Method::Dhcp if has_addresses || section.has("gateway") => {
            section.object_to(
                "address",
                "address and gateway are for the method \"static\" only: add method = \"static\"",
            );
        }
        _ => {}
    }
    let is_near = |gateway: std::net::IpAddr| {
        found.addresses.iter().any(|network| values::is_in(gateway, *network) && gateway != network.0)
    };
    let is_link_local = |gateway| matches!(gateway, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local());
    if found.method == Method::Static {
        for gateway in found.gateways.iter().filter(|gateway| !is_near(**gateway) && !is_link_local(**gateway)) {
            section.object_to("gateway", format!("the gateway {gateway} is not in the network of the address"));
        }
    }
    found
}

#[cfg(test)]
mod tests;
