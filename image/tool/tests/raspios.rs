//! The base raspios against a small signed archive beside a small Debian: where packages come from, whose key counts, and what
//! becomes of the boot partition. The stages are the real ones; only the archives are made up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

mod fixture;
use fixture::{Archive, Key, checkout, listed, run, serve, text};

const DISK_ID: &str = "5ca1ab1e";
const KERNEL: &str = "6.12.47+rpt-rpi-v8";

/// Both archives, served, and a work folder for the stages.
struct Bench {
    folder: tempfile::TempDir,
    raspios: Archive,
    debian: Archive,
    raspios_key: Key,
    port: u16,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let at = |name: &str| folder.path().join(name);
        let (raspios_key, debian_key) =
            (Key::generate(folder.path(), "raspios"), Key::generate(folder.path(), "debian"));
        raspios_key.export(&at("raspios.key"));
        debian_key.export(&at("debian.gpg"));
        let (raspios, debian) = (raspios_archive(at("www/raspios")), debian_archive(at("www/debian")));
        raspios.publish(&raspios_key);
        debian.publish(&debian_key);
        fs::create_dir_all(at("work/tmp")).expect("folder");
        let port = serve(&at("www"));
        Self { raspios, debian, raspios_key, port, folder }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A stage as image/build starts it. Two names of one host, as pinning goes by host.
    fn stage(&self, name: &str, changed: &[(&str, &str)]) -> Output {
        let settings = [
            ("BASE", "raspios".to_owned()),
            ("PROFILE", "release".to_owned()),
            ("DISK_ID", DISK_ID.to_owned()),
            ("SOURCE_DATE_EPOCH", "1700000000".to_owned()),
            ("TOOL", env!("CARGO_BIN_EXE_posthouse-image").to_owned()),
            ("POSTHOUSE_ROOT", checkout().display().to_string()),
            ("WORK", self.work().display().to_string()),
            ("CACHE", self.folder.path().join("cache").display().to_string()),
            ("POSTHOUSE_RASPIOS_MIRROR", format!("http://127.0.0.1:{}/raspios", self.port)),
            ("POSTHOUSE_RASPIOS_KEY", self.folder.path().join("raspios.key").display().to_string()),
            ("POSTHOUSE_RASPIOS_FINGERPRINT", self.raspios_key.fingerprint.clone()),
            ("POSTHOUSE_DEBIAN_MIRROR", format!("http://localhost:{}/debian", self.port)),
            ("POSTHOUSE_DEBIAN_KEYRING", self.folder.path().join("debian.gpg").display().to_string()),
            // Configures the packages, which have no scripts, with this machine's dpkg: no arm64 program runs.
            ("POSTHOUSE_MMDEBSTRAP_OPTIONS", "--mode=chrootless --variant=custom --skip=check/chrootless".to_owned()),
        ];
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").expect("PATH"));
        let mut command = Command::new(checkout().join("image/stages").join(name));
        command.envs(settings).envs(changed.iter().copied()).env("PATH", path);
        command.output().expect("the stage")
    }

