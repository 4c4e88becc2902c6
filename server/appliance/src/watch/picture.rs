//! What is known of the box at one moment, and what follows from it. Pure: everything comes in, the time too.

use std::net::IpAddr;
use std::time::Duration;

use posthouse_protocol::Fingerprint;
use posthouse_protocol::appliance::{Language, Ownership, Status};

use super::senses::{Senses, Wireless};

/// How long a box may take from here to its first status and to an address: replaying the log after a power cut takes 90 s at most.
const START_MAX: Duration = Duration::from_secs(120);

/// How long it may take to an address once the server is there.
const ADDRESS_MAX: Duration = Duration::from_secs(30);

/// The processor slows down at 80 °C.
const HOT_C: i32 = 80;

/// Below it the card is about to be full.
const FREE_BYTES_MIN: u64 = 200_000_000;

/// What the box shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// How it is, in a word.
    pub condition: Condition,
    /// The server's version, as far as it has said so.
    pub version: String,
    /// What people call this site.
    pub site_name: Option<String>,
    /// The language to show it in.
    pub language: Language,
    /// Where a browser finds it, the best first.
    pub links: Vec<String>,
    /// The authority's public key.
    pub fingerprint: Option<Fingerprint>,
    /// Who owns it.
    pub ownership: Ownership,
    /// Clients connected now; nothing while there is no server.
    pub clients: Option<u32>,
    /// Of the processor.
    pub temperature_c: Option<i32>,
    /// On the data partition.
    pub free_bytes: Option<u64>,
    /// Its radio.
    pub wireless: Wireless,
    /// What somebody should know or do, what weighs most first.
    pub notes: Vec<Note>,
}

/// How the box is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// On its way.
    Starting,
    /// People can chat.
    Ready,
    /// It works, but nobody can reach it.
    NoNetwork,
    /// Somebody has to do something.
    Fault,
}

/// One thing that somebody should know or do.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// Why there can be no chat; a line of the reason.
    Rescue(String),
    /// The server says nothing of itself: it does not run.
    ServerSilent,
    /// No address.
    NoAddress,
    /// None of these Wi-Fi networks took the box in.
    NotJoined(Vec<String>),
    /// The radio is switched off.
    RadioBlocked,
    /// The supply's voltage is too low.
    UnderVoltage,
    /// The processor is this hot, in degrees Celsius.
    Hot(i32),
    /// The card is about to be full.
    CardFull,
    /// Something is wrong with a file on the card.
    File(String),
    /// The server's own words.
    Said(String),
    /// Nobody has told the box the time.
    TimeUnknown,
}

/// What the server says, as long as it says something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Server<'a> {
    /// Not yet.
    Expected,
    /// It serves.
    Serves(&'a Status),
    /// Not any more, or not in time.
    Silent,
}

impl Picture {
    /// What follows from what the server says and what the watch sees, so long after its start.
    pub fn new(server: Server, senses: &Senses, watched_for: Duration) -> Self {
        let nothing = Status::default();
        let (status, is_serving) = match server {
            Server::Serves(status) => (status, true),
            Server::Expected | Server::Silent => (&nothing, false),
        };
        let settings = &senses.settings;
        let addresses = if status.addresses.is_empty() { &senses.addresses } else { &status.addresses };
        let rescue = rescue(status, senses);
        let condition = condition(server, !rescue.is_empty(), !addresses.is_empty(), watched_for);
        Self {
            condition,
            version: status.version.clone(),
            site_name: status.site_name.clone().or_else(|| settings.site_name.clone()),
            language: if is_serving { status.language } else { settings.language },
            links: links(&status.names, addresses, senses.host_name.as_deref()),
            fingerprint: status.fingerprint,
            ownership: status.ownership.clone(),
            clients: (is_serving && status.rescue.is_none()).then_some(status.clients),
            temperature_c: senses.temperature_c,
            free_bytes: senses.free_bytes.or(status.free_bytes),
            wireless: senses.wireless.clone(),
            notes: notes(server, senses, rescue, condition),
        }
    }

