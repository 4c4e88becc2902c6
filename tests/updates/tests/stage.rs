//! A box with clients that talk all the time and somebody who knocks at its doors, and what must be true of them at the end.

use std::fmt;
use std::time::{Duration, Instant};

use posthouse_e2e::binaries;
use posthouse_e2e::wait::until;
use posthouse_update_tests::door::{Door, Knocks};
use posthouse_update_tests::fleet::{Fleet, Tally};
use posthouse_update_tests::world::{Timing, World};
use tokio::runtime::Runtime;

/// Clients of each box, and how often each sends.
const CLIENTS: usize = 4;
const SENDS_EVERY: Duration = Duration::from_millis(100);

/// A box with its clients.
pub struct Stage {
    pub world: World,
    fleet: Fleet,
    door: Door,
    runtime: Runtime,
}

/// What the clients and the knocker have counted.
pub struct Counts {
    tally: Tally,
    knocks: Knocks,
}

impl Stage {
    pub fn set(timing: &Timing) -> Self {
        let world = World::start(timing);
        let runtime = Runtime::new().expect("a runtime");
        let door = Door::knock(&world.supervisor().addresses());
        let fleet = runtime.block_on(Fleet::gather(&world.url(), &world.admin_socket(), CLIENTS, SENDS_EVERY));
        Self { world, fleet, door, runtime }
    }

    /// Waits until each client has been heard some more.
    pub fn talks(&self) {
        let heard = self.fleet.acknowledged();
        until("acknowledgements", || (self.fleet.acknowledged() > heard + 3 * CLIENTS as u64).then_some(()));
    }

    /// The owner asks to go back, as people do: by the server.
    pub fn ask_to_go_back(&self) {
        let ask = async { Fleet::owner(&self.world.url()).await.roll_back().await };
        self.runtime.block_on(ask).expect("the server asks its updater");
    }

    /// Ends it.
    ///
    /// # Panics
    /// When something was lost, or somebody refused.
    pub fn end(self) -> (World, Counts) {
        let Self { world, fleet, door, runtime } = self;
        let tally = runtime.block_on(fleet.tally(Instant::now()));
        let knocks = door.counts();
        assert!(tally.acknowledged > 0 && tally.is_whole(), "{tally:?}");
        assert!(knocks.tried > 0 && knocks.refused == 0, "{knocks:?}");
        (world, Counts { tally, knocks })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, knocks } = self;
        write!(
            f,
            "{} of {} messages lost, {} of {} connections refused",
            tally.lost, tally.acknowledged, knocks.refused, knocks.tried
        )
    }
}

/// Whether there is nothing to try here, said loudly.
pub fn left_out() -> bool {
    let there = binaries::has_systemd();
    if !there {
        println!("LEFT OUT: the server was built without the feature systemd");
    }
    !there
}
