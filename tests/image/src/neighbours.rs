//! Other people's programs that look for the box on its network, where this test stands: Avahi, python-zeroconf, and a question from a
//! port of no meaning. They are those of tests/discovery.

use std::time::{Duration, Instant};

use anyhow::ensure;
use posthouse_discovery_tests::lan::{Host, Versions};
use posthouse_discovery_tests::peers::{Avahi, Watcher};
use posthouse_discovery_tests::query::until_addresses;

use crate::network::{BOX_ADDRESS, TAP};

/// In which a box is to be found by who begins to look, and lost after it has said goodbye.
const WITHIN: Duration = Duration::from_secs(2);

/// For so long somebody else's question and its answer count for the next one, too.
const QUIET: Duration = Duration::from_millis(1_100);

/// How often it is looked what they have found.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who has found the box.
pub struct Neighbours {
    watchers: [(&'static str, Watcher); 2],
    _avahi: Avahi<'static>,
}

impl Neighbours {
    /// Lets them find the box in time.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        // As long as this program: what they borrow is its own network.
        let here: &'static Host = Box::leak(Box::new(Host::here("here")));
        // What has just been said on a network is neither asked again nor answered again for a second (RFC 6762, §6 and §7.3).
        std::thread::sleep(QUIET);
        let zeroconf = Watcher::zeroconf(here, Versions::Both);
        let began = Instant::now();
        let zeroconf_took = until("python-zeroconf finds the box", began, || !zeroconf.found().is_empty())?;
        let avahi = Avahi::start(here);
        std::thread::sleep(QUIET);
        let began = Instant::now();
        let browse = avahi.watch();
        let avahi_took = until("avahi-browse finds the box", began, || !browse.found().is_empty())?;
        std::thread::sleep(QUIET);
        let asked = until_addresses(here, TAP, Versions::Both, name, &[&BOX_ADDRESS.to_string()]);
        for line in browse.found().iter().chain(&zeroconf.found()) {
            for part in [name, "txtvers", "https", "/ws"] {
                ensure!(line.contains(part), "{part} is missing in {line}");
            }
        }
        let listed = avahi.list();
        ensure!(listed.contains(&BOX_ADDRESS.to_string()), "avahi-browse -rtp lists:\n{listed}");
        println!(
            "test-image: found by a query after {asked:.1?}, by avahi-browse {avahi_took:.1?}, by python-zeroconf {zeroconf_took:.1?}"
        );
        ensure!(asked <= WITHIN, "a query finds the box after {asked:?}");
        Ok(Self { watchers: [("avahi-browse", browse), ("python-zeroconf", zeroconf)], _avahi: avahi })
    }

    /// The box has just said goodbye: in time nobody shows it any longer.
    pub fn assert_lost(&self) -> anyhow::Result<()> {
        let began = Instant::now();
        for (name, watcher) in &self.watchers {
            let took = until(name, began, || watcher.lost() >= 1)?;
            println!("test-image: {name} has lost the box {took:.1?} after its goodbye");
        }
        Ok(())
    }
}

/// Waits for something in time, and says how long it took.
fn until(what: &str, began: Instant, is_so: impl Fn() -> bool) -> anyhow::Result<Duration> {
    while !is_so() {
        ensure!(began.elapsed() <= WITHIN, "{what}: not within {} s", WITHIN.as_secs());
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(began.elapsed())
}
