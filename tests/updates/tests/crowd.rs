//! The benchmark's small form: as many as a school class or two go through an update.

use std::time::Duration;

use posthouse_update_tests::crowd;
use posthouse_update_tests::world::Timing;

use crate::stage::left_out;

const CLIENTS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_clients_go_through_an_update_and_lose_nothing() {
    if left_out() {
        return;
    }
    let outcome = crowd::update(&Timing::short(), CLIENTS, Duration::from_secs(1)).await;
    println!("{outcome:?}");
    assert_eq!((outcome.refused, outcome.lost, outcome.duplicated), (0, 0, 0));
    assert!(outcome.messages > CLIENTS as u64 && outcome.connections > 100);
}
