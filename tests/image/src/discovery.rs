//! The box as a neighbour finds it without knowing its address: by multicast DNS, through its firewall and from its sandbox.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, Question, TYPE};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::machine::Machine;
use crate::network::{BOX_ADDRESS, OWN_ADDRESS};

const PORT: u16 = 5353;
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// What the box is called that was told nothing else.
pub const NAME: &str = "posthouse.local";
const SERVICE: &str = "_posthouse._tcp.local";

/// How often a question is asked: a responder says the same once a second.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the box may take, which is emulated.
const LIMIT: Duration = Duration::from_secs(60);

/// Until a busy box that was told to shut down says so.
const FAREWELL_LIMIT: Duration = Duration::from_secs(300);

/// Asks by multicast from a port that is not 5353, as Android does, and waits for the box's address.
pub async fn assert_found(name: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let socket = socket(0)?;
    let mut packet = Packet::new_query(1);
    packet.questions.push(Question::new(Name::new(name)?, TYPE::A.into(), CLASS::IN.into(), false));
    let question = packet.build_bytes_vec()?;
    let mut buffer = [0; 9000];
    loop {
        ensure!(began.elapsed() < LIMIT, "nobody says where {name} is");
        socket.send_to(&question, (GROUP, PORT)).await.context("asking the network")?;
        let Ok(received) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await else { continue };
        let answer = Packet::parse(&buffer[..received?.0]).context("the box's answer")?;
        let is_meant = |data: &RData| matches!(data, RData::A(a) if Ipv4Addr::from_bits(a.address) == BOX_ADDRESS);
        if answer.answers.iter().any(|record| record.name.to_string() == name && is_meant(&record.rdata)) {
            println!("test-image: {name} found {:.1} s after it was asked for", began.elapsed().as_secs_f64());
            return Ok(());
        }
    }
}

/// What the network hears from now on.
pub struct Ear(UdpSocket);

impl Ear {
    pub fn open() -> anyhow::Result<Self> {
        Ok(Self(socket(PORT)?))
    }

    /// Whether a goodbye has come since. What nobody waited for is still there.
    pub async fn heard_goodbye(&self) -> anyhow::Result<bool> {
        let mut buffer = [0; 9000];
        while let Ok(received) = timeout(PATIENCE, self.0.recv_from(&mut buffer)).await {
            let Ok(packet) = Packet::parse(&buffer[..received?.0]) else { continue };
            if packet.answers.iter().any(|record| record.ttl == 0 && record.name.to_string() == SERVICE) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits for the goodbye of a box that shuts down.
    pub async fn assert_goodbye(&self, machine: &mut Machine) -> anyhow::Result<()> {
        let goodbye = async |_: &str| self.heard_goodbye().await.ok().filter(|heard| *heard);
        machine.wait_for("the goodbye of a box that shuts down", FAREWELL_LIMIT, goodbye).await?;
        println!("test-image: the box says goodbye when it shuts down");
        Ok(())
    }
}

/// In the network with the box, whichever way the system would choose.
fn socket(port: u16) -> anyhow::Result<UdpSocket> {
    let own = OWN_ADDRESS.split('/').next().and_then(|address| address.parse().ok()).context("the own address")?;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).context("making a socket")?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into()).context("binding it")?;
    socket.set_multicast_if_v4(&own).context("choosing the network")?;
    socket.join_multicast_v4(&GROUP, &own).context("listening to everybody")?;
    socket.set_nonblocking(true)?;
    Ok(UdpSocket::from_std(socket.into())?)
}
