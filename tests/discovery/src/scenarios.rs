//! What is tried, each on networks of its own. A scenario says what it measured.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use posthouse_e2e::random::Random;
use posthouse_e2e::wait::until;
use posthouse_e2e::{BoxAuthority, Site, binaries};

use crate::lan::{Cable, Host, Lan, Versions};
use crate::peers::{Avahi, Watcher};
use crate::query::{self, addresses, until_addresses};
use crate::server::{PORT, SECURE_PORT, Server};

/// How often what is timed is repeated: the median stands, since other programs share the machine.
const ROUNDS: usize = 3;

/// Within which a box is to be found after it serves, and gone after its goodbye.
const WITHIN: Duration = Duration::from_secs(2);

/// How long something that must not happen is waited for.
const CALM: Duration = Duration::from_secs(3);

const NAME: &str = "posthouse.local";
const SECOND_NAME: &str = "posthouse-2.local";

/// Something to try.
pub struct Scenario {
    pub name: &'static str,
    pub run: fn() -> String,
}

pub const ALL: [Scenario; 12] = [
    Scenario { name: "found_in_time_and_gone_in_time", run: found_and_gone },
    Scenario { name: "a_restart_is_not_noticed", run: restarted },
    Scenario { name: "the_second_box_takes_another_name", run: clash },
    Scenario { name: "boxes_that_start_at_once_get_different_names", run: at_once },
    Scenario { name: "of_boxes_whose_networks_are_joined_one_gives_way", run: joined },
    Scenario { name: "a_link_and_an_address_are_followed", run: followed },
    Scenario { name: "ipv6_alone_suffices", run: ipv6_only },
    Scenario { name: "each_network_hears_its_own_addresses", run: two_interfaces },
    Scenario { name: "a_client_finds_the_box_by_itself", run: client },
    Scenario { name: "https_is_told_once_there_is_a_certificate", run: secure_later },
    Scenario { name: "the_firewall_lets_the_network_ask", run: firewall },
    Scenario { name: "garbage_changes_nothing", run: garbage },
];

/// A network with a box and somebody who looks for it.
struct Street {
    lan: Lan,
    home: Host,
    door: Cable,
    peer: Host,
    window: Cable,
}

impl Street {
    fn new(number: u8, versions: Versions) -> Self {
        let (lan, home, peer) = (Lan::new(number), Host::new("box"), Host::new("peer"));
        let (door, window) = (lan.plug(&home, versions), lan.plug(&peer, versions));
        Self { lan, home, door, peer, window }
    }

    /// Asks for a name from the peer until it has these addresses.
    fn until(&self, name: &str, wanted: &[&str]) -> Duration {
        until_addresses(&self.peer, &self.window.interface, Versions::Both, name, wanted)
    }

    /// The addresses of a name, as the peer hears them.
    fn ask(&self, name: &str) -> Vec<String> {
        let found = addresses(&self.peer, &self.window.interface, Versions::Both, name);
        found.iter().map(ToString::to_string).collect()
    }
}

fn found_and_gone() -> String {
    let street = Street::new(10, Versions::Both);
    let avahi = Avahi::start(&street.peer);
    let (browse, zeroconf) = (avahi.watch(), Watcher::zeroconf(&street.peer, Versions::Both));
    let mut server = Server::off(&street.home, "posthouse");
    let (mut found, mut asked, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let (before, zeroconf_before) = (browse.found().len(), zeroconf.found().len());
        let serves = server.on();
        street.until(NAME, &[&street.door.address]);
        asked.push(serves.elapsed());
        // Avahi by IPv4 and by IPv6.
        until("box in Avahi's list", || (browse.found().len() >= before + 2).then_some(()));
        until("box in python-zeroconf's list", || (zeroconf.found().len() > zeroconf_before).then_some(()));
        found.push(serves.elapsed());
        assert_is_whole(browse.found().last().expect("just found"), &server);
        assert_is_whole(zeroconf.found().last().expect("just found"), &server);
        let (before, zeroconf_before) = (browse.lost(), zeroconf.lost());
        server.signal(Signal::SIGUSR1);
        let asked_to_leave = Instant::now();
        until("end in Avahi's list", || (browse.lost() >= before + 2).then_some(()));
        until("end in python-zeroconf's list", || (zeroconf.lost() > zeroconf_before).then_some(()));
        gone.push(asked_to_leave.elapsed());
        assert!(street.ask(NAME).is_empty(), "in round {round} the box answered after its goodbye");
        assert!(server.serves(), "the box serves on until it is stopped");
        server.stop();
    }
    let (found, asked, gone) = (median(found), median(asked), median(gone));
    assert!(found <= WITHIN && asked <= WITHIN, "found after {found:?}, by a query after {asked:?}");
    assert!(gone <= WITHIN, "gone after {gone:?}");
    format!("found after {found:.1?}, by a query after {asked:.1?}, gone after {gone:.1?}; medians of {ROUNDS}")
}

