//! The front door: how a device comes to trust this box, and how it goes on without.
//!
//! Whoever comes without TLS comes here first. A script looks whether this device trusts the box already and moves on then; without
//! it, a link does the same.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue, USER_AGENT};
use hyper::{Response, StatusCode};
use posthouse_protocol::appliance::{Language, PlainHttp};

use super::language::{ANDROID, IPHONE, LINUX, MACOS, Part, TRUST, WINDOWS, WITHOUT, Words, either};
use super::{Asked, Web};
use crate::listener::Carrier;
use crate::page;
use crate::tls::TrustMaterial;

/// The port that browsers use for `https://` by themselves (RFC 9110, §4.2.2).
const HTTPS_PORT: u16 = 443;

/// A kind of device, by what somebody has to do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Windows,
    Mac,
    IPhone,
    Android,
    Linux,
}

/// This box by TLS.
pub(super) struct Secured {
    /// What to trust.
    pub material: Arc<TrustMaterial>,
    /// Where: scheme, host and port.
    pub address: String,
}

impl Device {
    const ALL: [Self; 5] = [Self::Windows, Self::Mac, Self::IPhone, Self::Android, Self::Linux];

    /// Whose steps are at this path.
    fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|device| path == device.path())
    }

    /// What a browser says that it runs on. An iPad says that it is a Mac, and its owner finds the other steps by a link.
    fn of(user_agent: &str) -> Self {
        let says = |word: &str| user_agent.contains(word);
        match () {
            () if says("iPhone") || says("iPad") => Self::IPhone,
            () if says("Android") => Self::Android,
            () if says("Windows") => Self::Windows,
            () if says("Macintosh") => Self::Mac,
            () => Self::Linux,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Windows => "/trust/windows",
            Self::Mac => "/trust/mac",
            Self::IPhone => "/trust/iphone",
            Self::Android => "/trust/android",
            Self::Linux => "/trust/linux",
        }
    }

    fn words(self) -> Words {
        match self {
            Self::Windows => WINDOWS,
            Self::Mac => MACOS,
            Self::IPhone => IPHONE,
            Self::Android => ANDROID,
            Self::Linux => LINUX,
        }
    }

    fn name(self, language: Language) -> String {
        match self {
            Self::Windows => "Windows".to_owned(),
            Self::Mac => "Mac".to_owned(),
            Self::IPhone => either(language, "iPhone, iPad", "iPhone、iPad"),
            Self::Android => either(language, "Android", "安卓"),
            Self::Linux => either(language, "others", "其他"),
        }
    }
}

impl Web {
    /// What is at the paths that have to do with trust.
    pub(super) fn trust(&self, asked: &Asked, secured: &Secured, path: &str) -> Option<Response<Full<Bytes>>> {
        match (path, asked.visit.carrier) {
            ("/", Carrier::Plain) | ("/trust", _) => Some(self.front_door(asked, secured, None)),
            ("/trust/ca.crt", _) => Some(certificate(secured)),
            ("/trust/ca.mobileconfig", _) => Some(profile(secured)),
            // What says that this device trusts the box: it gets no answer otherwise.
            ("/trusted", Carrier::Secure) => Some(page::may_be_asked_for(page::text(StatusCode::OK, "trusted"))),
            (path, _) => Device::at(path).map(|device| self.front_door(asked, secured, Some(device))),
        }
    }

    /// This box by TLS, where it has that and the authority has answered.
    pub(super) fn secured(&self, asked: &Asked) -> Option<Secured> {
        let material = self.trust.borrow().clone()?;
        let host = host(&asked.address);
        let address = match self.secure_port? {
            HTTPS_PORT => format!("https://{host}"),
            port => format!("https://{host}:{port}"),
        };
        Some(Secured { material, address })
    }

