//! The last stage: what it puts into dist/, and that nothing half-made gets there.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

mod fixture;
use fixture::{checkout, run, text};

const NAME: &str = "posthouse-1.2.3-pi4";
const ENDS: [&str; 7] =
    ["cdx.json", "img.bmap", "img.xz", "img.xz.sha256", "manifest.json", "rpi-imager-manifest", "size.md"];
/// FIPS 180-4's example: SHA-256 of "abc", here the kernel.
const KERNEL_HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A work folder as the stages before leave it, in miniature.
struct Work {
    folder: tempfile::TempDir,
}

impl Work {
    fn new() -> Self {
        let work = Self { folder: tempfile::tempdir().expect("temporary folder") };
        for folder in ["work/tmp", "work/boot", "work/tree/var/lib/dpkg/info", "cache", "dist"] {
            fs::create_dir_all(work.at(folder)).expect("folder");
        }
        work.write("work/boot/vmlinuz", "abc");
        work.write("work/tree/var/lib/dpkg/info/linux-image-6.12-arm64.list", "/.\n/boot/vmlinuz-6.12-arm64\n");
        let identity = "Package: linux-image-6.12-arm64\nVersion: 6.12.1-1\nArchitecture: arm64\n";
        work.write("work/tree/var/lib/dpkg/status", &format!("{identity}Status: install ok installed\n"));
        work.write("work/crates", "posthouse-server v0.1.0\n");
        work.write("work/packages.stanzas", &format!("{identity}SHA256: 0123\n"));
        work.write(
            "work/trim.json",
            r#"{"modules": {"groups": [], "removed_count": 0, "removed_bytes": 0}, "removed": []}"#,
        );
        work.write_disk();
        work
    }

