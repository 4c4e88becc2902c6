//! image/build on bad days: wrong words, no network, no room, no emulation, a signal. Each ends in one line that says what to
//! do and leaves nothing in dist/; the next run finds a clean place.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

mod fixture;
use fixture::{checkout, text};

/// Longer than any of these takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A builder with folders of its own.
struct Builder {
    folder: tempfile::TempDir,
}

impl Builder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::create_dir(folder.path().join("binaries")).expect("folder");
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// image/build, or a shell's words about it, with Debian's mirror somewhere.
    fn command(&self, program: &str, mirror: &str) -> Command {
        let mut command = Command::new("env");
        command
            // Whoever starts the tests in the background of a script has them ignore it, and with them all that they start.
            .args(["--default-signal=INT", program])
            .current_dir(checkout())
            .envs([
                ("BASE", "debian"),
                ("VERSION", "1.2.3"),
                ("PROFILE", "release"),
                ("POSTHOUSE_DEBIAN_MIRROR", mirror),
            ])
            // What these tests are about comes before the lock or goes without.
            .env("LOCK", "off")
            .env("POSTHOUSE_MMDEBSTRAP_OPTIONS", "--mode=chrootless --variant=custom --skip=check/chrootless")
            .env("POSTHOUSE_WORK_DIR", self.at("work"))
            .env("POSTHOUSE_DIST_DIR", self.at("dist"))
            .env("XDG_CACHE_HOME", self.at("cache"))
            // So that neither the cross compiler nor its container is asked for.
            .env("POSTHOUSE_BINARIES", self.at("binaries"))
            .stdin(Stdio::null());
        command
    }

    fn build(&self, changed: &[(&str, &str)]) -> Output {
        self.command("image/build", "http://127.0.0.1:1/debian")
            .envs(changed.iter().copied())
            .output()
            .expect("image/build")
    }

    /// Starts a build that gets stuck in its second stage, and waits until it is.
    fn stuck(&self, mirror: &str) -> Child {
        let child = self
            .command("image/build", mirror)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("image/build");
        let log = self.at("work/debian-release/logs/20-packages.log");
        wait_until("apt asks the mirror", || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("apt-get update"))
        });
        child
    }

    fn stage_group(&self) -> String {
        fs::read_to_string(self.at("work/debian-release/stage.group")).expect("the stage's group").trim().to_owned()
    }

    fn dist_is_empty(&self) -> bool {
        fs::read_dir(self.at("dist")).map_or(true, |mut entries| entries.next().is_none())
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A mirror that takes a request and never answers.
fn silent_mirror() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = format!("http://{}/debian", listener.local_addr().expect("an address"));
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    address
}

fn signal(name: &str, target: &str) -> bool {
    Command::new("kill").args([name, "--", target]).stderr(Stdio::null()).status().expect("kill").success()
}

/// The one line of a failed build, which names the builder; anything more is a failure of the test.
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "it was taken: {}", text(&output.stdout));
    let words = text(&output.stderr);
    assert_eq!(words.lines().count(), 1, "{words}");
    assert!(words.starts_with("posthouse image: "), "{words}");
    words
}

#[test]
fn unknown_words_are_refused_with_the_known_ones() {
    let builder = Builder::new();
    let cases = [
        ("BASE", "ubuntu", "unknown BASE 'ubuntu'; take auto, raspios or debian"),
        ("VERSION", "latest", "VERSION 'latest' is not a semantic version such as 1.2.3"),
        ("VERSION", "../../1.2.3", "is not a semantic version"),
        ("PROFILE", "fast", "unknown PROFILE 'fast'; take release or dev"),
        ("LOCK", "on", "unknown LOCK 'on'; take strict, prefer or off"),
    ];
    for (name, value, words) in cases {
        let line = refusal(&builder.build(&[(name, value)]));
        assert!(line.contains(words), "{line}");
    }
    assert!(!builder.at("work").exists() && !builder.at("dist").exists());
}

#[test]
fn unknown_options_and_stages_are_refused() {
    let builder = Builder::new();
    for (arguments, words) in [
        (["--quick", ""], "unknown option '--quick'"),
        (["--only", "99-nothing"], "unknown stage '99-nothing'"),
        (["--fresh", "--only"], "--only wants a name behind it"),
        (["--base", ""], "--base wants a name behind it"),
    ] {
        let output = builder.command("image/build", "").args(arguments).output().expect("image/build");
        assert!(refusal(&output).contains(words), "{output:?}");
    }
}

#[test]
fn a_lock_that_does_not_fit_the_package_lists_stops_the_build_before_it_begins() {
    let builder = Builder::new();
    fs::create_dir(builder.at("lock")).expect("folder");
    let lock = fs::read_to_string(checkout().join("image/lock/debian.lock")).expect("the lock");
    let folder = builder.at("lock").display().to_string();
    let settings = [("LOCK", "prefer"), ("POSTHOUSE_LOCK_DIR", folder.as_str())];
    for (broken, words) in [
        (
            lock.replacen("\"udev\", ", "", 1),
            "image/packages asks for udev, which the lock of base debian was not made for",
        ),
        (lock.replace("wants = [", "wants = [\"bash\", "), "the lock of base debian was made for bash too"),
        (lock[..lock.len() / 2].to_owned(), "is not a package lock: "),
    ] {
        fs::write(builder.at("lock/debian.lock"), broken).expect("write");
        let line = refusal(&builder.build(&settings));
        assert!(line.contains(words) && line.contains("run 'make lock'"), "{line}");
    }
    assert!(builder.dist_is_empty());
}

