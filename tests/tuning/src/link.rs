//! A link as Wi-Fi and mobile networks are one: slow, with a delay and a buffer. Two tun devices and what carries packets from one to
//! the other; there is no netem everywhere.

use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_tun::Tun;

/// One way.
const DELAY: Duration = Duration::from_millis(20);

/// Bits a second.
const RATE: f64 = 20e6;

/// Of packets that wait for the link, in time; what finds it full is dropped.
const BUFFER: Duration = Duration::from_millis(60);

const PACKET_LEN_MAX: usize = 2_048;

/// The names of the two devices.
pub const ENDS: [&str; 2] = ["near", "far"];

/// Lays the link; it carries as long as the process lives.
pub fn lay() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ends = runtime.block_on(async { ENDS.map(open) });
    let [near, far] = ends;
    let (near, far) = (near?, far?);
    std::thread::spawn(move || runtime.block_on(async { tokio::join!(carry(&near, &far), carry(&far, &near)) }));
    Ok(())
}

fn open(name: &str) -> anyhow::Result<Tun> {
    let made = Tun::builder().name(name).mtu(1500).build();
    let devices =
        made.with_context(|| format!("making the device {name}: is /dev/net/tun there, and are you root?"))?;
    devices.into_iter().next().ok_or_else(|| anyhow!("no device was made"))
}

async fn carry(from: &Tun, to: &Tun) {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let take = async {
        let mut packet = [0; PACKET_LEN_MAX];
        let mut is_free_at = Instant::now();
        // A device that is moved to another namespace is down for a moment.
        loop {
            let Ok(len) = from.recv(&mut packet).await else {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            let now = Instant::now();
            let begins = is_free_at.max(now);
            if begins - now > BUFFER {
                continue;
            }
            is_free_at = begins + Duration::from_secs_f64(len as f64 * 8.0 / RATE);
            if queue.send((is_free_at + DELAY, packet[..len].to_vec())).is_err() {
                return;
            }
        }
    };
    let give = async {
        while let Some((arrives, packet)) = queued.recv().await {
            sleep_until(arrives).await;
            // A packet for a device that is down is lost, as everywhere.
            let _ = to.send(&packet).await;
        }
    };
    tokio::join!(take, give);
}