    /// The code that makes somebody the owner, or lets the owner back in.
    pub fn code(&self) -> Option<&str> {
        match &self.ownership {
            Ownership::Unclaimed { code } | Ownership::Recovering { code, .. } => Some(code),
            Ownership::Claimed { .. } | Ownership::Unknown => None,
        }
    }
}

impl Server<'_> {
    /// What a server is that has said nothing for so long, when nothing was heard of it since the watch began.
    pub fn unheard(watched_for: Duration) -> Self {
        if watched_for < START_MAX { Self::Expected } else { Self::Silent }
    }
}

/// Why there can be no chat, a line each: by the disk's units, or else by the server, which may find more.
fn rescue(status: &Status, senses: &Senses) -> Vec<String> {
    match &status.rescue {
        Some(reason) if senses.rescue.is_empty() => reason.lines().map(str::to_owned).collect(),
        _ => senses.rescue.clone(),
    }
}

fn condition(server: Server, has_rescue: bool, has_address: bool, watched_for: Duration) -> Condition {
    if has_rescue {
        return Condition::Fault;
    }
    match server {
        Server::Expected => Condition::Starting,
        Server::Silent => Condition::Fault,
        Server::Serves(_) if has_address => Condition::Ready,
        Server::Serves(_) if watched_for < ADDRESS_MAX => Condition::Starting,
        Server::Serves(_) => Condition::NoNetwork,
    }
}

/// Whatever the names and addresses are called, they are to be typed into a browser.
fn links(names: &[String], addresses: &[IpAddr], host_name: Option<&str>) -> Vec<String> {
    let own = host_name.filter(|_| names.is_empty()).map(|name| format!("http://{name}.local/"));
    let names = names.iter().map(|name| format!("http://{name}/"));
    let addresses = addresses.iter().map(|address| match address {
        IpAddr::V4(four) => format!("http://{four}/"),
        IpAddr::V6(six) => format!("http://[{six}]/"),
    });
    own.into_iter().chain(names).chain(addresses).collect()
}

