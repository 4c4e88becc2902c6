//! What gives the box its identity and its time, run as it is on the image, on folders that stand for the box's. systemctl and date
//! are stand-ins: there is no journald of this box to start again, and this machine's clock is nobody's to set.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

mod fixture;
use fixture::{checkout, run};

const FIRST: &str = "11111111111111111111111111111111";
const SECOND: &str = "22222222222222222222222222222222";

/// The folders of a box, which outlive its boots as the card does.
struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let house = Self { folder: tempfile::tempdir().expect("temporary folder") };
        for folder in ["data", "run/log/journal", "run/posthouse-data", "bin"] {
            fs::create_dir_all(house.at(folder)).expect("folder");
        }
        for program in ["systemctl", "date"] {
            let place = house.at("bin").join(program);
            fs::write(&place, "#!/bin/sh\necho \"$@\" >>\"$POSTHOUSE_ROOT/${0##*/}\"\n").expect("write");
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        house
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default().trim().to_owned()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.at(path)).expect(path).permissions().mode() & 0o7777
    }

    /// systemd invents an id, journald logs under it, and the identity is set up.
    fn boot(&self, invented: &str, is_mounted: bool) {
        fs::remove_dir_all(self.at("run/log/journal")).expect("volatile");
        fs::create_dir_all(self.at("run/log/journal").join(invented)).expect("folder");
        fs::write(self.at("run/machine-id"), format!("{invented}\n")).expect("write");
        // The data partition is known by the server's folder.
        let server = self.at("data/posthouse");
        if is_mounted {
            fs::create_dir_all(server).expect("folder");
        }
        // What lies in /run is this boot's alone.
        let _ = fs::remove_file(self.at("run/posthouse-data/invented-id"));
        self.identity(&[]);
        // As the condition of posthouse-log.service has it.
        if self.at("run/posthouse-data/invented-id").exists() {
            self.identity(&["log"]);
        }
    }

    fn identity(&self, arguments: &[&str]) {
        self.run(Command::new(checkout().join("overlays/common/usr/lib/posthouse/identity")).args(arguments));
    }

    /// Another boot, from a card whose data partition is read-only.
    fn boot_read_only(&self, invented: &str) {
        fs::create_dir_all(self.at("data/posthouse")).expect("folder");
        fs::write(self.at("run/machine-id"), format!("{invented}\n")).expect("write");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "--", "bash", "-c"]);
        command.arg("mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\" && exec \"$0\"");
        command.arg(checkout().join("overlays/common/usr/lib/posthouse/identity")).arg(self.at("data"));
        self.run(&mut command);
    }

    fn run(&self, command: &mut Command) {
        let path = format!("{}:{}", self.at("bin").display(), std::env::var("PATH").expect("PATH"));
        command.env("PATH", path).env("POSTHOUSE_ROOT", self.folder.path());
        run(command.env("RUNTIME_DIRECTORY", self.at("run/posthouse-data")));
    }

    /// What systemd-timesyncd leaves: a file whose time is the last known one.
    fn keep_time(&self, time: SystemTime) {
        fs::create_dir_all(self.at("data/system/systemd/timesync")).expect("folder");
        let clock = fs::File::create(self.at("data/system/systemd/timesync/clock")).expect("the file");
        clock.set_modified(time).expect("its time");
    }
}

#[test]
fn the_first_boot_s_id_is_the_box_s_for_ever() {
    let house = House::new();
    house.boot(FIRST, true);
    assert_eq!(house.read("run/machine-id"), FIRST);
    assert_eq!(house.read("systemctl"), "", "journald has the right id already");
    house.boot(SECOND, true);
    assert_eq!(house.read("run/machine-id"), FIRST);
    assert!(house.at("run/log/journal").join(FIRST).is_dir(), "the log goes on under the kept id");
    assert_eq!(house.read("systemctl"), "--no-block try-restart systemd-journald.service");
}

#[test]
fn the_clock_never_runs_behind_the_last_known_time() {
    let house = House::new();
    house.keep_time(SystemTime::now() - Duration::from_secs(60));
    house.boot(FIRST, true);
    assert_eq!(house.read("date"), "", "a clock that is ahead is left alone");
    house.keep_time(SystemTime::UNIX_EPOCH + Duration::new(4_000_000_000, 250_000_000));
    house.boot(SECOND, true);
    assert_eq!(house.read("date"), "--set=@4000000000.250000000");
}

#[test]
fn an_id_that_is_none_is_replaced() {
    for damaged in ["", "\0\0\0\0", "1111", "no id"] {
        let house = House::new();
        house.boot(FIRST, true);
        fs::remove_file(house.at("data/system/machine-id")).expect("there");
        fs::write(house.at("data/system/machine-id"), damaged).expect("write");
        house.boot(SECOND, true);
        assert_eq!(house.read("run/machine-id"), SECOND, "{damaged:?}");
        assert_eq!(house.read("data/system/machine-id"), SECOND, "{damaged:?}");
    }
}

#[test]
fn what_is_secret_is_root_s_alone() {
    let house = House::new();
    house.boot(FIRST, true);
    assert_eq!(house.mode("data/system/iwd"), 0o700);
    // The server's user gets through to its own program, and sees nothing of the rest.
    assert_eq!(house.mode("data/updater"), 0o711);
    assert!(house.at("run/posthouse-data/system/systemd").is_dir(), "fstab's name for the folder");
    assert_eq!(house.at("run/posthouse-data/system").canonicalize().expect("a link"), house.at("data/system"));
}

#[test]
fn a_card_that_takes_no_more_writing_keeps_its_identity() {
    let house = House::new();
    house.boot(FIRST, true);
    house.boot_read_only(SECOND);
    assert_eq!(house.read("run/machine-id"), FIRST);
    // As after an update that wants one more folder.
    fs::remove_dir(house.at("data/updater")).expect("empty");
    house.boot_read_only(SECOND);
    assert_eq!(house.read("run/machine-id"), FIRST);
    assert_eq!(house.mode("run/posthouse-data/system/iwd"), 0o700);
}

#[test]
fn a_card_that_never_took_writing_leaves_the_identity_in_memory() {
    let house = House::new();
    house.boot_read_only(FIRST);
    assert_eq!(house.read("run/machine-id"), FIRST);
    assert!(house.at("run/posthouse-data/system/systemd").is_dir());
    assert_eq!(house.read("run/posthouse-data/system/machine-id"), FIRST);
}

#[test]
fn without_data_partition_the_identity_is_in_memory() {
    let house = House::new();
    house.boot(FIRST, false);
    assert_eq!(house.read("run/machine-id"), FIRST);
    assert!(house.at("run/posthouse-data/system/systemd").is_dir());
    assert_eq!(house.mode("run/posthouse-data/system/iwd"), 0o700);
    assert_eq!(fs::read_dir(house.at("data")).expect("folder").count(), 0, "root's empty folder is left alone");
}
