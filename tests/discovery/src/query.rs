//! Questions as a simple client asks them (RFC 6762, §6.7): by multicast, from a port that is not 5353, with an answer to that port.
//! Android's resolver is such a client. And garbage.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use posthouse_e2e::random::Random;
use posthouse_e2e::wait::BOUND;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, TYPE};

use crate::lan::{Host, Versions};

const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// How long an answer may take, before the question is asked again: a responder answers the same only once a second.
const PATIENCE: Duration = Duration::from_millis(300);

/// Longest time that a simple client may keep an answer.
const TTL_MAX_S: u32 = 10;

/// The addresses of `name` that some box tells within the patience, in order. Fails where an answer is not as the RFC has it.
pub fn addresses(host: &Host, interface: &str, versions: Versions, name: &str) -> Vec<IpAddr> {
    host.inside(|| ask(interface, versions, name))
}

/// Asks until there are exactly these, and says how long that took.
pub fn until_addresses(host: &Host, interface: &str, versions: Versions, name: &str, wanted: &[&str]) -> Duration {
    let mut wanted: Vec<IpAddr> = wanted.iter().map(|text| text.parse().expect("an address")).collect();
    wanted.sort();
    until(host, interface, versions, name, |found| found == wanted)
}

/// Asks until the answer is as it should be, and says how long that took.
pub fn until(
    host: &Host,
    interface: &str,
    versions: Versions,
    name: &str,
    is_right: impl Fn(&[IpAddr]) -> bool,
) -> Duration {
    let began = Instant::now();
    loop {
        let found = addresses(host, interface, versions, name);
        if is_right(&found) {
            return began.elapsed();
        }
        assert!(began.elapsed() < BOUND, "{name} had the addresses {found:?} to the last");
    }
}

/// Whether a question is answered that was sent to the box alone. To be called inside a host.
pub fn is_answered_alone(interface: &str, address: &str, name: &str) -> bool {
    let socket = socket(interface, Versions::Both, 0);
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out is allowed");
    socket.send_to(&question(name, TYPE::A), (address, PORT)).expect("the question is sent");
    socket.recv_from(&mut [0; 512]).is_ok()
}

/// Sends nonsense to everybody: what a real question and a real announcement become when bytes are changed, and mere noise.
pub fn throw(host: &Host, interface: &str, count: usize, random: &mut Random) {
    let mut packets: Vec<Vec<u8>> = Vec::with_capacity(count);
    let honest = [question("posthouse.local", TYPE::A), announcement()];
    for turn in 0..count {
        packets.push(match turn % 3 {
            0 => (0..random.within(0, 600)).map(|_| byte(random)).collect(),
            kind => spoil(honest[kind - 1].clone(), random),
        });
    }
    host.inside(|| {
        // From the port of honest responders: what comes from another one gets less attention.
        let socket = socket(interface, Versions::Both, PORT);
        for packet in &packets {
            // A packet that is too long for the network is no loss.
            let _ = socket.send_to(packet, (GROUP_V4, PORT));
            std::thread::sleep(Duration::from_micros(50));
        }
    });
}

fn spoil(mut packet: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..random.within(1, 7) {
        let at = random.within(0, packet.len());
        packet[at] = byte(random);
    }
    packet.truncate(random.within(packet.len() / 2, packet.len() + 1));
    packet
}

fn byte(random: &mut Random) -> u8 {
    u8::try_from(random.within(0, 256)).expect("it is a byte")
}

fn ask(interface: &str, versions: Versions, name: &str) -> Vec<IpAddr> {
    let kind = if versions == Versions::V6Only { TYPE::AAAA } else { TYPE::A };
    let socket = socket(interface, versions, 0);
    let group: SocketAddr = match versions {
        Versions::Both => (GROUP_V4, PORT).into(),
        Versions::V6Only => SocketAddrV6::new(GROUP_V6, PORT, 0, index(interface)).into(),
    };
    // An interface that is down has no way to anybody.
    if socket.send_to(&question(name, kind), group).is_err() {
        std::thread::sleep(PATIENCE);
        return Vec::new();
    }
    let (mut found, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    let mut buffer = [0; 9000];
    while let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left)).expect("a time-out is allowed");
        let Ok((len, _)) = socket.recv_from(&mut buffer) else { continue };
        found.extend(read(&buffer[..len], name));
    }
    found.sort();
    found.dedup();
    found
}

/// The addresses in an answer, which must be one that a simple client understands.
fn read(packet: &[u8], name: &str) -> Vec<IpAddr> {
    let packet = Packet::parse(packet).expect("the answer is a DNS packet");
    assert_eq!(packet.id(), QUERY_ID, "the answer repeats the question's number");
    assert!(packet.has_flags(PacketFlag::RESPONSE | PacketFlag::AUTHORITATIVE_ANSWER), "it is an answer");
    assert_eq!(packet.questions.len(), 1, "it repeats the question");
    let mine = packet.answers.iter().filter(|record| record.name.to_string() == name);
    let addresses = mine.filter_map(|record| {
        assert!(record.ttl <= TTL_MAX_S, "a simple client may keep it for {TTL_MAX_S} s, not {} s", record.ttl);
        assert!(!record.cache_flush, "a simple client does not know the flush bit");
        match &record.rdata {
            RData::A(address) => Some(IpAddr::V4(Ipv4Addr::from_bits(address.address))),
            RData::AAAA(address) => Some(IpAddr::V6(Ipv6Addr::from_bits(address.address))),
            _ => None,
        }
    });
    addresses.collect()
}

const QUERY_ID: u16 = 0x5a17;

fn question(name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(QUERY_ID);
    let name = Name::new(name).expect("a name");
    packet.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
    packet.build_bytes_vec().expect("a packet")
}

/// What a box says of itself, made by hand.
fn announcement() -> Vec<u8> {
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, PTR, SRV, TXT};
    let service = Name::new("_posthouse._tcp.local").expect("a name");
    let instance = Name::new("other._posthouse._tcp.local").expect("a name");
    let host = Name::new("posthouse.local").expect("a name");
    let text = TXT::new().with_string("txtvers=1").expect("a text");
    let server = SRV { priority: 0, weight: 0, port: 80, target: host.clone() };
    let mut packet = Packet::new_reply(0);
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    for (name, data) in [
        (service, RData::PTR(PTR(instance.clone()))),
        (instance.clone(), RData::SRV(server)),
        (instance, RData::TXT(text)),
        (host, RData::A(A { address: Ipv4Addr::new(10, 9, 0, 99).to_bits() })),
    ] {
        packet.answers.push(ResourceRecord::new(name, CLASS::IN, 120, data));
    }
    packet.build_bytes_vec().expect("a packet")
}

fn socket(interface: &str, versions: Versions, port: u16) -> UdpSocket {
    use socket2::{Domain, Socket, Type};
    let (domain, any): (Domain, SocketAddr) = match versions {
        Versions::Both => (Domain::IPV4, (Ipv4Addr::UNSPECIFIED, port).into()),
        Versions::V6Only => (Domain::IPV6, (Ipv6Addr::UNSPECIFIED, port).into()),
    };
    let socket = Socket::new(domain, Type::DGRAM, None).expect("a socket");
    // Others on this host listen to the port, too.
    socket.set_reuse_address(true).and_then(|()| socket.set_reuse_port(true)).expect("a port for several");
    socket.bind_device(Some(interface.as_bytes())).expect("an interface");
    socket.bind(&any.into()).expect("a port");
    socket.into()
}

fn index(interface: &str) -> u32 {
    nix::net::if_::if_nametoindex(interface).expect("the interface is there")
}