#[test]
fn no_network_is_said_so() {
    let builder = Builder::new();
    let line = refusal(&builder.build(&[]));
    assert!(
        line.contains("20-packages failed: no network: an archive does not answer; check the connection"),
        "{line}"
    );
    assert!(builder.dist_is_empty());
}

#[test]
fn a_raspberry_pi_archive_that_does_not_answer_stops_only_who_insists() {
    let builder = Builder::new();
    let silent = ("POSTHOUSE_RASPIOS_MIRROR", "http://127.0.0.1:1/debian");
    assert!(refusal(&builder.build(&[("BASE", "raspios"), silent])).contains("10-sources failed: no network"));
    let output = builder.build(&[("BASE", "auto"), silent]);
    assert!(text(&output.stderr).contains("**** Kernel and firmware come from Debian instead"), "{output:?}");
    assert!(
        text(&output.stdout).contains("base debian (auto: http://127.0.0.1:1/debian does not answer)"),
        "{output:?}"
    );
}

#[test]
fn an_interrupted_build_ends_at_once_with_its_stage() {
    let builder = Builder::new();
    let child = builder.stuck(&silent_mirror());
    let group = builder.stage_group();
    assert!(signal("-INT", &child.id().to_string()));
    let line = refusal(&child.wait_with_output().expect("image/build"));
    assert!(line.contains("interrupted; nothing was left in dist/, the next run starts the stage again"), "{line}");
    wait_until("the stage's programs have ended", || !signal("-0", &format!("-{group}")));
    assert!(builder.dist_is_empty());
    assert!(refusal(&builder.build(&[])).contains("no network"), "the next run does not get as far");
}

#[test]
fn a_killed_build_is_cleaned_up_by_the_next() {
    let builder = Builder::new();
    let mut child = builder.stuck(&silent_mirror());
    let group = builder.stage_group();
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert!(signal("-0", &format!("-{group}")), "the stage ended by itself: this test shows nothing");
    assert!(refusal(&builder.build(&[])).contains("no network"), "the next run does not get as far");
    wait_until("the stage's programs have ended", || !signal("-0", &format!("-{group}")));
    let left: Vec<_> = fs::read_dir(builder.at("work/debian-release/tmp")).expect("folder").collect();
    assert!(left.len() <= 1, "{left:?}");
}

#[test]
fn what_a_build_left_that_was_killed_over_its_last_step_goes() {
    let builder = Builder::new();
    let half = builder.at("dist/.posthouse-4711");
    fs::create_dir_all(&half).expect("folder");
    fs::write(half.join("posthouse-1.2.3-pi4.img.xz"), "half").expect("write");
    assert!(refusal(&builder.build(&[])).contains("no network"), "the next run does not get as far");
    assert!(builder.dist_is_empty());
}

#[test]
fn two_builds_do_not_share_a_folder() {
    let builder = Builder::new();
    let mut child = builder.stuck(&silent_mirror());
    let line = refusal(&builder.build(&[]));
    assert!(line.contains("another build is at work in "), "{line}");
    assert!(signal("-INT", &child.id().to_string()));
    child.wait().expect("wait");
}

/// Runs shell words where mounts are nobody else's: as root, or as root of a user namespace.
fn in_private_mounts(builder: &Builder, words: &str) -> Output {
    let mut command = builder.command("unshare", "http://127.0.0.1:1/debian");
    command.args(["--mount", "--propagation", "private"]);
    if text(&fixture::run(Command::new("id").arg("-u")).stdout).trim() != "0" {
        command.arg("--map-root-user");
    }
    command.args(["--", "bash", "-c", words]).output().expect("unshare")
}

#[test]
fn a_full_disk_is_said_so() {
    let builder = Builder::new();
    fs::create_dir(builder.at("work")).expect("folder");
    let words = "mount -t tmpfs -o size=64k none \"$POSTHOUSE_WORK_DIR\" && exec image/build";
    let line = refusal(&in_private_mounts(&builder, words));
    assert!(line.contains("20-packages failed: the disk is full; the build needs some 4 GB in "), "{line}");
    assert!(builder.dist_is_empty());
}

#[test]
fn a_machine_without_emulation_is_told_what_to_run() {
    let builder = Builder::new();
    fs::create_dir(builder.at("bin")).expect("folder");
    // Registering needs this mount; without it the builder can only say what to do.
    let words = "mount -t tmpfs none /proc/sys/fs/binfmt_misc && printf '#!/bin/sh\\nexit 1\\n' >\"$0/mount\" \
                 && chmod +x \"$0/mount\" && PATH=$0:$PATH exec image/build";
    let words = words.replace("$0", &builder.at("bin").display().to_string());
    let line = refusal(&in_private_mounts(&builder, &words));
    assert!(line.contains("can't run arm64 programs; install qemu-user-static and, as root, run: "), "{line}");
}

#[test]
fn a_user_who_gets_no_user_namespace_is_told_what_root_has_to_do() {
    let builder = Builder::new();
    let mut command = builder.command("unshare", "http://127.0.0.1:1/debian");
    // Somebody with a user's rights and no ids to lend.
    command.args(["--user", "--map-user=1000", "--map-group=1000", "--", "image/build"]);
    let line = refusal(&command.output().expect("unshare"));
    assert!(line.contains("user namespace") || line.contains("user ids"), "{line}");
    assert!(line.contains("as root"), "{line}");
}