/// What a peer says of the box is all that a client needs.
fn assert_is_whole(line: &str, server: &Server) {
    let identity = server.log().find(|line| Some(line.split("identity=").nth(1)?.to_owned())).expect("it says so");
    for part in ["posthouse.local", "8080", "txtvers", "http", "/ws", identity.trim()] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
}

fn restarted() -> String {
    let street = Street::new(11, Versions::Both);
    let avahi = Avahi::start(&street.peer);
    let (browse, zeroconf) = (avahi.watch(), Watcher::zeroconf(&street.peer, Versions::Both));
    let mut server = Server::start(&street.home, "posthouse");
    until("box in Avahi's list", || (browse.found().len() >= 2).then_some(()));
    until("box in python-zeroconf's list", || (!zeroconf.found().is_empty()).then_some(()));
    server.stop();
    let began = Instant::now();
    server.on();
    street.until(NAME, &[&street.door.address]);
    let back = began.elapsed();
    std::thread::sleep(CALM);
    assert_eq!((browse.lost(), zeroconf.lost()), (0, 0), "a peer lost the box");
    assert!(avahi.list().contains(&street.door.address), "avahi-browse -rtp finds it");
    format!("answers again after {back:.1?}, lost by nobody")
}

fn clash() -> String {
    let street = Street::new(12, Versions::Both);
    let second_home = Host::new("box2");
    let second_door = street.lan.plug(&second_home, Versions::Both);
    let avahi = Avahi::start(&street.peer);
    let first = Server::start(&street.home, "posthouse");
    street.until(NAME, &[&street.door.address]);
    let mut second = Server::start(&second_home, "posthouse");
    let took = street.until(SECOND_NAME, &[&second_door.address]);
    assert_eq!(street.ask(NAME), [street.door.address.as_str()]);
    let list = avahi.list();
    for (name, address) in [(NAME, &street.door.address), (SECOND_NAME, &second_door.address)] {
        assert!(list.contains(&format!(";{name};{address};8080;")), "{name} is at {address}: {list}");
    }
    second.stop();
    second.on();
    assert_eq!(second.name(), SECOND_NAME, "it begins with the name that it had");
    street.until(SECOND_NAME, &[&second_door.address]);
    assert_eq!(first.name(), NAME, "the first box keeps its name");
    format!("has its name after {took:.1?}")
}

fn at_once() -> String {
    let street = Street::new(13, Versions::Both);
    let second_home = Host::new("box2");
    let second_door = street.lan.plug(&second_home, Versions::Both);
    let mut servers = [Server::off(&street.home, "posthouse"), Server::off(&second_home, "posthouse")];
    let began = Instant::now();
    servers.iter_mut().for_each(Server::begin);
    let both = [street.door.address.clone(), second_door.address.clone()];
    let one_each = || {
        let (first, second) = (street.ask(NAME), street.ask(SECOND_NAME));
        let mut all = [first.clone(), second.clone()].concat();
        all.sort();
        (first.len() == 1 && second.len() == 1 && all == both).then_some(())
    };
    until("name for each", one_each);
    let took = began.elapsed();
    std::thread::sleep(CALM);
    assert!(one_each().is_some(), "the names stay as they are");
    format!("each has a name after {took:.1?}")
}

fn joined() -> String {
    let street = Street::new(14, Versions::Both);
    let second_home = Host::new("box2");
    let second_door = street.lan.plug(&second_home, Versions::Both);
    street.lan.part(&second_door);
    let first = Server::start(&street.home, "posthouse");
    let second = Server::start(&second_home, "posthouse");
    street.until(NAME, &[&street.door.address]);
    until("announcement in the other network", || (second.log().count("announcing") > 0).then_some(()));
    std::thread::sleep(WITHIN);
    street.lan.join(&second_door);
    let began = Instant::now();
    until("different names", || (first.name() != second.name()).then_some(()));
    let took = began.elapsed();
    let (name, address) = if second.name() == SECOND_NAME {
        (SECOND_NAME, &second_door.address)
    } else {
        (SECOND_NAME, &street.door.address)
    };
    street.until(name, &[address]);
    format!("after {took:.1?}")
}

