//! The package lock between archives that change, lie and forget: it is written from what they have, and then it alone says
//! what is installed. The archives are small; apt, mmdebstrap, curl and the stages are the real ones.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

mod fixture;
use fixture::bench::{Bench, KERNEL, add};
use fixture::{checkout, listed, run, text};

const UDEV: &str = "udev_1.0_arm64.deb";

/// A bench whose lock was written from what its archives have, ready for the stage `packages`.
fn locked() -> Bench {
    let bench = Bench::new();
    run(&mut bench.command(&checkout().join("image/renew-lock")));
    bench.succeeds("10-sources");
    bench
}

fn at(bench: &Bench, path: &str) -> PathBuf {
    bench.folder.path().join(path)
}

fn snapshot(bench: &Bench) -> String {
    let lock = fs::read_to_string(at(bench, "lock/raspios.lock")).expect("the lock");
    let line = lock.lines().find_map(|line| line.strip_prefix("snapshot = ")).expect("a time");
    line.trim_matches('"').to_owned()
}

/// What was installed, by apt's own words.
fn has(bench: &Bench, package: &str, version: &str) -> bool {
    let stanzas = fs::read_to_string(bench.work().join("packages.stanzas")).expect("stanzas");
    stanzas.contains(&format!("Package: {package}\nVersion: {version}\n"))
}

#[test]
fn what_is_locked_is_installed_whatever_the_archive_has_now() {
    let mut bench = locked();
    add(&mut bench.debian, "debian", "main", "udev", "2.0", &[]);
    bench.debian.publish(&bench.debian_key);
    bench.succeeds("20-packages");
    assert!(has(&bench, "udev", "1.0"), "the archive's newer one was taken");
    assert!(has(&bench, &format!("linux-image-{KERNEL}"), "1:6.12.47-1+rpt1"));
    assert_eq!(bench.origins()["raspi-firmware"], "raspios");
    assert!(!at(&bench, "root/etc/apt/sources.list").exists(), "it names a folder of this machine");
    assert!(bench.work().join("packages.lock").exists() && !bench.work().join("unlocked").exists());
    run(&mut bench.command(&checkout().join("image/renew-lock")));
    bench.succeeds("20-packages");
    assert!(has(&bench, "udev", "2.0"), "the renewed lock was not kept to");
}

#[test]
fn a_base_without_a_lock_is_built_and_says_so() {
    let bench = Bench::new();
    bench.succeeds("10-sources");
    bench.succeeds("20-packages");
    let reason = fs::read_to_string(bench.work().join("unlocked")).expect("a reason");
    assert_eq!(reason.trim(), "base raspios has no lock; 'make lock' writes one");
    let warning = fs::read_to_string(bench.work().join("warnings")).expect("a warning");
    assert!(warning.starts_with("UNLOCKED: "), "{warning}");
}

#[test]
fn a_deb_that_left_the_archive_comes_from_the_snapshot() {
    let bench = locked();
    let past = at(&bench, &format!("www/past/debian/{}/pool", snapshot(&bench)));
    fs::create_dir_all(&past).expect("folder");
    fs::rename(at(&bench, "www/debian/pool").join(UDEV), past.join(UDEV)).expect("it was there");
    bench.succeeds("20-packages");
    assert!(has(&bench, "udev", "1.0"));
    // From now on it is in the cache.
    fs::remove_dir_all(at(&bench, "www")).expect("remove");
    fs::remove_dir_all(at(&bench, "cache/packages")).expect("remove");
    bench.succeeds("20-packages");
}