    /// A megabyte that no compressor makes smaller, behind a partition table.
    fn write_disk(&self) {
        let mut noise = vec![0; 1 << 20];
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut noise)).expect("noise");
        noise[440..444].copy_from_slice(&[0x1e, 0xab, 0xa1, 0x5c]);
        noise[446..510].fill(0);
        noise[446 + 4] = 0x0c;
        noise[510..512].copy_from_slice(&[0x55, 0xaa]);
        fs::write(self.at("work/disk.img"), noise).expect("write");
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        fs::write(self.at(path), content).expect("write");
    }

    fn pack(&self, program: &[&str]) -> Output {
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .envs([
                ("BASE", "debian"),
                ("BASE_REASON", "asked for by BASE"),
                ("PROFILE", "release"),
                ("VERSION", "1.2.3"),
            ])
            .envs([("COMMIT", "0123abcd"), ("SOURCE_DATE_EPOCH", "1700000000"), ("IMAGE_NAME", NAME)])
            .env("TOOL", env!("CARGO_BIN_EXE_posthouse-image"))
            .env("POSTHOUSE_ROOT", checkout())
            .env("WORK", self.at("work"))
            .env("CACHE", self.at("cache"))
            .env("DIST", self.at("dist"));
        command.output().expect("the stage")
    }

    fn packed(&self) {
        let output = self.pack(&[&stage()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    fn manifest(&self) -> Value {
        let content = fs::read_to_string(self.at("dist").join(format!("{NAME}.manifest.json"))).expect("the manifest");
        serde_json::from_str(&content).expect("JSON")
    }
}

fn stage() -> String {
    checkout().join("image/stages/90-pack").display().to_string()
}

/// Names and contents, hidden files too.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path());
    let mut files: Vec<_> = entries
        .map(|path| {
            (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(&path).unwrap_or_default())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn image_hash_and_manifest_agree() {
    let work = Work::new();
    work.packed();
    let names: Vec<_> = content(&work.at("dist")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ENDS.map(|end| format!("{NAME}.{end}")));
    run(Command::new("sha256sum")
        .args(["--check", "--strict"])
        .arg(format!("{NAME}.img.xz.sha256"))
        .current_dir(work.at("dist")));
    let unpacked =
        run(Command::new("xz").args(["--decompress", "--stdout"]).arg(work.at("dist").join(format!("{NAME}.img.xz"))));
    assert!(unpacked.stdout == fs::read(work.at("work/disk.img")).expect("the disk"), "another image came out");

    let manifest = work.manifest();
    let sums = fs::read_to_string(work.at("dist").join(format!("{NAME}.img.xz.sha256"))).expect("the sum");
    assert_eq!(manifest["image"]["sha256"].as_str(), sums.split(' ').next());
    for (pointer, value) in [
        ("/version", "1.2.3"),
        ("/base", "debian"),
        ("/base_reason", "asked for by BASE"),
        ("/git_commit", "0123abcd"),
        ("/kernel/package", "linux-image-6.12-arm64"),
        ("/kernel/version", "6.12.1-1"),
        ("/kernel/sha256", KERNEL_HASH),
        ("/partition_table/disk_id", "5ca1ab1e"),
        ("/packages/0/name", "linux-image-6.12-arm64"),
        ("/packages/0/sha256", "0123"),
    ] {
        assert_eq!(manifest.pointer(pointer).and_then(Value::as_str), Some(value), "{pointer}");
    }
    assert_eq!(manifest["image"]["raw_size_bytes"], 1 << 20);
}

#[test]
fn a_boot_counts_for_later_images_with_the_same_kernel_and_no_other() {
    let work = Work::new();
    work.packed();
    assert_eq!(work.manifest()["boot_tested"], false);
    let mut record = Command::new(env!("CARGO_BIN_EXE_posthouse-image"));
    record.arg("boot-tested").arg("--manifest").arg(work.at("dist").join(format!("{NAME}.manifest.json")));
    run(record.arg("--tested-kernels").arg(work.at("cache/tested-kernels")));
    assert_eq!(work.manifest()["boot_tested"], true);
    work.packed();
    assert_eq!(work.manifest()["boot_tested"], true);
    work.write("work/boot/vmlinuz", "another");
    work.packed();
    assert_eq!(work.manifest()["boot_tested"], false);
}

#[test]
fn a_full_disk_leaves_nothing_in_dist() {
    let work = Work::new();
    let words = "mount -t tmpfs -o size=256k none \"$DIST\"; \"$0\"; status=$?; ls -A \"$DIST\"; exit $status";
    let mut program = vec!["unshare", "--mount", "--propagation", "private"];
    if text(&run(Command::new("id").arg("-u")).stdout).trim() != "0" {
        program.push("--map-root-user");
    }
    let stage = stage();
    program.extend(["--", "bash", "-c", words, &stage]);
    let output = work.pack(&program);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("No space left on device"), "{output:?}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_package_that_no_index_knows_leaves_the_last_image_alone() {
    let work = Work::new();
    work.packed();
    let before = content(&work.at("dist"));
    work.write("work/packages.stanzas", "Package: other\nVersion: 1\nArchitecture: all\nSHA256: 0\n");
    let output = work.pack(&[&stage()]);
    assert!(
        text(&output.stderr).contains("no archive index has linux-image-6.12-arm64 6.12.1-1 (arm64)"),
        "{output:?}"
    );
    assert!(content(&work.at("dist")) == before, "dist/ has changed");
}

#[test]
fn a_cut_while_compressing_leaves_the_last_image_alone() {
    let work = Work::new();
    work.packed();
    let before = content(&work.at("dist"));
    fs::create_dir(work.at("bin")).expect("folder");
    work.write("bin/xz", "#!/bin/sh\necho half\nkill -KILL $PPID\n");
    fs::set_permissions(work.at("bin/xz"), fs::Permissions::from_mode(0o755)).expect("mode");
    let path = format!("PATH={}:{}", work.at("bin").display(), std::env::var("PATH").expect("PATH"));
    let output = work.pack(&["env", &path, &stage()]);
    assert!(!output.status.success(), "the cut did not cut");
    assert!(content(&work.at("dist")) == before, "dist/ has changed");
}

#[test]
fn an_image_past_its_budget_never_gets_into_dist() {
    let work = Work::new();
    work.packed();
    let before = content(&work.at("dist"));
    let group = r#"{"name": "all", "reason": "x", "count": 1, "bytes": 1000000000}"#;
    work.write(
        "work/trim.json",
        &format!(r#"{{"modules": {{"groups": [{group}], "removed_count": 0, "removed_bytes": 0}}, "removed": []}}"#),
    );
    let output = work.pack(&[&stage()]);
    assert!(!output.status.success(), "it was taken");
    let words = text(&output.stderr);
    assert!(words.contains("posthouse image: over budget: modules_bytes is 1000000000, "), "{words}");
    assert!(content(&work.at("dist")) == before, "dist/ has changed");
}
