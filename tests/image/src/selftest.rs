//! What the box says about its own boot: the lines that `/usr/lib/posthouse/selftest` writes on the console.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use posthouse_protocol::appliance::Status;

const PREFIX: &str = "posthouse-selftest: ";

/// The report of one boot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selftest {
    values: HashMap<String, String>,
    pub failed_units: Vec<String>,
    /// As in /proc/mounts: device, place, type, options.
    pub mounts: Vec<[String; 4]>,
    /// Block devices and their sizes in KiB.
    pub blocks: HashMap<String, u64>,
    /// What lasts: place, mode, owner.
    pub kept: Vec<[String; 3]>,
    /// Kernel settings and the values in force.
    pub sysctls: HashMap<String, String>,
    /// The server's threads.
    pub threads: Vec<Thread>,
    /// How they are scheduled while they work, as far as the box has said so yet.
    pub load: Vec<Thread>,
    /// Units that have to be there for ever, and how long systemd counts their starts.
    pub start_limits: Vec<[String; 2]>,
    /// Addresses of version 6 in hexadecimal, by interface.
    pub addresses: Vec<[String; 2]>,
    /// Where the box listens: protocol as in /proc/net, and address and port in hexadecimal.
    pub sockets: Vec<[String; 2]>,
}

/// How a thread is scheduled.
#[derive(Clone, Debug, PartialEq)]
pub struct Thread {
    /// As in sched(7): 0 normal, 2 round-robin, 3 batch.
    pub policy: u32,
    pub priority: u32,
    pub name: String,
}

