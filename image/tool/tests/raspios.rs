//! The base raspios against a small signed archive beside a small Debian: where packages come from, whose key counts, and what
//! becomes of the boot partition. The stages are the real ones; only the archives are made up.

use std::fs;
use std::path::Path;

mod fixture;
use fixture::bench::{Bench, DISK_ID, KERNEL};
use fixture::{Key, listed};

#[test]
fn kernel_and_firmware_come_from_raspberry_pi_and_all_else_from_debian() {
    let bench = Bench::new();
    bench.succeeds("10-sources");
    bench.succeeds("20-packages");
    let origins = bench.origins();
    let from = |archive: &str| -> Vec<&String> {
        origins.iter().filter(|(_, origin)| *origin == archive).map(|(name, _)| name).collect()
    };
    let mut wanted = listed("raspios.list");
    wanted.push(format!("linux-image-{KERNEL}"));
    wanted.sort();
    assert_eq!(from("raspios"), wanted.iter().collect::<Vec<_>>());
    let mut wanted = listed("base.list");
    wanted.sort();
    assert_eq!(from("debian"), wanted.iter().collect::<Vec<_>>());
}

#[test]
fn the_boot_partition_holds_what_its_settings_load() {
    let bench = Bench::new();
    for stage in ["10-sources", "20-packages", "30-initramfs", "40-boot"] {
        bench.succeeds(stage);
    }
    let boot = bench.work().join("boot");
    let cmdline = fs::read_to_string(boot.join("cmdline.txt")).expect("cmdline.txt");
    assert!(cmdline.contains(&format!(" root=PARTUUID={DISK_ID}-02 ")), "{cmdline}");
    assert!(boot.join("overlays/disable-bt.dtbo").exists());
    assert!(!boot.join("initrd.img").exists(), "this kernel needs no initramfs");
    let stanzas = fs::read_to_string(bench.work().join("packages.stanzas")).expect("stanzas");
    assert!(stanzas.contains("Package: raspi-firmware\nVersion: 1:1.20250915-1\n"), "{stanzas}");
}

#[test]
fn a_firmware_package_without_the_cut_down_variant_stops_the_build() {
    let bench = Bench::new();
    bench.succeeds("10-sources");
    bench.succeeds("20-packages");
    bench.succeeds("30-initramfs");
    bench.lose("usr/lib/raspi-firmware/fixup4cd.dat");
    let output = bench.stage("40-boot", &[]);
    assert!(!output.status.success());
    assert!(bench.explained("40-boot", &output).contains("the boot partition lacks fixup4cd.dat"), "{output:?}");
}

#[test]
fn a_key_with_another_fingerprint_is_refused() {
    let bench = Bench::new();
    // The default: the fingerprint of the real archive, which this key does not have.
    let output = bench.stage("10-sources", &[("POSTHOUSE_RASPIOS_FINGERPRINT", "")]);
    assert!(!output.status.success());
    assert!(bench.explained("10-sources", &output).contains("the archive's key is not the expected one"), "{output:?}");
    assert!(!bench.work().join("sources/raspios.sources").exists());
}

#[test]
fn an_index_signed_by_another_key_is_refused() {
    let bench = Bench::new();
    bench.raspios.publish(&Key::generate(bench.folder.path(), "intruder"));
    bench.succeeds("10-sources");
    let output = bench.stage("20-packages", &[]);
    assert!(!output.status.success());
    assert!(bench.explained("20-packages", &output).contains("not signed by the expected key"), "{output:?}");
    assert!(!bench.work().join("rootfs.tar").exists());
}

#[test]
fn a_key_beside_the_expected_one_does_not_count() {
    let bench = Bench::new();
    let intruder = Key::generate(bench.folder.path(), "intruder");
    let (ours, theirs) = (bench.folder.path().join("raspios.key"), bench.folder.path().join("intruder.key"));
    intruder.export(&theirs);
    let both = [fs::read(&ours).expect("key"), fs::read(&theirs).expect("key")].concat();
    fs::write(&ours, both).expect("write");
    bench.raspios.publish(&intruder);
    bench.succeeds("10-sources");
    let output = bench.stage("20-packages", &[]);
    assert!(!output.status.success(), "the other key was taken");
    assert!(bench.explained("20-packages", &output).contains("not signed by the expected key"), "{output:?}");
}

#[test]
fn a_mirror_that_lies_about_a_hash_is_caught_and_the_next_run_recovers() {
    let bench = Bench::new();
    bench.succeeds("10-sources");
    bench.debian.falsify("udev_1.0_arm64.deb");
    let output = bench.stage("20-packages", &[]);
    assert!(!output.status.success());
    assert!(bench.explained("20-packages", &output).contains("not what its signed index says"), "{output:?}");
    assert!(!bench.work().join("rootfs.tar").exists());
    bench.debian.falsify("udev_1.0_arm64.deb");
    bench.succeeds("20-packages");
    assert!(bench.work().join("rootfs.tar").exists());
}

#[test]
fn packages_come_from_the_cache_until_a_source_changes() {
    let bench = Bench::new();
    bench.succeeds("10-sources");
    bench.succeeds("20-packages");
    let first = fs::read(bench.work().join("rootfs.tar")).expect("rootfs.tar");
    fs::remove_dir_all(bench.folder.path().join("www")).expect("remove");
    bench.succeeds("20-packages");
    assert_eq!(fs::read(bench.work().join("rootfs.tar")).expect("rootfs.tar"), first);
    let keyring = bench.folder.path().join("other.gpg").display().to_string();
    bench.raspios_key.export(Path::new(&keyring));
    let options = "--mode=chrootless --variant=custom --skip=check/chrootless --logfile=/dev/null";
    for changed in [
        ("POSTHOUSE_DEBIAN_MIRROR", "http://127.0.0.1:1/debian"),
        ("POSTHOUSE_DEBIAN_KEYRING", keyring.as_str()),
        ("POSTHOUSE_MMDEBSTRAP_OPTIONS", options),
    ] {
        assert!(!bench.stage("20-packages", &[changed]).status.success(), "{} did not count", changed.0);
    }
}
