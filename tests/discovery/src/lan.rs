//! Networks: a bridge each, and hosts in namespaces of their own that are plugged into it.

use std::cell::Cell;
use std::io::Write as _;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns};

/// A switch with cables to hosts.
pub struct Lan {
    name: String,
    /// The network's number, which addresses and names bear: no two scenarios meet.
    number: u8,
    plugged: Cell<u8>,
}

/// A computer: what is started in it knows its interfaces alone.
pub struct Host {
    name: String,
}

/// One of a host's interfaces.
pub struct Cable {
    host: String,
    /// Its name in the host.
    pub interface: String,
    /// Its name at the switch.
    port: String,
    /// Its IPv4 address, without the length of the prefix.
    pub address: String,
}

/// Which addresses a host has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    Both,
    V6Only,
}

impl Lan {
    pub fn new(number: u8) -> Self {
        let name = format!("lan{number}");
        // Without an IGMP querier a snooping bridge would forget who listens.
        ip(&format!("link add {name} type bridge mcast_snooping 0"));
        ip(&format!("link set {name} up"));
        Self { name, number, plugged: Cell::new(0) }
    }

    /// Gives a host an interface on this network, and an address unless it is to have IPv6 alone.
    pub fn plug(&self, host: &Host, versions: Versions) -> Cable {
        let count = self.plugged.get() + 1;
        self.plugged.set(count);
        let (interface, port) = (format!("eth{}", self.number), format!("p{}-{count}", self.number));
        let interface = if host.has(&interface) { format!("{interface}b") } else { interface };
        let address = format!("10.{}.0.{count}", self.number);
        ip(&format!("link add {port} type veth peer name {interface} netns {}", host.name));
        ip(&format!("link set {port} master {} up", self.name));
        if versions == Versions::Both {
            ip(&format!("-n {} address add {address}/24 dev {interface}", host.name));
        }
        ip(&format!("-n {} link set {interface} up", host.name));
        Cable { host: host.name.clone(), interface, port, address }
    }

    /// A cable that was pulled at the switch's side; the host still has a link.
    pub fn part(&self, cable: &Cable) {
        ip(&format!("link set {} nomaster", cable.port));
    }

    /// And put in again.
    pub fn join(&self, cable: &Cable) {
        ip(&format!("link set {} master {}", cable.port, self.name));
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        ip(&format!("link delete {}", self.name));
    }
}

impl Host {
    pub fn new(name: &str) -> Self {
        ip(&format!("netns add {name}"));
        let host = Self { name: name.to_owned() };
        ip(&format!("-n {name} link set lo up"));
        // The second that the kernel looks for a neighbour with the same address would go into each figure.
        host.inside(|| std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0")).expect("setting accept_dad");
        host
    }

    /// The one that this program is in, by a name.
    pub fn here(name: &str) -> Self {
        ip(&format!("netns attach {name} {}", std::process::id()));
        Self { name: name.to_owned() }
    }

    /// A command that runs in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// What happens to the network in `work` happens in this host.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let place = std::fs::File::open(format!("/run/netns/{}", self.name)).expect("the namespace is there");
        let enter = move || {
            setns(place, CloneFlags::CLONE_NEWNET).expect("entering the host's network");
            work()
        };
        std::thread::scope(|scope| scope.spawn(enter).join()).expect("what runs in the host does not panic")
    }

    /// Gives it a firewall.
    pub fn nft(&self, rules: &str) {
        let mut nft = self.command("nft");
        nft.args(["--file", "-"]).stdin(Stdio::piped());
        let mut child = nft.spawn().expect("nft starts: is nftables installed?");
        child.stdin.take().expect("it is piped").write_all(rules.as_bytes()).expect("nft reads its rules");
        assert!(child.wait().expect("it is this process's child").success(), "nft refuses the rules");
    }

    fn has(&self, interface: &str) -> bool {
        let show = Command::new("ip").args(["-n", &self.name, "link", "show", "dev", interface]).output();
        show.expect("ip starts").status.success()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        ip(&format!("netns delete {}", self.name));
    }
}

impl Cable {
    /// Switches the interface off or on, as pulling the cable does.
    pub fn set(&self, state: &str) {
        ip(&format!("-n {} link set {} {state}", self.host, self.interface));
    }

    /// Gives it another IPv4 address.
    pub fn move_to(&self, address: &str) {
        ip(&format!("-n {} address delete {}/24 dev {}", self.host, self.address, self.interface));
        ip(&format!("-n {} address add {address}/24 dev {}", self.host, self.interface));
    }
}

fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).output().expect("ip starts: is iproute2 installed?");
    assert!(done.status.success(), "ip {words}: {}", String::from_utf8_lossy(&done.stderr).trim());
}
