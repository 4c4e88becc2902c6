//! The JSON Schema of `posthouse.toml`, generated from the types. `POSTHOUSE_WRITE_SCHEMA=1 cargo test -p posthouse-appliance schema`
//! writes the file anew.

use schemars::JsonSchema;

/// A language of pages and console.
#[derive(JsonSchema)]
#[schemars(inline)]
#[allow(dead_code)]
pub enum Languages {
    /// English.
    #[schemars(rename = "en")]
    English,
    /// Simplified Chinese.
    #[schemars(rename = "zh")]
    Chinese,
}

#[derive(JsonSchema)]
#[schemars(inline, rename_all = "lowercase")]
#[allow(dead_code)]
pub enum PlainHttpChoice {
    /// Whoever chooses so, after being told what it costs.
    Allowed,
    /// Nobody.
    Refused,
}

/// One or several.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
#[allow(dead_code)]
pub enum Texts {
    /// One.
    One(String),
    /// Several.
    List(#[schemars(length(max = 16))] Vec<String>),
}

/// How an interface comes to its addresses, as the file says it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Addressing {
    /// Who gives the addresses: the network ("dhcp"), or this file.
    #[serde(default)]
    method: super::Method,
    /// Addresses with the length of their network's prefix, such as 192.168.1.10/24.
    address: Option<Texts>,
    /// The way out of the network, such as 192.168.1.1.
    gateway: Option<Texts>,
    /// Name servers, by address.
    dns: Option<Texts>,
}

/// A wireless network, as the file says it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code)]
pub struct Wifi {
    /// Its name, of 1 to 32 bytes.
    #[schemars(length(min = 1, max = 32))]
    ssid: String,
    /// Its password of 8 to 63 characters, or its key of 64 hexadecimal digits; none where the network is open.
    #[schemars(regex(pattern = r"^(\*+|[ -~]{8,63}|[0-9A-Fa-f]{64})$"))]
    password: Option<String>,
    /// The country whose rules for radio apply, by its two letters (ISO 3166-1).
    #[schemars(regex(pattern = "^[A-Za-z]{2}$"))]
    country: String,
    /// Whether the network does not tell its name.
    #[serde(default)]
    hidden: bool,
    /// Who gives the addresses: the network ("dhcp"), or this file.
    #[serde(default)]
    method: super::Method,
    /// Addresses with the length of their network's prefix, such as 192.168.1.10/24.
    address: Option<Texts>,
    /// The way out of the network, such as 192.168.1.1.
    gateway: Option<Texts>,
    /// Name servers, by address.
    dns: Option<Texts>,
}
