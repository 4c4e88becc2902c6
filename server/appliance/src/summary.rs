//! What wishes come to, in lines for people. Secrets are not in them.

use posthouse_protocol::appliance::{Language, PlainHttp};

use crate::wishes::{Addressing, Method, Wishes};

impl Wishes {
    /// A line for each wish.
    pub fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut tell = |name: &str, value: Option<String>| lines.extend(value.map(|value| format!("{name}: {value}")));
        tell("host name", self.host_name.as_ref().map(|name| format!("{name} ({name}.local)")));
        tell("site name", self.site_name.clone());
        tell("time zone", self.time_zone.clone());
        tell("language", self.language.map(|language| language_name(language).to_owned()));
        tell("claim code", self.claim_code.as_ref().map(|_| "set".to_owned()));
        tell("time servers", listed(&self.ntp_servers));
        tell("wired network", self.network.as_ref().map(addressing));
        tell(
            "Wi-Fi",
            self.wifi.as_ref().map(|wifi| {
                let lock = if wifi.password.is_some() { "with a password" } else { "open" };
                let country = wifi.country.as_deref().unwrap_or("no country");
                let hidden = if wifi.hidden { ", hidden" } else { "" };
                format!("{}, {lock}, {country}{hidden}, {}", wifi.ssid, addressing(&wifi.addressing))
            }),
        );
        let tls = self.tls.clone().unwrap_or_default();
        let refused = tls.plain_http == Some(PlainHttp::Refused);
        tell("chat without TLS", refused.then(|| "refused".to_owned()));
        tell("further names", listed(&tls.names));
        let updates = self.updates.clone().unwrap_or_default();
        let when = |by_itself: bool| if by_itself { "installed by themselves" } else { "installed by hand only" };
        tell("updates from", updates.url);
        tell("updates of channel", updates.channel);
        tell("updates are", updates.automatic.map(|by_itself| when(by_itself).to_owned()));
        tell("updates are installed at", updates.window.map(|window| window.to_string()));
        tell("own authority for updates", updates.authority.map(|_| "set".to_owned()));
        lines
    }
}

fn language_name(language: Language) -> &'static str {
    match language {
        Language::English => "English",
        Language::Chinese => "简体中文",
    }
}

fn listed<T: ToString>(list: &[T]) -> Option<String> {
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    (!list.is_empty()).then(|| list.join(", "))
}

fn addressing(found: &Addressing) -> String {
    let addresses: Vec<String> = found.addresses.iter().map(|(address, len)| format!("{address}/{len}")).collect();
    let gateways = listed(&found.gateways).map_or_else(String::new, |gateways| format!(" by {gateways}"));
    let dns = listed(&found.dns).map_or_else(String::new, |dns| format!(", names from {dns}"));
    match found.method {
        Method::Dhcp => format!("address from the network{dns}"),
        Method::Static => format!("{}{gateways}{dns}", addresses.join(", ")),
    }
}
