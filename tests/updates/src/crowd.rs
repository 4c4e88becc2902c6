//! A crowd of clients goes through a good update: who was refused, what was lost, how long the slowest waited.

use std::time::{Duration, Instant};

use posthouse_protocol::update::UpdateOutcome;
use serde::Serialize;

use crate::bundles::Parts;
use crate::door::Door;
use crate::fault::Fault;
use crate::fleet::Fleet;
use crate::world::{Timing, World};

/// How long they talk before it and after it.
const CALM: Duration = Duration::from_secs(3);

/// A good update is confirmed by then.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(120);

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Connected clients.
    pub clients: usize,
    /// Connections that found nobody listening, of [`Outcome::connections`].
    pub refused: u64,
    /// Acknowledged messages that are not stored or did not arrive, of [`Outcome::messages`].
    pub lost: u64,
    /// Messages that are stored or arrived more than once, or out of order.
    pub duplicated: u64,
    /// Each client has a longest wait while the update lasted, for an acknowledgement or for having caught up on a new connection:
    /// that of the median client.
    pub p50_ms: f64,
    /// That of the slowest one in a hundred.
    pub p99_ms: f64,
    /// That of the slowest of all.
    pub longest_ms: f64,
    /// Acknowledged messages.
    pub messages: u64,
    /// Connections that were tried beside those of the clients.
    pub connections: u64,
    /// From the request until the new version was confirmed.
    pub update_s: f64,
}

/// Has `clients` talk, each sending every `every`, and installs a good build meanwhile.
///
/// # Panics
/// When the update is not confirmed, or a client meets what it must not.
pub async fn update(timing: &Timing, clients: usize, every: Duration) -> Outcome {
    let bundle = Parts::new().with(Fault::None);
    let world = World::start(timing);
    let fleet = Fleet::gather(&world.url(), &world.admin_socket(), clients, every).await;
    let door = Door::knock(&world.supervisor().addresses());
    tokio::time::sleep(CALM).await;
    let begun = Instant::now();
    let hash = world.push(&bundle);
    let is_confirmed = |world: &World| {
        let outcome = world.state().and_then(|state| state.last).map(|last| last.outcome);
        outcome == Some(UpdateOutcome::Confirmed) && world.slot_serves(&hash)
    };
    let took = tokio::task::block_in_place(|| world.wait("confirmed update", CONFIRMED_WITHIN, is_confirmed));
    tokio::time::sleep(CALM).await;
    let tally = fleet.tally(begun).await;
    let knocks = door.counts();
    assert!(tally.troubles.is_empty(), "{:?}", tally.troubles);
    let ms = |wait: Duration| (wait.as_secs_f64() * 1e4).round() / 10.0;
    Outcome {
        clients: tally.clients,
        refused: knocks.refused,
        lost: tally.lost,
        duplicated: tally.duplicated + tally.disordered,
        p50_ms: ms(tally.wait(0.5)),
        p99_ms: ms(tally.wait(0.99)),
        longest_ms: ms(tally.wait(1.0)),
        messages: tally.acknowledged,
        connections: knocks.tried,
        update_s: (took.as_secs_f64() * 10.0).round() / 10.0,
    }
}