fn followed() -> String {
    let street = Street::new(15, Versions::Both);
    let _server = Server::start(&street.home, "posthouse");
    street.until(NAME, &[&street.door.address]);
    street.door.set("down");
    street.until(NAME, &[]);
    // Long enough for the box to notice.
    std::thread::sleep(WITHIN);
    street.door.set("up");
    let up = street.until(NAME, &[&street.door.address]);
    street.door.move_to("10.15.0.77");
    let moved = street.until(NAME, &["10.15.0.77"]);
    format!("answers {up:.1?} after the link is back, with another address after {moved:.1?}")
}

fn ipv6_only() -> String {
    let street = Street::new(16, Versions::V6Only);
    let zeroconf = Watcher::zeroconf(&street.peer, Versions::V6Only);
    let server = Server::start(&street.home, "posthouse");
    let began = Instant::now();
    query::until(&street.peer, &street.window.interface, Versions::V6Only, NAME, |found| found.len() == 1);
    let asked = began.elapsed();
    until("box in python-zeroconf's list", || (!zeroconf.found().is_empty()).then_some(()));
    assert_is_whole(&zeroconf.found()[0], &server);
    assert!(zeroconf.found()[0].contains(" fe80::"), "{:?}", zeroconf.found());
    format!("found after {:.1?}, by a query after {asked:.1?}", began.elapsed())
}

fn two_interfaces() -> String {
    let street = Street::new(17, Versions::Both);
    let (other_lan, other_peer) = (Lan::new(18), Host::new("peer2"));
    let other_door = other_lan.plug(&street.home, Versions::Both);
    let other_window = other_lan.plug(&other_peer, Versions::Both);
    // A second cable into the same network: the box hears itself.
    let second_door = street.lan.plug(&street.home, Versions::Both);
    let server = Server::start(&street.home, "posthouse");
    street.until(NAME, &[&street.door.address, &second_door.address]);
    until_addresses(&other_peer, &other_window.interface, Versions::Both, NAME, &[&other_door.address]);
    std::thread::sleep(CALM);
    street.until(NAME, &[&street.door.address, &second_door.address]);
    assert_eq!(server.name(), NAME, "it does not take itself for another box");
    assert_eq!(server.log().count("another device"), 0);
    "two addresses in one network, one in the other".to_owned()
}

fn client() -> String {
    let street = Street::new(21, Versions::Both);
    let settings = tempfile::tempdir().expect("a folder");
    let run = |words: &[&str]| {
        let mut posthouse = street.peer.command(binaries::client());
        posthouse.args(words).env("POSTHOUSE_CONFIG_DIR", settings.path());
        posthouse.stdin(Stdio::null()).output().expect("the client starts")
    };
    let log_in = || String::from_utf8_lossy(&run(&["login", "--password-stdin", "anna"]).stderr).into_owned();
    let nobody = String::from_utf8_lossy(&run(&["discover"]).stderr).into_owned();
    assert!(nobody.starts_with("posthouse: no box was found") && nobody.lines().count() == 1, "{nobody}");

    let _server = Server::start(&street.home, "posthouse");
    street.until(NAME, &[&street.door.address]);
    let url = format!("http://{}:{PORT}", street.door.address);
    let began = Instant::now();
    let found = run(&["discover", "--json"]);
    let took = began.elapsed();
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).expect("one object");
    assert_eq!((found["name"].as_str(), found["server"].as_str()), (Some(NAME), Some(url.as_str())), "{found}");
    assert_eq!(found["trust"], "plain");
    // The box belongs to nobody yet, and says so itself.
    let refused = log_in();
    assert!(refused.contains(&format!("found {NAME} ({url}")) && refused.contains("posthouse claim"), "{refused}");
    // This system has nobody to ask for names.
    let by_name = run(&["login", "--password-stdin", "--server", &format!("http://{NAME}:{PORT}"), "anna"]);
    let by_name = String::from_utf8_lossy(&by_name.stderr).into_owned();
    assert!(by_name.contains("posthouse claim"), "{by_name}");
    let nobody = run(&["login", "--password-stdin", "--server", &format!("http://nobody.local:{PORT}"), "anna"]);
    let nobody = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(
        nobody.contains("nobody on this network is called nobody.local") && nobody.lines().count() == 1,
        "{nobody}"
    );

    let second_home = Host::new("box2");
    let second_door = street.lan.plug(&second_home, Versions::Both);
    let _second = Server::start(&second_home, "posthouse");
    street.until(SECOND_NAME, &[&second_door.address]);
    let choice = log_in();
    assert!(choice.starts_with("posthouse: 2 boxes were found") && choice.contains(SECOND_NAME), "{choice}");
    format!("listed after {took:.1?}")
}

