//! Who knocks at the sockets all the time, and counts those who were refused.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two knocks at the same door: some hundred while a server restarts.
const KNOCK_EVERY: Duration = Duration::from_millis(5);

/// A connection that the kernel has taken by then or never takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Knocks until it is asked for its counts.
pub struct Door {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Knocks>>,
}

/// What became of the knocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Knocks {
    /// All of them.
    pub tried: u64,
    /// Those that found no listening socket, or one that took nobody.
    pub refused: u64,
}

impl Door {
    /// Begins to knock at each address.
    pub fn knock(addresses: &[SocketAddr]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let knocking = |address: &SocketAddr| {
            let (address, over) = (*address, Arc::clone(&over));
            std::thread::spawn(move || knock(address, &over))
        };
        let threads = addresses.iter().map(knocking).collect();
        Self { over, threads }
    }

    /// Stops, and says how it went.
    pub fn counts(self) -> Knocks {
        self.over.store(true, Ordering::Relaxed);
        let counts = self.threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
        counts.fold(Knocks::default(), |sum, one| Knocks {
            tried: sum.tried + one.tried,
            refused: sum.refused + one.refused,
        })
    }
}

fn knock(address: SocketAddr, over: &AtomicBool) -> Knocks {
    let mut counts = Knocks::default();
    while !over.load(Ordering::Relaxed) {
        counts.tried += 1;
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => {}
            // The knocker's own want of ports says nothing of the server.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => counts.tried -= 1,
            Err(error) => {
                println!("refused: {error}");
                counts.refused += 1;
            }
        }
        std::thread::sleep(KNOCK_EVERY);
    }
    counts
}