fn notes(server: Server, senses: &Senses, rescue: Vec<String>, condition: Condition) -> Vec<Note> {
    // One who has no data to serve may be silent, and the reason says more.
    let is_silent = server == Server::Silent && rescue.is_empty();
    let mut notes: Vec<Note> = rescue.into_iter().map(Note::Rescue).collect();
    if is_silent {
        notes.push(Note::ServerSilent);
    }
    if senses.is_under_voltage {
        notes.push(Note::UnderVoltage);
    }
    if condition == Condition::NoNetwork {
        notes.push(Note::NoAddress);
    }
    // A radio has as much time as the rest of the network.
    if condition != Condition::Starting {
        match &senses.wireless {
            Wireless::Searching(names) => notes.push(Note::NotJoined(names.clone())),
            Wireless::Blocked => notes.push(Note::RadioBlocked),
            Wireless::Unused | Wireless::Joined => {}
        }
    }
    notes.extend(senses.temperature_c.filter(|hot| *hot >= HOT_C).map(Note::Hot));
    if senses.free_bytes.is_some_and(|bytes| bytes < FREE_BYTES_MIN) {
        notes.push(Note::CardFull);
    }
    notes.extend(senses.settings.problems.iter().cloned().map(Note::File));
    if let Server::Serves(status) = server {
        let said = status.warnings.iter().filter(|line| !senses.settings.problems.contains(line));
        notes.extend(said.cloned().map(Note::Said));
        if !status.time_synchronised {
            notes.push(Note::TimeUnknown);
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::{Condition, Note, Picture, Server};
    use crate::watch::senses::{Senses, Wireless};
    use posthouse_protocol::appliance::{Language, Settings, Status};
    use std::time::Duration;

    const LATER: Duration = Duration::from_secs(300);

    fn status() -> Status {
        Status {
            names: vec!["posthouse.local".to_owned()],
            addresses: vec!["192.168.1.20".parse().expect("one"), "fd00::20".parse().expect("one")],
            time_synchronised: true,
            ..Status::default()
        }
    }

    fn condition(server: Server, senses: &Senses, seconds: u64) -> Condition {
        Picture::new(server, senses, Duration::from_secs(seconds)).condition
    }

    #[test]
    fn a_box_is_ready_when_it_serves_and_has_an_address() {
        let (status, senses) = (status(), Senses::default());
        assert_eq!(condition(Server::unheard(Duration::ZERO), &senses, 0), Condition::Starting);
        assert_eq!(condition(Server::Serves(&status), &senses, 1), Condition::Ready);
        let alone = Status { addresses: Vec::new(), ..status };
        assert_eq!(condition(Server::Serves(&alone), &senses, 10), Condition::Starting);
        assert_eq!(condition(Server::Serves(&alone), &senses, 31), Condition::NoNetwork);
        let found = Senses { addresses: vec!["10.0.0.2".parse().expect("one")], ..Senses::default() };
        assert_eq!(condition(Server::Serves(&alone), &found, 31), Condition::Ready);
    }

    #[test]
    fn a_silent_server_and_a_bad_card_are_faults() {
        let (status, senses) = (status(), Senses::default());
        assert_eq!(condition(Server::unheard(LATER), &senses, 300), Condition::Fault);
        assert_eq!(Picture::new(Server::Silent, &senses, LATER).notes, [Note::ServerSilent]);
        let worn = Senses { rescue: vec!["Worn out.".to_owned()], ..senses };
        for server in [Server::Serves(&status), Server::Silent] {
            let picture = Picture::new(server, &worn, Duration::ZERO);
            assert_eq!(picture.condition, Condition::Fault);
            assert_eq!(picture.notes, [Note::Rescue("Worn out.".to_owned())]);
        }
    }

    #[test]
    fn a_server_that_can_not_chat_says_why() {
        let reason = Some("The messages cannot be opened.\nWhat to do: try again.".to_owned());
        let status = Status { rescue: reason, ..status() };
        let picture = Picture::new(Server::Serves(&status), &Senses::default(), LATER);
        assert_eq!((picture.condition, picture.clients), (Condition::Fault, None));
        let said =
            ["The messages cannot be opened.", "What to do: try again."].map(|line| Note::Rescue(line.to_owned()));
        assert_eq!(picture.notes, said);
        // What the disk's units have found is not told twice.
        let worn = Senses { rescue: vec!["Worn out.".to_owned()], ..Senses::default() };
        let picture = Picture::new(Server::Serves(&status), &worn, LATER);
        assert_eq!(picture.notes, [Note::Rescue("Worn out.".to_owned())]);
    }

    #[test]
    fn names_come_before_addresses_and_the_kernel_s_name_where_no_server_says_one() {
        let senses = Senses { host_name: Some("box7".to_owned()), ..Senses::default() };
        let picture = Picture::new(Server::Serves(&status()), &senses, LATER);
        assert_eq!(picture.links, ["http://posthouse.local/", "http://192.168.1.20/", "http://[fd00::20]/"]);
        assert_eq!(Picture::new(Server::Expected, &senses, LATER).links, ["http://box7.local/"]);
    }

    #[test]
    fn each_trouble_is_noted_once() {
        let settings =
            Settings { problems: vec!["line 2".to_owned()], language: Language::Chinese, ..Settings::default() };
        let senses = Senses {
            is_under_voltage: true,
            temperature_c: Some(81),
            free_bytes: Some(1_000_000),
            wireless: Wireless::Searching(vec!["School".to_owned()]),
            settings,
            ..Senses::default()
        };
        let status = Status {
            warnings: vec!["line 2".to_owned(), "slow card".to_owned()],
            time_synchronised: false,
            ..status()
        };
        let picture = Picture::new(Server::Serves(&status), &senses, LATER);
        let expected = [
            Note::UnderVoltage,
            Note::NotJoined(vec!["School".to_owned()]),
            Note::Hot(81),
            Note::CardFull,
            Note::File("line 2".to_owned()),
            Note::Said("slow card".to_owned()),
            Note::TimeUnknown,
        ];
        assert_eq!(picture.notes, expected);
        // Until the server speaks the card does.
        assert_eq!(picture.language, Language::English);
        assert_eq!(Picture::new(Server::Expected, &senses, LATER).language, Language::Chinese);
    }
}