fn secure_later() -> String {
    let street = Street::new(22, Versions::Both);
    let zeroconf = Watcher::zeroconf(&street.peer, Versions::Both);
    let site = Site::new();
    let mut server = Server::off(&street.home, "posthouse");
    server.ask_for_certificates(&site.path("ca.sock"));
    server.on();
    until("box in python-zeroconf's list", || (!zeroconf.found().is_empty()).then_some(()));
    let (found, lost) = (zeroconf.found(), zeroconf.lost());
    assert!(found.iter().all(|line| line.contains("8080") && !line.contains("https")), "{found:?}");
    let began = Instant::now();
    let _authority = BoxAuthority::start(&site, "{}");
    until("HTTPS in python-zeroconf's list", || {
        let line = zeroconf.found().pop()?;
        (line.contains(&SECURE_PORT.to_string()) && line.contains("https")).then_some(())
    });
    assert_is_called_by_its_key(&zeroconf.found(), &server);
    until("end of what it was before", || (zeroconf.lost() > lost).then_some(()));
    street.until(NAME, &[&street.door.address]);
    format!("after {:.1?}", began.elapsed())
}

/// The service that was found last is named by the key that the authority has.
fn assert_is_called_by_its_key(found: &[String], server: &Server) {
    let text = server.log().text();
    let identity = text.lines().rev().find_map(|line| line.split("identity=").nth(1)).expect("it says so").trim();
    let line = found.last().expect("just found");
    assert!(line.contains(identity) && !found[0].contains(identity), "{identity} is not in {line}");
}

fn firewall() -> String {
    let street = Street::new(20, Versions::Both);
    street.home.nft(&rules());
    let avahi = Avahi::start(&street.peer);
    let (browse, interface) = (avahi.watch(), &street.window.interface);
    let server = Server::start(&street.home, "posthouse");
    street.until(NAME, &[&street.door.address]);
    query::until(&street.peer, interface, Versions::V6Only, NAME, |found| found.len() == 1);
    until("box in Avahi's list", || (browse.found().len() >= 2).then_some(()));
    assert!(
        !street.peer.inside(|| query::is_answered_alone(interface, &street.door.address, NAME)),
        "asked from anywhere"
    );
    server.signal(Signal::SIGUSR1);
    until("end in Avahi's list", || (browse.lost() >= 2).then_some(()));
    "by IPv4 and IPv6; a question to the box's own address gets no answer".to_owned()
}

/// The box's, but for what an image for developers opens besides.
fn rules() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../overlays/common/etc/nftables.conf");
    std::fs::read_to_string(path).expect("the box's firewall")
}

fn garbage() -> String {
    let street = Street::new(19, Versions::Both);
    let server = Server::start(&street.home, "posthouse");
    street.until(NAME, &[&street.door.address]);
    let (before, mut random) = (server.memory_kib(), Random::new());
    let count = std::env::var("POSTHOUSE_TEST_PACKETS").ok().and_then(|count| count.parse().ok()).unwrap_or(30_000);
    query::throw(&street.peer, &street.window.interface, count, &mut random);
    assert!(server.serves(), "the box serves on");
    let grown = server.memory_kib().saturating_sub(before);
    assert!(grown < 8_192, "{count} packets cost {grown} KiB");
    assert_eq!(server.log().count("panicked"), 0);
    // A spoilt announcement may well have claimed its name.
    until("answer", || (street.ask(&server.name()) == [street.door.address.as_str()]).then_some(()));
    format!("{count} packets, {grown} KiB more memory")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