    /// The steps of a device: of that one, or of the one that asks.
    fn front_door(&self, asked: &Asked, secured: &Secured, device: Option<Device>) -> Response<Full<Bytes>> {
        let language = asked.language;
        let user_agent = asked.head.headers.get(USER_AGENT).and_then(|header| header.to_str().ok());
        let device = device.unwrap_or_else(|| Device::of(user_agent.unwrap_or_default()));
        let steps = device.words().fill(language, &[("secure", Part::text(&secured.address))]);
        let others = Device::ALL.into_iter().filter(|other| *other != device).map(|other| {
            let (path, tag, name) = (other.path(), either(language, "en", "zh"), other.name(language));
            format!(r#"<a href="{path}?lang={tag}" data-keep>{name}</a>"#)
        });
        let parts = [
            ("secure", Part::text(&secured.address)),
            ("steps", Part::Markup(steps)),
            ("devices", Part::Markup(others.collect::<Vec<_>>().join(" "))),
            ("fingerprint", self.fingerprint(language)),
            ("without", self.without(asked)),
        ];
        let page = self.page(language, StatusCode::OK, TRUST.fill(language, &parts));
        page::may_ask(page, &secured.address)
    }

    /// How to go on without, where the owner allows it.
    fn without(&self, asked: &Asked) -> Part {
        if self.settings.plain_http == PlainHttp::Refused || asked.visit.carrier == Carrier::Secure {
            return Part::nothing();
        }
        let path = if self.claim.owner().is_some() { "/home" } else { "/claim" };
        let path = format!("{path}?lang={}", either(asked.language, "en", "zh"));
        Part::Markup(WITHOUT.fill(asked.language, &[("plain", Part::text(&path))]))
    }

    /// Before somebody types a password where others can read it.
    pub(super) fn plain_warning(&self, asked: &Asked) -> Part {
        if asked.visit.carrier == Carrier::Secure || self.secured(asked).is_none() {
            return Part::nothing();
        }
        let (words, link) = match asked.language {
            Language::English => {
                ("This connection is not protected: others in this network can read your password.", "Protect it first")
            }
            Language::Chinese => ("这个连接没有加密：同一网络里的其他人能看到你的密码。", "先加密连接"),
        };
        let tag = either(asked.language, "en", "zh");
        Part::Markup(format!(r#"<p class="note">{words} <a href="/?lang={tag}">{link}</a></p>"#))
    }
}

/// The authority's certificate, as Windows, macOS, Android and browsers take it (DER).
fn certificate(secured: &Secured) -> Response<Full<Bytes>> {
    let content = Bytes::copy_from_slice(&secured.material.root);
    download(
        page::answer(StatusCode::OK, "application/x-x509-ca-cert", content),
        "attachment; filename=\"posthouse.crt\"",
    )
}

/// The same as a profile for iPhone and iPad.
fn profile(secured: &Secured) -> Response<Full<Bytes>> {
    let content = secured.material.mobile_profile();
    let answer = page::answer(StatusCode::OK, "application/x-apple-aspen-config", content);
    download(answer, "attachment; filename=\"posthouse.mobileconfig\"")
}

fn download(mut response: Response<Full<Bytes>>, disposition: &'static str) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    response
}

/// The host of an address, with its brackets if it has some.
fn host(address: &str) -> &str {
    let authority = address.split_once("://").map_or(address, |(_, authority)| authority);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) && !port.is_empty() => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_finds_its_own_steps() {
        for (user_agent, device) in [
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36", Device::Windows),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15", Device::Mac),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)", Device::IPhone),
            ("Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X)", Device::IPhone),
            ("Mozilla/5.0 (Linux; Android 14; Pixel 8)", Device::Android),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0)", Device::Linux),
            ("", Device::Linux),
        ] {
            assert_eq!(Device::of(user_agent), device, "{user_agent}");
        }
        for device in Device::ALL {
            assert_eq!(Device::at(device.path()), Some(device));
        }
        assert_eq!(Device::at("/trust/"), None);
    }

    #[test]
    fn the_port_is_no_part_of_the_host() {
        for (address, expected) in [
            ("http://posthouse.local", "posthouse.local"),
            ("http://posthouse.local:8080", "posthouse.local"),
            ("http://[fd00::9]:80", "[fd00::9]"),
            ("http://[fd00::9]", "[fd00::9]"),
            ("https://192.168.1.9:8443", "192.168.1.9"),
        ] {
            assert_eq!(host(address), expected);
        }
    }
}
