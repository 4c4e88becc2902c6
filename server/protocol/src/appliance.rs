//! What the programs of one box tell each other by files: the settings that the server is started with, and what it says of
//! itself to the console. Not part of the wire; a field that an older program does not know is left alone.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Fingerprint;

/// What the card's owner wants of the server, as the box's provisioning has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The box's name on the network, without a domain.
    pub host_name: Option<String>,
    /// What people call this site.
    pub site_name: Option<String>,
    /// The language of pages and of the console.
    pub language: Language,
    /// Further DNS names that clients reach the box by.
    pub names: Vec<String>,
    /// A claim code of the owner's own, valid until it is used.
    pub claim_code: Option<String>,
    /// Whether chatting without TLS is allowed.
    pub plain_http: PlainHttp,
    /// Whether the box was asked, by a file on its card, to let its owner back in.
    pub recover_owner: bool,
    /// What was wrong with the files on the card, a line each, for people.
    pub problems: Vec<String>,
}

/// A language that pages and console are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    English,
    /// Simplified Chinese.
    #[serde(rename = "zh")]
    Chinese,
}

/// Whether a client may chat over a connection that others on the network can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainHttp {
    /// Whoever chooses so, after being told what it costs.
    #[default]
    Allowed,
    /// Nobody.
    Refused,
}

/// What the server says of itself to the programs that show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// What people call this site.
    pub site_name: Option<String>,
    /// The language to show it in.
    pub language: Language,
    /// Names that the box answers to, the best first.
    pub names: Vec<String>,
    /// Its addresses, the best first.
    pub addresses: Vec<IpAddr>,
    /// The authority's public key, by which clients know the box; missing where there is no TLS.
    pub fingerprint: Option<Fingerprint>,
    /// Who owns the box, or how to come to own it.
    pub ownership: Ownership,
    /// Clients connected now.
    pub clients: u32,
    /// Whether the clock is right, as far as the system knows.
    pub time_synchronised: bool,
    /// Bytes free on the data partition.
    pub free_bytes: Option<u64>,
    /// What somebody should know or do, a line each, for people.
    pub warnings: Vec<String>,
}

/// Who owns the box.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Ownership {
    /// Not known yet.
    #[default]
    Unknown,
    /// Nobody, and this code makes somebody its owner.
    Unclaimed {
        /// As it is to be typed.
        code: String,
    },
    /// Somebody.
    Claimed {
        /// The owner's user name.
        owner: String,
    },
    /// Somebody who has forgotten the password, and may set a new one by this code.
    Recovering {
        /// The owner's user name.
        owner: String,
        /// As it is to be typed.
        code: String,
    },
}
