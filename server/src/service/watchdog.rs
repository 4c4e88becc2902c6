//! The watchdog: says "alive" only as long as the server answers at its own front door.
//!
//! It knocks as a client does, from a thread of its own, so that it notices what a heartbeat inside the
//! runtime would not: a listener that stopped accepting, a runtime that stands still. The question it asks
//! (`/healthz`) touches no disk: a card that stalls for a minute does not make the server deaf, and a
//! restart would not make the card faster.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Knocks this often within the time after which systemd gives up: two knocks may fail.
const KNOCKS_PER_TIMEOUT: u32 = 3;

/// Starts knocking at `address`; `alive` is called after each answer.
pub fn start(address: SocketAddr, timeout: Duration, alive: impl Fn() + Send + 'static) {
    let every = timeout / KNOCKS_PER_TIMEOUT;
    let door = reachable(address);
    let knock = move || {
        loop {
            match answers(door, every) {
                Ok(()) => alive(),
                Err(error) => tracing::warn!(%error, %door, "the server does not answer at its own door"),
            }
            std::thread::sleep(every);
        }
    };
    let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(knock);
    thread.expect("the system can start a thread while the server starts");
}

/// Whether somebody accepts and answers there, be it to refuse: a server that is full is not deaf.
fn answers(door: SocketAddr, patience: Duration) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&door, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let heard = asked.and_then(|()| stream.read(&mut [0; 16]).map(drop));
    match heard {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(error),
        // An answer, or a connection that was accepted and closed.
        _ => Ok(()),
    }
}

/// An address that means "all of this machine's" is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    #[test]
    fn a_listener_that_nobody_accepts_from_is_deaf() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let door = listener.local_addr().expect("bound");
        // The kernel completes the connection; nobody ever reads from it.
        assert!(answers(door, PATIENCE).is_err());
    }

    #[test]
    fn whoever_answers_or_turns_away_is_not_deaf() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let door = listener.local_addr().expect("bound");
        let turn_away = std::thread::spawn(move || drop(listener.accept()));
        assert!(answers(door, Duration::from_secs(10)).is_ok());
        turn_away.join().expect("accepted");
        assert!(answers(door, PATIENCE).is_err(), "the listener is gone");
    }

    #[test]
    fn all_addresses_are_reached_by_loopback() {
        let reached = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
    }
}
