//! `posthouse-box watch` as its unit starts it, in a box of folders: consoles and the light are files, the boot partition is a FAT file
//! system made with mkfs.vfat and mtools. What a kernel does with such files is not shown here.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use posthouse_protocol::appliance::{Ownership, Status};
use tempfile::TempDir;

/// The program looks every two seconds, and a change may wait five.
const LIMIT: Duration = Duration::from_secs(60);

const CODE: &str = "7K2M-Q9XD-4TRW";

/// As the image makes it.
const REPORT_LEN: usize = 8192;

/// A running program and the box that it looks at.
struct Machine {
    folder: TempDir,
    program: Child,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.program.kill().expect("it runs until somebody stops it");
        self.program.wait().expect("it ended");
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.env("MTOOLS_SKIP_CHECK", "1").output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn put(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, content).expect("written");
}

fn make_card(folder: &Path) -> PathBuf {
    let card = folder.join("boot.fat");
    fs::File::create(&card).and_then(|file| file.set_len(64 << 20)).expect("a file");
    run(Command::new("mkfs.vfat").args(["-F", "32"]).arg(&card));
    put(folder, "blanks", &" ".repeat(REPORT_LEN));
    run(Command::new("mcopy").arg("-i").arg(&card).arg(folder.join("blanks")).arg("::POSTHOUSE.TXT"));
    card
}

impl Machine {
    fn switch_on(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for (path, content) in [
            ("dev/tty1", ""),
            ("dev/ttyAMA0", ""),
            ("sys/class/tty/console/active", "tty1 ttyAMA0\n"),
            ("sys/class/leds/ACT/trigger", "[heartbeat]\n"),
            ("sys/class/leds/ACT/max_brightness", "1\n"),
        ] {
            put(root, path, content);
        }
        let program = Command::new(env!("CARGO_BIN_EXE_posthouse-box"))
            .arg("watch")
            .args(arguments)
            .env("POSTHOUSE_ROOT", root)
            .env("POSTHOUSE_BOOT_PARTITION", make_card(root))
            .spawn()
            .expect("started");
        Self { folder, program }
    }

    /// As the server says it: a file that takes the old one's place.
    fn say(&self, ownership: Ownership) {
        let status = Status {
            names: vec!["posthouse.local".to_owned()],
            addresses: vec!["192.168.1.20".parse().expect("an address")],
            ownership,
            ..Status::default()
        };
        let text = serde_json::to_string(&status).expect("JSON");
        put(self.folder.path(), "run/posthouse/status.new", &text);
        let file = |name: &str| self.folder.path().join("run/posthouse").join(name);
        fs::rename(file("status.new"), file("status.json")).expect("renamed");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.path().join(path)).unwrap_or_default()
    }

    fn report(&self) -> String {
        let card = self.folder.path().join("boot.fat");
        let bytes = run(Command::new("mtype").arg("-i").arg(card).arg("::POSTHOUSE.TXT"));
        String::from_utf8(bytes).expect("UTF-8")
    }

    fn wait_for(&self, what: &str, is_there: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_there(self) {
            assert!(began.elapsed() < LIMIT, "{what}: not within {} s\n{}", LIMIT.as_secs(), self.read("dev/tty1"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_code_is_shown_everywhere_until_the_box_has_an_owner() {
    let machine = Machine::switch_on(&[]);
    machine.say(Ownership::Unclaimed { code: CODE.to_owned() });
    for console in ["dev/tty1", "dev/ttyAMA0"] {
        machine.wait_for("the code on a console", |machine| machine.read(console).contains(CODE));
    }
    machine.wait_for("the code in the report", |machine| machine.report().contains(CODE));
    assert_eq!(machine.report().len(), REPORT_LEN);
    machine.wait_for("a steady light", |machine| machine.read("sys/class/leds/ACT/brightness") == "1");

    // A page is written over the one before it, from the file's beginning as from the screen's.
    for console in ["dev/tty1", "dev/ttyAMA0"] {
        put(machine.folder.path(), console, "");
    }
    machine.say(Ownership::Claimed { owner: "anna".to_owned() });
    for console in ["dev/tty1", "dev/ttyAMA0"] {
        machine.wait_for("the owner on a console", |machine| machine.read(console).contains("Owner: anna"));
        assert!(!machine.read(console).contains(CODE));
    }
    machine.wait_for("the owner in the report", |machine| machine.report().contains("Owner: anna"));
    assert!(!machine.report().contains(CODE), "{}", machine.report());
}

#[test]
fn a_rescued_box_says_why_and_flickers() {
    let machine = Machine::switch_on(&["--consoles", "screen"]);
    put(machine.folder.path(), "run/posthouse-data/rescue", "The card is worn out.\n");
    machine.say(Ownership::Unknown);
    machine.wait_for("the reason", |machine| machine.read("dev/tty1").contains("! The card is worn out."));
    machine.wait_for("the reason in the report", |machine| machine.report().contains("The card is worn out.\r\n"));
    machine.wait_for("the light", |machine| machine.read("sys/class/leds/ACT/delay_off") == "100");
    assert_eq!(machine.read("sys/class/leds/ACT/trigger"), "timer");
    assert_eq!(machine.read("dev/ttyAMA0"), "", "somebody works there");
}

#[test]
fn a_status_that_is_rubbish_is_no_status() {
    let machine = Machine::switch_on(&[]);
    put(machine.folder.path(), "run/posthouse/status.json", "{\"names\": 7, \u{1b}[2J");
    machine.wait_for("a page", |machine| machine.read("dev/tty1").contains("starting: please wait"));
    machine.say(Ownership::Unclaimed { code: CODE.to_owned() });
    machine.wait_for("the code", |machine| machine.read("dev/tty1").contains(CODE));
}
