//! The updater is ended at each of its durable steps, as a power cut would end it, and started again: something that runs is
//! always picked, what was asked for comes about once and no more, and nothing is left over.

#![cfg(all(target_os = "linux", feature = "failpoints"))]

mod rig;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use posthouse_protocol::update::UpdateOutcome;
use posthouse_updater::Sha256;
use rig::{Rig, Run};

const FACTORY: &str = env!("CARGO_PKG_VERSION");

/// What happens to a box, and what it runs before and afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    GoodVersion,
    CrashingVersion,
    DeafVersion,
    GoingBack,
    Refusal,
    LostSlot,
    LongAudit,
}

impl Story {
    fn of(place: &str) -> Self {
        match place.split('.').next().expect("a name") {
            "crash" => Self::CrashingVersion,
            "give_up" => Self::DeafVersion,
            "go_back" => Self::GoingBack,
            "refuse" => Self::Refusal,
            "lose" => Self::LostSlot,
            "audit" => Self::LongAudit,
            _ => Self::GoodVersion,
        }
    }

    /// What runs in the end, and what has happened.
    fn end(self) -> (&'static str, &'static [(&'static str, usize)]) {
        match self {
            Self::GoodVersion | Self::LongAudit => ("0.3.0", &[("confirmed", 2), ("installed", 2)]),
            Self::CrashingVersion | Self::DeafVersion => {
                ("0.2.0", &[("confirmed", 1), ("installed", 2), ("rolled_back", 1)])
            }
            Self::GoingBack => (FACTORY, &[("confirmed", 1), ("installed", 1), ("went_back", 1)]),
            Self::Refusal => ("0.2.0", &[("confirmed", 1), ("installed", 1), ("refused", 1)]),
            Self::LostSlot => (FACTORY, &[("confirmed", 1), ("installed", 1), ("rolled_back", 1)]),
        }
    }
}

/// A box and whoever sees to it that what it asks for is started.
struct Device {
    rig: Rig,
    /// What may be picked at present.
    may_start: Vec<String>,
}

impl Device {
    fn new(may_start: &[&str]) -> Self {
        let mut device = Self { rig: Rig::new(), may_start: may_start.iter().map(ToString::to_string).collect() };
        device.rig.pick();
        device
    }

    /// The power went: the box starts, and goes on with what was under way.
    fn after(&mut self, run: &Run) {
        if run.is_killed {
            self.boot();
        }
    }

    fn boot(&mut self) {
        let _ = fs::remove_dir_all(self.rig.path("run"));
        fs::create_dir(self.rig.path("run")).expect("made");
        self.start();
    }

    /// The server is started.
    fn start(&mut self) {
        let run = self.rig.pick();
        self.after(&run);
        assert!(run.is_killed || run.is_success, "{}", run.said);
        let starts = self.rig.starts();
        assert!(self.may_start.contains(&starts), "{starts} is started, of {:?}", self.may_start);
    }

    /// All that the service manager would do until there is nothing more to do.
    fn settle(&mut self) {
        for _ in 0..20 {
            let asked = self.rig.asked();
            let has_request = self.rig.path("inbox/request").exists();
            if asked.iter().any(|call| call.starts_with("restart")) {
                self.start();
            } else if has_request || asked.iter().any(|call| call.contains("posthouse-update.service")) {
                // Not measured: that would take a second.
                self.rig.show(0, "active");
                let run = self.rig.inbox();
                self.after(&run);
            } else {
                return;
            }
        }
        panic!("there is no end to it");
    }

    /// What is tried is watched until it ends.
    fn watch(&mut self) {
        for _ in 0..4 {
            if !self.is_trying() {
                return;
            }
            self.rig.show(std::process::id(), "active");
            let run = self.rig.trial();
            self.after(&run);
            self.settle();
        }
        panic!("the trial does not end");
    }

    fn is_trying(&self) -> bool {
        self.rig.status().trial.is_some()
    }

    fn install(&mut self, seq: u64) {
        self.rig.offer_release(seq);
        self.settle();
    }

    fn play(&mut self, story: Story) {
        match story {
            Story::GoodVersion | Story::LongAudit => {
                self.install(3);
                self.watch();
            }
            Story::CrashingVersion => {
                self.install(3);
                for _ in 0..4 {
                    if self.is_trying() {
                        let run = self.rig.crash();
                        self.after(&run);
                        self.start();
                    }
                }
                self.watch();
            }
            Story::DeafVersion => {
                self.install(3);
                self.rig.verdict("failed");
                self.watch();
            }
            Story::GoingBack => {
                self.rig.go_back();
                self.settle();
            }
            Story::Refusal => {
                self.rig.offer(b"no bundle at all");
                self.settle();
            }
            Story::LostSlot => {
                let slot = self.rig.names("state/slots").remove(0);
                fs::write(self.rig.path(&format!("state/slots/{slot}/posthoused")), "rot").expect("written");
                self.start();
            }
        }
        self.settle();
    }
}

/// Ends it at one place; gives how often that happened.
fn try_place(place: &str) -> u32 {
    let story = Story::of(place);
    let (end, happened) = story.end();
    let mut device = Device::new(&[FACTORY, "0.2.0"]);
    device.install(2);
    device.watch();
    if story == Story::LongAudit {
        lengthen(&device.rig.path("state/audit"));
    }
    device.may_start = ["0.2.0", "0.3.0", end].map(str::to_owned).to_vec();
    device.rig.kill_at = Some(place.to_owned());
    device.play(story);
    let killed = device.rig.killed;
    // Once more, as it would be after the next time that the box is switched off.
    device.rig.kill_at = None;
    device.boot();
    device.settle();
    assert_eq!(device.rig.starts(), end, "{place}");
    let status = device.rig.status();
    assert_eq!((status.trial, status.trouble), (None, None), "{place}");
    assert_eq!((status.ratchet.seq, status.busy), (if end == "0.3.0" { 3 } else { 2 }, false), "{place}");
    assert_eq!(count(&device.rig), happened.iter().map(|(what, n)| ((*what).to_owned(), *n)).collect(), "{place}");
    assert_nothing_is_left(&device.rig, story, place);
    killed
}

fn assert_nothing_is_left(rig: &Rig, story: Story, place: &str) {
    let status = rig.status();
    let slots = [Some(&status.current), status.previous.as_ref()].into_iter().flatten();
    let mut slots: Vec<String> = slots.filter_map(|slot| slot.sha256.clone()).collect();
    slots.sort();
    assert_eq!(rig.names("state/slots"), slots, "{place}");
    assert_eq!(rig.names("state/incoming"), Vec::<String>::new(), "{place}");
    assert_eq!(rig.names("inbox"), Vec::<String>::new(), "{place}");
    assert_eq!(rig.names("run"), ["posthoused", "status.json"], "{place}");
    let mut files = vec!["audit", "incoming", "lock", "slots", "state.a", "state.b", "trust.a", "trust.b", "turn"];
    if story == Story::LongAudit {
        files.insert(1, "audit.1");
    }
    assert_eq!(rig.names("state"), files, "{place}");
}

/// How often each thing has happened, by the audit.
fn count(rig: &Rig) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for file in ["state/audit.1", "state/audit"] {
        for line in fs::read_to_string(rig.path(file)).unwrap_or_default().lines() {
            let entry: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            *counted.entry(entry["what"].as_str().expect("what").to_owned()).or_default() += 1;
        }
    }
    counted.remove("filler");
    counted
}

/// Until another file is begun.
fn lengthen(path: &Path) {
    let mut text = fs::read_to_string(path).expect("an audit");
    let mut last: String = text.lines().last().expect("a line").to_owned();
    let mut n = text.lines().count();
    while text.len() <= 256 * 1024 {
        n += 1;
        let prev = Sha256::of(last.as_bytes());
        last = format!(r#"{{"prev":"{prev}","n":{n},"what":"filler","reason":"{}"}}"#, "x".repeat(1000));
        text += &last;
        text.push('\n');
    }
    fs::write(path, text).expect("written");
}

#[test]
fn a_pick_that_is_killed_leaves_no_trial_unwatched() {
    const WATCH: &str = "start --no-block posthouse-trial.service";
    for place in ["start.before", "start.recorded", "start.audited", "start.told", "start.linked", "start.secret"] {
        let mut device = Device::new(&[FACTORY, "0.2.0"]);
        device.install(2);
        device.watch();
        device.may_start = vec!["0.2.0".to_owned(), "0.3.0".to_owned()];
        device.rig.offer_release(3);
        device.rig.show(0, "active");
        device.rig.inbox();
        device.rig.asked();
        device.rig.kill_at = Some(place.to_owned());
        // The power stays, and the server is started all the same.
        assert!(device.rig.pick().is_killed, "{place}");
        assert!(device.rig.asked().contains(&WATCH.to_owned()), "{place}: nobody watches");
        device.rig.show(std::process::id(), "active");
        let mut trial = device.rig.trial_command().spawn().expect("the updater runs");
        while trial.try_wait().expect("it can be waited for").is_none() {
            if device.rig.asked().iter().any(|call| call.starts_with("restart")) {
                device.start();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!((device.rig.starts().as_str(), device.is_trying()), ("0.3.0", false), "{place}");
        assert_eq!(device.rig.status().last.map(|last| last.outcome), Some(UpdateOutcome::Confirmed), "{place}");
    }
}

#[test]
fn whatever_step_is_the_last_one_the_box_comes_back() {
    let output = Rig::new().command(&["failpoints"]).output().expect("the updater runs");
    let places: Vec<String> = String::from_utf8(output.stdout).expect("names").lines().map(str::to_owned).collect();
    assert!(places.len() > 40, "{places:?}");
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match std::panic::catch_unwind(|| try_place(place)) {
                        Ok(1) => {}
                        Ok(killed) => {
                            failed.lock().expect("no panic here").push(format!("{place}: ended {killed} times"));
                        }
                        // It has said why.
                        Err(_) => failed.lock().expect("no panic here").push(place.clone()),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic here");
    println!(
        "{} of {} places: the box came back, with the old or the new version, and nothing left over",
        places.len() - failed.len(),
        places.len()
    );
    assert_eq!(failed, Vec::<String>::new());
}
