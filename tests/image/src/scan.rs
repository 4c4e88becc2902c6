//! A scan of the box from outside: every TCP port, and datagrams to those where boxes usually answer. Only the server's ports may
//! answer; all others say nothing, not even no.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What may be open.
const OPEN: [u16; 2] = [80, 443];

/// A lost first packet is repeated after a second: silence this long is meant.
const SILENCE: Duration = Duration::from_millis(2_500);

/// Attempts at once, each a descriptor.
const AT_ONCE_MAX: u64 = 8_000;

/// Left for everything else that this program has open.
const DESCRIPTORS_KEPT: u64 = 200;

/// Where boxes answer to datagrams: echo, names, DHCP, TFTP, time, NetBIOS, SNMP, CLDAP, IKE, syslog, RIP, DHCPv6, NFS, SSDP, SIP, mDNS,
/// LLMNR, WireGuard and their kin.
const DATAGRAM_PORTS: [u16; 30] = [
    7, 19, 53, 67, 68, 69, 111, 123, 137, 138, 161, 177, 389, 427, 443, 500, 514, 520, 546, 547, 623, 1194, 1900, 2049,
    3702, 4500, 5060, 5353, 5355, 51820,
];

/// A question that name servers, responders and, as noise, others answer: for the addresses of `a`, by DNS.
const QUESTION: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01";

#[derive(Default)]
struct Found {
    open: BTreeSet<u16>,
    /// Those that say that nobody is there: the firewall let the packet through.
    refused: BTreeSet<u16>,
}

/// Scans both addresses at once.
pub async fn assert_closed(addresses: [SocketAddr; 2]) -> anyhow::Result<()> {
    let began = Instant::now();
    let at_once = Arc::new(Semaphore::new(usize::try_from(descriptors()?)?));
    let [first, second] = addresses.map(|address| tcp(address, Arc::clone(&at_once)));
    let (first, second) = tokio::try_join!(first, second)?;
    for (address, found) in addresses.iter().zip([first, second]) {
        judge(&found).with_context(|| format!("TCP ports of {}", address.ip()))?;
        let answered = udp(*address).await?;
        ensure!(answered.is_empty(), "UDP ports of {} that answer: {answered:?}", address.ip());
    }
    println!("test-image: of 65535 TCP ports only {OPEN:?} answer, by both IPs ({} s)", began.elapsed().as_secs());
    Ok(())
}

fn judge(found: &Found) -> anyhow::Result<()> {
    ensure!(found.refused.is_empty(), "the firewall lets packets through to {:?}", found.refused);
    ensure!(found.open.iter().eq(&OPEN), "open are {:?}, not {OPEN:?}", found.open);
    Ok(())
}

/// As many as allowed; a scan with fewer takes longer.
fn descriptors() -> anyhow::Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raising the limit on open files")?;
    Ok(hard.saturating_sub(DESCRIPTORS_KEPT).clamp(1, AT_ONCE_MAX))
}

async fn tcp(address: SocketAddr, at_once: Arc<Semaphore>) -> anyhow::Result<Found> {
    let mut attempts = JoinSet::new();
    for port in 1..=u16::MAX {
        let place = Arc::clone(&at_once).acquire_owned().await?;
        let target = with_port(address, port);
        attempts.spawn(async move {
            let outcome = tokio::time::timeout(SILENCE, TcpStream::connect(target)).await;
            drop(place);
            (port, outcome)
        });
    }
    let mut found = Found::default();
    while let Some(attempt) = attempts.join_next().await {
        match attempt? {
            (port, Ok(Ok(_))) => found.open.insert(port),
            (port, Ok(Err(error))) if error.kind() == ErrorKind::ConnectionRefused => found.refused.insert(port),
            (port, Ok(Err(error))) => return Err(error).with_context(|| format!("port {port} of {address}")),
            (_, Err(_)) => false,
        };
    }
    Ok(found)
}

/// The ports that answer to a datagram, be it to say that nobody is there.
async fn udp(address: SocketAddr) -> anyhow::Result<BTreeSet<u16>> {
    let mut probes = JoinSet::new();
    for port in DATAGRAM_PORTS {
        let own: SocketAddr =
            if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = UdpSocket::bind(own).await?;
        socket.connect(with_port(address, port)).await?;
        probes.spawn(async move {
            // A refusal of the first is told to whoever sends the second.
            let ask = async {
                socket.send(QUESTION).await?;
                socket.send(QUESTION).await?;
                socket.recv(&mut [0; 16]).await
            };
            (port, tokio::time::timeout(SILENCE, ask).await.is_ok())
        });
    }
    let mut answered = BTreeSet::new();
    while let Some(probe) = probes.join_next().await {
        let (port, has_answered) = probe?;
        if has_answered {
            answered.insert(port);
        }
    }
    Ok(answered)
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn only_the_server_may_answer() {
        let found = |open: &[u16], refused: &[u16]| Found {
            open: open.iter().copied().collect(),
            refused: refused.iter().copied().collect(),
        };
        judge(&found(&[80, 443], &[])).expect("closed");
        for wrong in [found(&[], &[]), found(&[22, 80, 443], &[]), found(&[80], &[]), found(&[80, 443], &[22])] {
            judge(&wrong).expect_err("not closed");
        }
    }

    #[tokio::test]
    async fn open_refusing_and_answering_ports_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let found = tcp(address, Arc::new(Semaphore::new(500))).await.expect("scanned");
        assert!(found.open.contains(&address.port()));
        // Nobody filters this machine's own address: whatever is not open refuses.
        assert_eq!(found.open.len() + found.refused.len(), usize::from(u16::MAX));
        assert!(!udp(address).await.expect("probed").is_empty(), "a port without a listener says so");
    }
}
