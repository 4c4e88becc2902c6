//! What the overlays promise of the running box, held against its report: kernel settings, the scheduling of the server's
//! threads, the ports that are open to the network, a server that systemd never gives up.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use crate::selftest::{Selftest, Thread};

/// The settings that the image is built with.
const SYSCTLS: &str = include_str!("../../../overlays/common/etc/sysctl.d/90-posthouse.conf");

/// What may be open to the network: the server, its responder, and the two DHCP clients where there is a network.
const OPEN: [(&str, u16); 5] = [("tcp", 80), ("tcp", 443), ("udp", 5353), ("udp", 68), ("udp", 546)];

/// Where the kernel takes a port from for whoever asks something (net.ipv4.ip_local_port_range). timesyncd has one such socket while
/// it waits for an answer, and connects it to nobody; the firewall lets nothing in but the answer.
const ASKING: std::ops::RangeInclusive<u16> = 16_384..=60_999;

/// As in sched(7).
const NORMAL: u32 = 0;
const ROUND_ROBIN: u32 = 2;
const BATCH: u32 = 3;

/// How each of the server's threads is scheduled: policy and priority. What people wait for runs before everything else,
/// and nothing else does but what watches over it.
const THREADS: [(&str, u32, u32); 9] = [
    ("posthoused", NORMAL, 0),
    ("network", ROUND_ROBIN, 1),
    ("store-writer", ROUND_ROBIN, 1),
    ("realtime-guard", ROUND_ROBIN, 2),
    ("watchdog", NORMAL, 0),
    ("mDNS_daemon", NORMAL, 0),
    ("reader", NORMAL, 0),
    ("store-applier", BATCH, 0),
    ("password-hash", BATCH, 0),
];

/// Those of them that come and go with the work.
const AT_WORK: [&str; 2] = ["reader", "password-hash"];

/// Each setting of the image is in force on the box.
pub fn assert_sysctls(report: &Selftest) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for (name, wanted) in settings(SYSCTLS) {
        match report.sysctls.get(name) {
            Some(found) if found.split_whitespace().eq(wanted.split_whitespace()) => {}
            Some(found) => wrong.push(format!("{name} is {found}, not {wanted}")),
            None => wrong.push(format!("{name} is not in the box's report")),
        }
    }
    ensure!(wrong.is_empty(), "kernel settings: {}", wrong.join("; "));
    Ok(())
}

/// The threads of a server without work are there, each scheduled as it should be.
pub fn assert_threads(report: &Selftest) -> anyhow::Result<()> {
    judge_threads(&report.threads, |name| !AT_WORK.contains(&name))
}

/// The same of a server at work, when [`has_seen_all_at_work`].
pub fn assert_threads_at_work(report: &Selftest) -> anyhow::Result<()> {
    judge_threads(&report.load, |_| true)
}

fn judge_threads(threads: &[Thread], is_needed: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    for thread in threads {
        let known = THREADS.iter().find(|(name, ..)| *name == thread.name);
        let (name, policy, priority) = *known.with_context(|| format!("nobody knows this thread: {thread:?}"))?;
        let is_right = thread.policy == policy && thread.priority == priority;
        ensure!(is_right, "{name} has not policy {policy}, priority {priority}: {thread:?}");
    }
    for (name, ..) in THREADS.iter().filter(|(name, ..)| is_needed(name)) {
        ensure!(threads.iter().any(|thread| thread.name == *name), "there is no thread {name}: {threads:?}");
    }
    Ok(())
}

/// Whether every kind of thread was seen at work, however scheduled.
pub fn has_seen_all_at_work(report: &Selftest) -> bool {
    THREADS.iter().all(|(name, ..)| report.load.iter().any(|thread| thread.name == *name))
}

/// The server's door is open, and no other but those that a network needs.
pub fn assert_ports(report: &Selftest) -> anyhow::Result<()> {
    let mut open = BTreeSet::new();
    for [protocol, address] in &report.sockets {
        let (address, port) = address.split_once(':').with_context(|| format!("{address} is no address"))?;
        let port = u16::from_str_radix(port, 16).with_context(|| format!("{port} is no port"))?;
        if !is_loopback(address) {
            open.insert((protocol.trim_end_matches('6'), port));
        }
    }
    for door in &OPEN[..2] {
        ensure!(open.contains(door), "nobody listens on port {}", door.1);
    }
    let is_asking = |(protocol, port): &(&str, u16)| *protocol == "udp" && ASKING.contains(port);
    let surplus: Vec<_> = open.iter().filter(|port| !OPEN.contains(port)).collect();
    let is_known = surplus.len() <= 1 && surplus.iter().all(|port| is_asking(port));
    ensure!(is_known, "open to the network, and nobody knows why: {surplus:?}");
    Ok(())
}

/// The server and its doors, and the door for updates; last, how often that is knocked at.
const NEVER_GIVEN_UP: [&str; 6] = [
    "posthoused.service",
    "posthoused.socket",
    "posthoused-https.socket",
    "posthouse-update.service",
    "posthouse-update.path",
    "trigger",
];

/// However often the server fails, it is started again and its door stays open. Killing it a few times would not show a lost
/// setting: it is started again so slowly that systemd's own limit is never met.
pub fn assert_never_given_up(report: &Selftest) -> anyhow::Result<()> {
    for unit in NEVER_GIVEN_UP {
        let found = report.start_limits.iter().find(|[name, _]| name == unit).map(|[_, interval]| interval.as_str());
        ensure!(found == Some("0"), "{unit} is given up after too many starts in {found:?}, not never");
    }
    Ok(())
}

