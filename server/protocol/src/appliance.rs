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
    /// Where updates of the server come from.
    pub updates: Updates,
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

/// Where updates of the server come from, and when they are installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Updates {
    /// Where the box looks for them by itself (`https://…`); below it lies `CHANNEL/ARCH.phb`.
    pub url: Option<String>,
    /// Which of them are meant for this box.
    pub channel: String,
    /// Whether those from the URL are installed without anybody asking for it.
    pub automatic: bool,
    /// When they are.
    pub window: Window,
    /// Certificates of authorities that vouch for the URL in place of the public ones, as PEM.
    pub authority: Option<String>,
}

impl Default for Updates {
    fn default() -> Self {
        let channel = "stable".to_owned();
        Self { url: None, channel, automatic: true, window: Window::default(), authority: None }
    }
}

/// A part of each day in local time, written `03:00-05:00`. It may reach over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    /// Its first minute, counted from midnight.
    pub from: u16,
    /// The minute at which it is over.
    pub until: u16,
}

/// Minutes of a day.
const DAY: u16 = 24 * 60;

impl Window {
    /// How many minutes it has: a day's, where it ends as it begins.
    pub fn minutes(self) -> u16 {
        match (self.until + DAY - self.from) % DAY {
            0 => DAY,
            minutes => minutes,
        }
    }

    /// Whether this minute of a day lies in it.
    pub fn contains(self, minute: u16) -> bool {
        (minute % DAY + DAY - self.from) % DAY < self.minutes()
    }
}

impl Default for Window {
    fn default() -> Self {
        Self { from: 3 * 60, until: 5 * 60 }
    }
}

impl core::str::FromStr for Window {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let minute = |text: &str| {
            let (hours, minutes) = text.trim().split_once(':')?;
            let number = |digits: &str| digits.parse::<u16>().ok().filter(|_| digits.len() == 2);
            let (hours, minutes) = (number(hours)?, number(minutes)?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let bounds = text.split_once('-').and_then(|(from, until)| Some((minute(from)?, minute(until)?)));
        let (from, until) = bounds.ok_or("a window is written as 03:00-05:00")?;
        Ok(Self { from, until })
    }
}

impl TryFrom<String> for Window {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl core::fmt::Display for Window {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
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
    /// Why there is no chat, for people; missing where there is.
    pub rescue: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_read_as_it_is_written_and_may_reach_over_midnight() {
        let window: Window = "22:30-01:00".parse().expect("a window");
        assert_eq!((window.to_string().as_str(), window.minutes()), ("22:30-01:00", 150));
        for (minute, is_in) in [(22 * 60 + 29, false), (22 * 60 + 30, true), (0, true), (59, true), (60, false)] {
            assert_eq!(window.contains(minute), is_in, "{minute}");
        }
        let whole: Window = "00:00-00:00".parse().expect("a window");
        assert!(whole.contains(0) && whole.contains(DAY - 1));
        assert_eq!(Window::default().to_string(), "03:00-05:00");
        for odd in ["", "3-5", "03:00", "24:00-01:00", "03:60-05:00", "3:00-5:00", "03:00-05:00-06:00", "-1:00-05:00"] {
            assert!(odd.parse::<Window>().is_err(), "{odd}");
        }
    }
}
