//! What Raspberry Pi Imager leaves on the boot partition of an image with `init_format: cloudinit`: `user-data` and `network-config`.
//! Host name, time zone and Wi-Fi are taken from them; what else they ask for is named, and ignored.

mod yaml;

use self::yaml::{Node, Value};
use crate::file::{self, Reading, Secret};
use crate::problem::Problem;
use crate::text::Text;
use crate::wishes::{Addressing, Wifi, Wishes};

/// Its names on the card.
pub const USER_DATA: &str = "user-data";
/// See [`USER_DATA`].
pub const NETWORK_CONFIG: &str = "network-config";
/// What older versions write for images that run it.
pub const FIRST_RUN: &str = "firstrun.sh";

/// Reads `user-data`.
pub fn user_data(bytes: &[u8]) -> Reading {
    read(USER_DATA, bytes, |document, root| {
        let host_name = document.take(root.get("hostname"), "host_name", file::host_name);
        let time_zone = document.take(root.get("timezone"), "time_zone", file::time_zone);
        let ignored: Vec<&str> = root
            .entries()
            .iter()
            .filter_map(|(key, _)| key.text())
            .filter(|key| !matches!(*key, "hostname" | "timezone" | "manage_etc_hosts"))
            .collect();
        document.tell_ignored(&ignored);
        Wishes { host_name, time_zone, ..Wishes::default() }
    })
}

/// Reads `network-config`.
pub fn network_config(bytes: &[u8]) -> Reading {
    read(NETWORK_CONFIG, bytes, |document, root| {
        let network = root.get("network").unwrap_or(root);
        let mut ignored: Vec<String> = Vec::new();
        let mut ignore = |path: &str, node: &Node, known: &[&str]| {
            let keys = node.entries().iter().filter_map(|(key, _)| key.text());
            ignored.extend(keys.filter(|key| !known.contains(key)).map(|key| format!("{path}{key}")));
        };
        ignore("", network, &["version", "renderer", "wifis"]);
        let interfaces = network.get("wifis").map(Node::entries).unwrap_or_default();
        let interfaces = interfaces.iter().filter(|(_, interface)| !interface.entries().is_empty());
        let mut wifi = None;
        for (name, interface) in interfaces {
            let path = format!("wifis.{}.", name.text().unwrap_or_default());
            ignore(&path, interface, &["access-points", "regulatory-domain", "dhcp4", "dhcp6", "optional", "renderer"]);
            let points = interface.get("access-points").map(Node::entries).unwrap_or_default();
            for (ssid, point) in points.iter().skip(usize::from(wifi.is_none())) {
                ignore(
                    &format!("{path}access-points."),
                    &Node { value: Value::Map(vec![(ssid.clone(), point.clone())]), at: 0 },
                    &[],
                );
            }
            if let (None, Some((ssid, point))) = (&wifi, points.first()) {
                ignore(
                    &format!("{path}access-points.{}.", ssid.text().unwrap_or_default()),
                    point,
                    &["password", "hidden"],
                );
                wifi = document.wifi(interface, ssid, point);
            }
        }
        let ignored: Vec<&str> = ignored.iter().map(String::as_str).collect();
        document.tell_ignored(&ignored);
        Wishes { wifi, ..Wishes::default() }
    })
}

struct Document<'t> {
    name: &'static str,
    text: &'t Text,
    reading: Reading,
}

fn read(name: &'static str, bytes: &[u8], wishes: impl FnOnce(&mut Document<'_>, &Node) -> Wishes) -> Reading {
    if bytes.len() as u64 > file::LEN_MAX {
        return Reading::unreadable(Problem::of_file(
            name,
            format!("it has {} bytes, and may have {}", bytes.len(), file::LEN_MAX),
        ));
    }
    let text = match Text::read(bytes) {
        Ok(text) => text,
        Err(error) => return Reading::unreadable(Problem::of_file(name, error.to_string())),
    };
    match yaml::parse(&text.content) {
        Err(error) => {
            let what = format!("this is not YAML as Raspberry Pi Imager writes it: {}", error.what);
            Reading::unreadable(Problem::at(name, &text.content, error.at, what))
        }
        Ok(root) if root.text().is_some_and(|text| !text.is_empty()) || matches!(root.value, Value::List(_)) => {
            Reading::unreadable(Problem::of_file(name, "it holds no settings"))
        }
        Ok(root) => {
            let mut document = Document { name, text: &text, reading: Reading::default() };
            let wishes = wishes(&mut document, &root);
            // What is not used is not overwritten.
            if document.reading.broken.contains("wifi") {
                document.reading.secrets.clear();
            }
            Reading { wishes, ..document.reading }
        }
    }
}

impl Document<'_> {
    fn object(&mut self, key: &str, at: usize, what: impl Into<String>) {
        self.reading.problems.push(Problem::at(self.name, &self.text.content, at, what));
        self.reading.broken.insert(key.to_owned());
    }

    fn take<T>(&mut self, node: Option<&Node>, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let node = node?;
        let Some(text) = node.text() else {
            self.object(key, node.at, "this has to be a text");
            return None;
        };
        if text.is_empty() {
            return None;
        }
        read(text).map_err(|what| self.object(key, node.at, what)).ok()
    }

    fn wifi(&mut self, interface: &Node, ssid: &Node, point: &Node) -> Option<Wifi> {
        let password = point.get("password");
        if let Some(Value::Text { inner, .. }) = password.map(|node| &node.value) {
            match inner {
                Some(inner) => self.reading.secrets.push(Secret::of(self.text, inner)),
                None => {
                    let at = password.map_or(0, |node| node.at);
                    let what = "the Wi-Fi password stays readable on the card, for it has no quotation marks";
                    self.reading.problems.push(Problem::at(self.name, &self.text.content, at, what));
                }
            }
        }
        let country = self.take(interface.get("regulatory-domain"), "wifi", file::wifi_country);
        let password = self.take(password, "wifi", file::wifi_password);
        let hidden = point.get("hidden").and_then(Node::text) == Some("true");
        let ssid = self.take(Some(ssid), "wifi", file::ssid)?;
        Some(Wifi { ssid, password, country, hidden, addressing: Addressing::default() })
    }

    fn tell_ignored(&mut self, ignored: &[&str]) {
        if !ignored.is_empty() {
            let what = format!("ignored, for the box has no log-in and installs nothing: {}", ignored.join(", "));
            self.reading.problems.push(Problem::of_file(self.name, what));
        }
    }
}

#[cfg(test)]
mod tests;
