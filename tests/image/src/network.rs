//! A network with nobody on it but the test and the box: a tap device in a namespace of the test's own, with a DHCP server. By it
//! the test meets the box as a neighbour does; QEMU's user network would take a connection before the box does, and knows nothing of
//! a port scan.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use nix::net::if_::if_nametoindex;
use posthouse_bench::namespace;
use tokio::process::{Child, Command};

use crate::dist::run;
use crate::selftest::Selftest;

/// This test's end of the cable.
pub const TAP: &str = "box";

/// The test's own. The network is that of QEMU's user network, so that the box finds the one that it knows.
pub const OWN_ADDRESS: &str = "10.0.2.100/24";

/// Of somebody else in the network.
pub const OTHER_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 101);

/// What the box gets in either.
pub const BOX_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// Lives as long as its DHCP server.
pub struct Network {
    _dhcp: Child,
}

impl Network {
    /// Needs a namespace that is new: tests/image/run starts this program in one.
    pub async fn set_up(folder: &Path) -> anyhow::Result<Self> {
        namespace::assert_new("tests/image/run")?;
        for words in [
            "link set lo up",
            &format!("tuntap add dev {TAP} mode tap"),
            // Room for a burst of probes.
            &format!("link set {TAP} txqueuelen 10000 up"),
            &format!("address add {OWN_ADDRESS} dev {TAP}"),
            &format!("address add {OTHER_ADDRESS}/24 dev {TAP}"),
        ] {
            let made = run(Command::new("ip").args(words.split(' '))).await;
            made.with_context(|| format!("ip {words} (it takes root or user namespaces, and /dev/net/tun)"))?;
        }
        // The one address is this test's box's: an earlier test's would hold on to it.
        let leases = folder.join("leases");
        if leases.exists() {
            std::fs::remove_file(&leases).with_context(|| format!("removing {}", leases.display()))?;
        }
        let mut dhcp = Command::new("dnsmasq");
        dhcp.args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--port=0"])
            // Another card makes another box in the same machine, which is to get the one address, too.
            .arg("--dhcp-ignore-clid")
            .args(["--bind-interfaces", "--dhcp-authoritative", &format!("--interface={TAP}")])
            .arg(format!("--dhcp-range={BOX_ADDRESS},{BOX_ADDRESS},255.255.255.0,1h"))
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("dnsmasq.log")).context("making dnsmasq's log")?)
            .kill_on_drop(true);
        Ok(Self { _dhcp: dhcp.spawn().context("starting dnsmasq: is it installed?")? })
    }
}

/// QEMU's part, for a card of the machine's that is called `net`.
pub fn arguments() -> String {
    format!("tap,id=net,ifname={TAP},script=no,downscript=no")
}

/// A port of the box as a neighbour calls it.
pub fn door(port: u16) -> SocketAddr {
    (BOX_ADDRESS, port).into()
}

/// Where the box can be reached, by both versions of the protocol.
pub fn addresses(report: &Selftest) -> anyhow::Result<[SocketAddr; 2]> {
    let local = report.addresses.iter().find(|[_, address]| address.starts_with("fe80"));
    let [_, digits] = local.context("the box has no link-local address")?;
    let bits = u128::from_str_radix(digits, 16).with_context(|| format!("{digits} is no address"))?;
    let index = if_nametoindex(TAP).context("asking for the tap device's number")?;
    let local = SocketAddrV6::new(Ipv6Addr::from_bits(bits), 0, 0, index);
    Ok([door(0), local.into()])
}