    fn succeeds(&self, name: &str) {
        let output = self.stage(name, &[]);
        assert!(output.status.success(), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
    }

    /// What image/build would say of a failed stage.
    fn explained(&self, name: &str, output: &Output) -> String {
        let log = self.folder.path().join("log");
        fs::write(&log, [output.stdout.as_slice(), &output.stderr].concat()).expect("write");
        let mut explain = Command::new(env!("CARGO_BIN_EXE_posthouse-image"));
        explain.args(["explain", "--stage", name, "--work-dir", "work", "--log"]).arg(log);
        text(&run(&mut explain).stdout)
    }

    /// Takes a file out of what the packages left.
    fn lose(&self, path: &str) {
        let root = self.unpack();
        fs::remove_file(root.join(path)).expect("it was there");
        let mut pack = Command::new("tar");
        pack.arg("--create").arg("--file").arg(self.work().join("rootfs.tar")).arg("--directory").arg(root).arg(".");
        run(&mut pack);
    }

    fn unpack(&self) -> PathBuf {
        let root = self.folder.path().join("root");
        fs::create_dir_all(&root).expect("folder");
        let mut unpack = Command::new("tar");
        unpack.arg("--extract").arg("--file").arg(self.work().join("rootfs.tar")).arg("--directory").arg(&root);
        run(&mut unpack);
        root
    }

    /// Each installed package's archive, as its own content tells.
    fn origins(&self) -> BTreeMap<String, String> {
        let root = self.unpack();
        let marks =
            fs::read_dir(root.join("usr/share/origin")).expect("marks").map(|entry| entry.expect("entry").path());
        let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        marks.map(|path| (name(&path), fs::read_to_string(&path).expect("mark"))).collect()
    }
}

/// Adds a package that carries a mark of where it came from.
fn add(archive: &mut Archive, from: &str, component: &'static str, name: &str, version: &str, files: &[(&str, &[u8])]) {
    let mark = format!("usr/share/origin/{name}");
    let files: Vec<_> = files.iter().copied().chain([(mark.as_str(), from.as_bytes())]).collect();
    let depends = if name == "linux-image-rpi-v8" { format!("linux-image-{KERNEL}") } else { String::new() };
    archive.add(component, name, version, &depends, &files);
}

fn firmware() -> Vec<(&'static str, &'static [u8])> {
    ["start4.elf", "fixup4.dat", "start4cd.elf", "fixup4cd.dat"]
        .map(|file| (["usr/lib/raspi-firmware/", file].concat().leak() as &str, b"firmware".as_slice()))
        .to_vec()
}

/// Kernel and firmware, and what the real archive has too: its own builds of Debian's packages, with higher versions.
fn raspios_archive(root: PathBuf) -> Archive {
    let mut archive = Archive::new(root);
    let mut kernel = vec![0; 56];
    kernel.extend_from_slice(b"ARM\x64");
    let tree: &[u8] = b"__overrides__\0audio\0watchdog\0";
    let trees = ["bcm2711-rpi-4-b", "bcm2711-rpi-400", "bcm2711-rpi-cm4"];
    let trees: Vec<_> = trees.iter().map(|name| format!("usr/lib/linux-image-{KERNEL}/broadcom/{name}.dtb")).collect();
    let vmlinuz = format!("boot/vmlinuz-{KERNEL}");
    let mut files: Vec<(&str, &[u8])> = trees.iter().map(|path| (path.as_str(), tree)).collect();
    files.push((&vmlinuz, &kernel));
    let overlay = format!("usr/lib/linux-image-{KERNEL}/overlays/disable-bt.dtbo");
    files.push((&overlay, b"overlay"));
    add(&mut archive, "raspios", "main", &format!("linux-image-{KERNEL}"), "1:6.12.47-1+rpt1", &files);
    add(&mut archive, "raspios", "main", "linux-image-rpi-v8", "1:6.12.47-1+rpt1", &[]);
    add(&mut archive, "raspios", "main", "raspi-firmware", "1:1.20250915-1", &firmware());
    add(&mut archive, "raspios", "main", "systemd", "999+rpt1", &[]);
    archive
}

/// The packages of base.list, and raspi-firmware with a version above the Raspberry Pi archive's.
fn debian_archive(root: PathBuf) -> Archive {
    let mut archive = Archive::new(root);
    for name in listed("base.list") {
        add(&mut archive, "debian", "main", &name, "1.0", &[]);
    }
    add(&mut archive, "debian", "non-free-firmware", "raspi-firmware", "9:9", &firmware());
    archive
}

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
    let output = bench.stage("20-packages", &[("POSTHOUSE_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")]);
    assert!(!output.status.success(), "another mirror's packages came from the cache");
    assert!(bench.explained("20-packages", &output).contains("no network"), "{output:?}");
}
