//! Congestion control on a link that loses packets without being full: what messages and pages of history wait for under bbr and
//! under cubic. The client keeps the kernel's default, as phones and laptops do.

use std::time::Duration;

use posthouse_bench::Figure;
use posthouse_e2e::Site;

use crate::lane::{Lane, Loss};
use crate::talk::Person;
use crate::waits::percentile_ms;

const CONTROLS: [&str; 2] = ["bbr", "cubic"];

/// Of a thousand packets.
const LOSSES: [Loss; 3] = [Loss(0), Loss(10), Loss(30)];

const MESSAGES: usize = 50;

const PAUSE: Duration = Duration::from_millis(10);

/// Of somebody who was away for a while.
const PAGES: usize = 5;

/// Longer than any retransmission timer, after which a connection counts as idle.
const IDLE: Duration = Duration::from_secs(2);

/// What one set of rounds yields.
#[derive(Default)]
struct Waits {
    acks_p50_ms: Vec<f64>,
    acks_p99_ms: Vec<f64>,
    pages_ms: Vec<f64>,
}

pub fn measure(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let lane = Lane::lay()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut figures = Vec::new();
    for loss in LOSSES {
        let mut waits = [Waits::default(), Waits::default()];
        for _ in 0..rounds {
            for (control, waits) in CONTROLS.into_iter().zip(&mut waits) {
                lane.control(control)?;
                lane.lose(Loss(0))?;
                let site = Site::new();
                let server = lane.serve(&site)?;
                runtime.block_on(async {
                    let person = Person::arrive(&server, "anna").await;
                    person.fill_page().await;
                    lane.lose(loss)?;
                    let mut caught_up = Duration::ZERO;
                    for _ in 0..PAGES {
                        caught_up += person.read_page().await;
                    }
                    waits.pages_ms.push(caught_up.as_secs_f64() * 1_000.0);
                    let acks = person.send(MESSAGES, PAUSE).await;
                    waits.acks_p50_ms.push(percentile_ms(&acks, 50));
                    waits.acks_p99_ms.push(percentile_ms(&acks, 99));
                    anyhow::Ok(())
                })?;
            }
        }
        for (control, waits) in CONTROLS.into_iter().zip(waits) {
            let figure = |what, values: Vec<f64>| {
                let percent = f64::from(loss.0) / 10.0;
                Figure::new(format!("{what}, {percent} % loss, {control}"), "ms", &values)
            };
            figures.push(figure("send to ack p50", waits.acks_p50_ms));
            figures.push(figure("send to ack p99", waits.acks_p99_ms));
            figures.push(figure("five pages of 120 kB", waits.pages_ms));
        }
    }
    figures.extend(after_a_pause(&lane, &runtime, rounds)?);
    Ok(figures)
}

/// Whether a connection that paused has to begin slowly again. Under bbr it never does, whatever the setting: the image leaves it
/// alone.
fn after_a_pause(lane: &Lane, runtime: &tokio::runtime::Runtime, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    lane.lose(Loss(0))?;
    let mut figures = Vec::new();
    for control in CONTROLS {
        for slow_start in ["0", "1"] {
            lane.control(control)?;
            lane.set("net.ipv4.tcp_slow_start_after_idle", slow_start)?;
            let site = Site::new();
            let server = lane.serve(&site)?;
            let pages = runtime.block_on(async {
                let person = Person::arrive(&server, "anna").await;
                person.fill_page().await;
                // The connection gets to know its path.
                for _ in 0..3 {
                    person.read_page().await;
                }
                let mut pages = Vec::new();
                for _ in 0..rounds {
                    tokio::time::sleep(IDLE).await;
                    pages.push(percentile_ms(&[person.read_page().await], 50));
                }
                pages
            });
            let name = format!("page of 120 kB after a pause, {control}, slow start {slow_start}");
            figures.push(Figure::new(name, "ms", &pages));
        }
    }
    Ok(figures)
}