/// `name = value` lines, without comments.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.trim(), value.trim()))
}

/// The kernel writes an address as words of 32 bits, each with its lowest byte first.
fn is_loopback(address: &str) -> bool {
    address == "00000000000000000000000001000000" || address.len() == 8 && address.ends_with("7F")
}

#[cfg(test)]
mod tests {
    use super::{
        NEVER_GIVEN_UP, assert_never_given_up, assert_ports, assert_sysctls, assert_threads, assert_threads_at_work,
        has_seen_all_at_work, settings,
    };
    use crate::selftest::Selftest;

    fn read(lines: &[&str]) -> Selftest {
        let mut console: String = lines.iter().map(|line| format!("posthouse-selftest: {line}\r\n")).collect();
        console.push_str("posthouse-selftest: end=1\r\n");
        Selftest::read(&console).expect("a whole report")
    }

    #[test]
    fn a_setting_that_is_missing_or_different_is_named() {
        let lines: Vec<String> =
            settings(super::SYSCTLS).map(|(name, value)| format!("sysctl={name} {value}")).collect();
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert!(lines.len() > 20, "{lines:?}");
        assert_sysctls(&read(&lines)).expect("all as in the image");
        let last = lines.pop().expect("a line");
        let name = last.trim_start_matches("sysctl=").split(' ').next().expect("a name");
        assert!(assert_sysctls(&read(&lines)).expect_err("missing").to_string().contains(name));
        let other = format!("{last}7");
        lines.push(&other);
        assert!(assert_sysctls(&read(&lines)).expect_err("different").to_string().contains(name));
    }

    #[test]
    fn a_thread_with_another_policy_is_named() {
        let threads = [
            "thread=0 0 posthoused",
            "thread=2 1 network",
            "thread=0 0 reader",
            "thread=2 1 store-writer",
            "thread=2 2 realtime-guard",
            "thread=3 0 store-applier",
            "thread=0 0 watchdog",
            "thread=0 0 mDNS_daemon",
        ];
        assert_threads(&read(&threads)).expect("as it should be");
        for (index, wrong) in [
            (1, "thread=0 0 network"),
            (2, "thread=2 1 reader"),
            (3, "thread=0 0 store-writer"),
            (4, "thread=2 1 realtime-guard"),
            (5, "thread=2 1 store-applier"),
            (6, "thread=0 0 another"),
        ] {
            let mut threads = threads;
            threads[index] = wrong;
            assert_threads(&read(&threads)).expect_err(wrong);
        }
    }

    #[test]
    fn a_server_at_work_shows_every_kind_of_thread() {
        let lines: Vec<String> =
            super::THREADS.iter().map(|(name, policy, priority)| format!("load={policy} {priority} {name}")).collect();
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert!(has_seen_all_at_work(&read(&lines)));
        assert_threads_at_work(&read(&lines)).expect("as it should be");
        let hash = lines.pop().expect("the hash");
        assert!(!has_seen_all_at_work(&read(&lines)));
        assert_threads_at_work(&read(&lines)).expect_err("no hash");
        // Before everything else, as the thread that started it: nobody's password may do that.
        lines.extend([hash, "load=2 1 password-hash"]);
        assert_threads_at_work(&read(&lines)).expect_err("a real-time hash");
    }

    #[test]
    fn a_server_that_is_given_up_some_day_is_named() {
        let right = NEVER_GIVEN_UP.map(|unit| format!("start_limit={unit} 0"));
        let report = |lines: &[String]| read(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert_never_given_up(&report(&right)).expect("as it should be");
        for (place, unit) in NEVER_GIVEN_UP.into_iter().enumerate() {
            for wrong in [format!("start_limit={unit} 10s"), format!("start_limit={unit} infinity"), String::new()] {
                let mut lines = right.clone();
                lines[place] = wrong;
                let error = assert_never_given_up(&report(&lines)).expect_err(unit);
                assert!(error.to_string().starts_with(unit), "{error}");
            }
        }
    }

    #[test]
    fn a_port_that_nobody_knows_is_named_unless_it_is_the_box_s_own() {
        let server = "socket=tcp6 00000000000000000000000000000000:0050";
        let secure = "socket=tcp6 00000000000000000000000000000000:01BB";
        let resolver = "socket=udp 3500007F:0035";
        let clients = "socket=udp 0F02000A:0044";
        assert_ports(&read(&[server, secure, resolver, clients])).expect("as it should be");
        assert_ports(&read(&[secure, resolver])).expect_err("nobody on port 80");
        assert_ports(&read(&[server, resolver])).expect_err("nobody on port 443");
        let asks = "socket=udp6 00000000000000000000000000000000:C546";
        assert_ports(&read(&[server, secure, resolver, asks])).expect("somebody waits for the time");
        assert_ports(&read(&[server, secure, asks, "socket=udp 00000000:C547"])).expect_err("more than one who asks");
        assert_ports(&read(&[server, secure, "socket=udp 00000000:00A1"])).expect_err("an open port 161");
        let error = assert_ports(&read(&[server, secure, "socket=tcp 00000000:0016"])).expect_err("an open port 22");
        assert!(error.to_string().contains("22"), "{error}");
    }
}