impl Selftest {
    /// The newest whole report on the console; nothing while its last line is missing.
    pub fn read(console: &str) -> Option<Self> {
        let mut report = Self::default();
        let mut is_whole = false;
        for line in console.lines() {
            let Some((name, value)) = line.trim_end().strip_prefix(PREFIX).and_then(|rest| rest.split_once('=')) else {
                continue;
            };
            match name {
                "failed" => report.failed_units.push(value.to_owned()),
                "mount" => report.mounts.extend(words(value)),
                "block" => report
                    .blocks
                    .extend(words(value).and_then(|[name, size]: [String; 2]| Some((name, size.parse().ok()?)))),
                "kept" => report.kept.extend(words(value)),
                "sysctl" => report.sysctls.extend(setting(value)),
                "thread" => report.threads.extend(thread(value)),
                "load" => report.load.extend(thread(value)),
                "start_limit" => report.start_limits.extend(words(value)),
                "address" => report.addresses.extend(words(value)),
                "socket" => report.sockets.extend(words(value)),
                "end" => is_whole = true,
                _ => {
                    report.values.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        is_whole.then_some(report)
    }

    pub fn text(&self, name: &str) -> anyhow::Result<&str> {
        self.values.get(name).map(String::as_str).with_context(|| format!("the box's report lacks {name}"))
    }

    pub fn number(&self, name: &str) -> anyhow::Result<u64> {
        let text = self.text(name)?;
        text.parse().with_context(|| format!("the box's report says {name}={text}, which is no number"))
    }

    /// What the server says of itself to those who show it.
    pub fn status(&self) -> anyhow::Result<Status> {
        let text = self.text("status")?;
        serde_json::from_str(text).with_context(|| format!("the server's status is {text:?}"))
    }

    /// Every unit started, and systemd found nothing else amiss.
    pub fn assert_healthy(&self) -> anyhow::Result<()> {
        ensure!(self.failed_units.is_empty(), "failed units: {}", self.failed_units.join(", "));
        let state = self.text("state")?;
        ensure!(state == "running", "systemd's state is {state}, not running");
        Ok(())
    }

    /// Nothing writes to root, so no power cut can damage it.
    pub fn assert_root_is_read_only(&self) -> anyhow::Result<()> {
        let root = self.mounts.iter().find(|[_, place, ..]| place == "/").context("the report lacks root's mount")?;
        ensure!(root[3].split(',').any(|option| option == "ro"), "root is mounted {}, not read-only", root[3]);
        Ok(())
    }

    /// The box is the one that it was: to its programs, to the network's DHCP server.
    pub fn assert_same_box(&self, before: &Self) -> anyhow::Result<()> {
        for name in ["machine_id", "lease"] {
            let (was, is) = (before.text(name)?, self.text(name)?);
            ensure!(!is.is_empty() && is == was, "{name} was {was:?} and is {is:?} after a power cut");
        }
        Ok(())
    }

    /// The partitions of the first boot are there: p3 in reserve, p4 mounted for writing under the server's data.
    pub fn assert_data_partition(&self, disk: &str) -> anyhow::Result<()> {
        let partition = |number: u8| format!("{disk}{number}");
        for number in [3, 4] {
            ensure!(self.blocks.contains_key(&partition(number)), "there is no p{number} on {disk}");
        }
        let device = format!("/dev/{}", partition(4));
        let data = self.mounts.iter().find(|[from, place, ..]| *from == device && place == "/var/lib/posthouse");
        let [_, _, kind, options] = data.with_context(|| format!("{device} does not lie under /var/lib/posthouse"))?;
        ensure!(kind == "ext4", "{device} is {kind}, not ext4");
        ensure!(options.split(',').any(|option| option == "rw"), "{device} is mounted {options}, not for writing");
        Ok(())
    }
}

/// A kernel setting and its value, which may hold blanks.
fn setting(value: &str) -> Option<(String, String)> {
    let (name, in_force) = value.split_once(' ')?;
    Some((name.to_owned(), in_force.to_owned()))
}

fn thread(value: &str) -> Option<Thread> {
    let mut words = value.splitn(3, ' ');
    let mut number = || words.next()?.parse().ok();
    let (policy, priority) = (number()?, number()?);
    Some(Thread { policy, priority, name: words.next()?.to_owned() })
}

/// Exactly so many words, or nothing.
fn words<const COUNT: usize>(value: &str) -> Option<[String; COUNT]> {
    let words: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
    words.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::Selftest;

    const CONSOLE: &str = "[  OK  ] Reached target\r\n\r\n\
        posthouse-selftest: state=running\r\n\
        posthouse-selftest: serving_us=41000000\r\n\
        posthouse-selftest: mount=/dev/vda2 / ext4 rw,noatime\r\n\
        posthouse-selftest: mount=/dev/vda4 /var/lib/posthouse ext4 rw,noatime\r\n\
        posthouse-selftest: block=vda3 614400\r\n\
        posthouse-selftest: block=vda4 6000000\r\n\
        posthouse-selftest: end=1\r\n";

    fn read(console: &str) -> Selftest {
        Selftest::read(console).expect("a whole report")
    }

    #[test]
    fn a_healthy_report_is_read() {
        let report = read(CONSOLE);
        report.assert_healthy().expect("healthy");
        report.assert_data_partition("vda").expect("partitions");
        assert_eq!(report.number("serving_us").expect("a number"), 41_000_000);
    }

    #[test]
    fn a_root_that_is_written_to_is_named() {
        read(CONSOLE).assert_root_is_read_only().expect_err("rw");
        read(&CONSOLE.replace("/ ext4 rw", "/ ext4 ro")).assert_root_is_read_only().expect("ro");
    }

    #[test]
    fn another_identity_is_named() {
        let box_of = |id: &str, lease: &str| {
            read(&format!("posthouse-selftest: machine_id={id}\nposthouse-selftest: lease={lease}\n{CONSOLE}"))
        };
        let first = box_of("1", "ADDRESS=2");
        box_of("1", "ADDRESS=2").assert_same_box(&first).expect("the same");
        for other in [box_of("2", "ADDRESS=2"), box_of("1", "ADDRESS=3"), read(CONSOLE)] {
            other.assert_same_box(&first).expect_err("another box");
        }
        box_of("1", "").assert_same_box(&box_of("1", "")).expect_err("no lease at all");
    }

    #[test]
    fn a_report_without_its_end_is_not_read() {
        assert_eq!(Selftest::read(&CONSOLE.replace("end=1", "en")), None);
        assert_eq!(Selftest::read(""), None);
    }

    #[test]
    fn a_failed_unit_is_named() {
        let failed = "posthouse-selftest: failed=a.service\nposthouse-selftest: end=1";
        let error =
            read(&CONSOLE.replace("posthouse-selftest: end=1", failed)).assert_healthy().expect_err("unhealthy");
        assert!(error.to_string().contains("a.service"));
        read(&CONSOLE.replace("=running", "=degraded")).assert_healthy().expect_err("degraded");
    }

    #[test]
    fn missing_partitions_and_mounts_are_named() {
        for (from, to, expected) in [
            ("block=vda3", "block=vda9", "p3"),
            ("/var/lib/posthouse", "/elsewhere", "does not lie under"),
            ("posthouse ext4 rw", "posthouse ext4 ro", "not for writing"),
            ("posthouse ext4", "posthouse vfat", "not ext4"),
        ] {
            let error = read(&CONSOLE.replace(from, to)).assert_data_partition("vda").expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
        read(CONSOLE).number("memory_total_kb").expect_err("a value that is not there");
    }
}