#[test]
fn a_deb_that_is_nowhere_stops_a_strict_build_and_unlocks_a_lenient_one() {
    let mut bench = locked();
    add(&mut bench.debian, "debian", "main", "udev", "2.0", &[]);
    bench.debian.publish(&bench.debian_key);
    fs::remove_file(at(&bench, "www/debian/pool").join(UDEV)).expect("it was there");
    let output = bench.stage("20-packages", &[]);
    assert!(!output.status.success(), "another package was taken");
    let words = bench.explained("20-packages", &output);
    assert!(
        words.contains("failed: udev 1.0 is in the lock, but the archive has it no longer and neither has"),
        "{words}"
    );
    assert!(words.contains("run 'make lock'"), "{words}");
    assert!(!bench.work().join("rootfs.tar").exists());
    let output = bench.stage("20-packages", &[("LOCK", "prefer")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(has(&bench, "udev", "2.0"));
    let reason = fs::read_to_string(bench.work().join("unlocked")).expect("a reason");
    assert!(reason.starts_with("udev 1.0 is in the lock, but "), "{reason}");
    assert!(!bench.work().join("packages.lock").exists());
}

#[test]
fn a_silent_network_is_no_reason_to_unlock() {
    let bench = locked();
    let silent = ("POSTHOUSE_DEBIAN_MIRROR", "http://127.0.0.1:1/debian");
    fs::remove_dir_all(at(&bench, "www/raspios/pool")).expect("remove");
    let output = bench.stage("20-packages", &[silent, ("LOCK", "prefer")]);
    assert!(!output.status.success());
    let words = bench.explained("20-packages", &output);
    assert!(words.contains("no network: an archive does not answer"), "{words}");
    assert!(bench.work().join("packages.lock").exists(), "the build went on without its lock");
}

#[test]
fn a_mirror_that_sends_another_file_is_caught_and_the_next_run_recovers() {
    let bench = locked();
    bench.debian.falsify(UDEV);
    let output = bench.stage("20-packages", &[("LOCK", "prefer")]);
    assert!(!output.status.success(), "it was taken");
    let words = bench.explained("20-packages", &output);
    assert!(words.contains("what the mirror sent for udev 1.0 is not the file that the lock names"), "{words}");
    assert!(!bench.work().join("rootfs.tar").exists());
    let left = fs::read_dir(bench.work().join("tmp")).expect("folder").map(|entry| entry.expect("entry").file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().starts_with("posthouse-debs-")), "the .debs were left");
    bench.debian.falsify(UDEV);
    bench.succeeds("20-packages");
}

#[test]
fn a_damaged_cache_is_mended() {
    let bench = locked();
    bench.succeeds("20-packages");
    let debs = at(&bench, "cache/debs");
    for entry in fs::read_dir(&debs).expect("folder") {
        fs::write(entry.expect("entry").path(), "half").expect("write");
    }
    fs::remove_dir_all(at(&bench, "cache/packages")).expect("remove");
    bench.succeeds("20-packages");
    for entry in fs::read_dir(&debs).expect("folder") {
        let file = entry.expect("entry").path();
        let sum = text(&run(Command::new("sha256sum").arg(&file)).stdout);
        assert_eq!(Some(&sum[..64]), file.file_stem().and_then(|name| name.to_str()));
    }
}

#[test]
fn a_full_cache_only_costs_time() {
    let bench = locked();
    fs::create_dir_all(at(&bench, "cache")).expect("folder");
    let mut command = bench.command(&PathBuf::from("unshare"));
    command.args(["--mount", "--propagation", "private"]);
    if text(&run(Command::new("id").arg("-u")).stdout).trim() != "0" {
        command.arg("--map-root-user");
    }
    let words = "mount -t tmpfs -o size=16k none \"$CACHE\" && exec \"$0\"";
    command.args(["--", "bash", "-c", words]).arg(checkout().join("image/stages/20-packages"));
    run(&mut command);
    assert!(bench.work().join("rootfs.tar").exists());
    let warning = fs::read_to_string(bench.work().join("warnings")).expect("a warning");
    assert_eq!(warning.lines().count(), 1, "{warning}");
    assert!(
        warning.contains("not in the cache for the next build: ") && warning.contains("No space left"),
        "{warning}"
    );
}

#[test]
fn the_locks_of_this_checkout_fit_its_package_lists() {
    let mut bases = Vec::new();
    for entry in fs::read_dir(checkout().join("image/lock")).expect("folder") {
        let lock = entry.expect("entry").path();
        let base = lock.file_stem().expect("a name").to_string_lossy().into_owned();
        let wanted = [listed("base.list"), listed(&format!("{base}.list"))].concat().join(",");
        let mut check = Command::new(env!("CARGO_BIN_EXE_posthouse-image"));
        run(check.args(["lock", "check", "--wanted", &wanted, "--lock"]).arg(&lock));
        bases.push(base);
    }
    assert!(bases.contains(&"debian".to_owned()), "base debian has no lock");
}
