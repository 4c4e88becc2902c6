//! The last stage: what it puts into dist/, and that nothing half-made gets there.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

mod fixture;
use fixture::work::{NAME, Work, stage};
use fixture::{run, text};

const ENDS: [&str; 6] = ["cdx.json", "img.bmap", "img.xz", "img.xz.sha256", "manifest.json", "size.md"];
const STAGE: &str = "90-pack";
const PACKAGE_HASH: &str = "0101010101010101010101010101010101010101010101010101010101010101";
/// FIPS 180-4's example: SHA-256 of "abc", here the kernel.
const KERNEL_HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A disk that is no file system, and a kernel that is no kernel: this stage only counts and packs them.
fn ready() -> Work {
    let work = Work::new_in(&std::env::temp_dir());
    work.write("work/boot/vmlinuz", "abc");
    write_disk(&work);
    work
}

/// A megabyte that no compressor makes smaller, behind a partition table.
fn write_disk(work: &Work) {
    let mut noise = vec![0; 1 << 20];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut noise)).expect("noise");
    noise[440..444].copy_from_slice(&[0x1e, 0xab, 0xa1, 0x5c]);
    noise[446..510].fill(0);
    noise[446 + 4] = 0x0c;
    noise[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(work.at("work/disk.img"), noise).expect("write");
}

fn pack(work: &Work, program: &[&str]) -> Output {
    work.command(program).output().expect("the stage")
}

fn packed(work: &Work) {
    let output = pack(work, &[&stage(STAGE)]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn manifest(work: &Work) -> Value {
    let content = fs::read_to_string(work.at("dist").join(format!("{NAME}.manifest.json"))).expect("the manifest");
    serde_json::from_str(&content).expect("JSON")
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
    let work = ready();
    packed(&work);
    let names: Vec<_> = content(&work.at("dist")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ENDS.map(|end| format!("{NAME}.{end}")));
    run(Command::new("sha256sum")
        .args(["--check", "--strict"])
        .arg(format!("{NAME}.img.xz.sha256"))
        .current_dir(work.at("dist")));
    let unpacked =
        run(Command::new("xz").args(["--decompress", "--stdout"]).arg(work.at("dist").join(format!("{NAME}.img.xz"))));
    assert!(unpacked.stdout == fs::read(work.at("work/disk.img")).expect("the disk"), "another image came out");

    let manifest = manifest(&work);
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
        ("/packages/0/sha256", PACKAGE_HASH),
        ("/package_lock/state", "unlocked"),
        ("/package_lock/reason", "asked for by LOCK=off"),
    ] {
        assert_eq!(manifest.pointer(pointer).and_then(Value::as_str), Some(value), "{pointer}");
    }
    assert_eq!(manifest["image"]["raw_size_bytes"], 1 << 20);
}

#[test]
fn a_boot_counts_for_later_images_with_the_same_kernel_and_no_other() {
    let work = ready();
    packed(&work);
    assert_eq!(manifest(&work)["boot_tested"], false);
    let mut record = Command::new(env!("CARGO_BIN_EXE_posthouse-image"));
    record.arg("boot-tested").arg("--manifest").arg(work.at("dist").join(format!("{NAME}.manifest.json")));
    run(record.arg("--tested-kernels").arg(work.at("cache/tested-kernels")));
    assert_eq!(manifest(&work)["boot_tested"], true);
    packed(&work);
    assert_eq!(manifest(&work)["boot_tested"], true);
    work.write("work/boot/vmlinuz", "another");
    packed(&work);
    assert_eq!(manifest(&work)["boot_tested"], false);
}

#[test]
fn a_full_disk_leaves_nothing_in_dist() {
    let work = ready();
    let words = "mount -t tmpfs -o size=256k none \"$DIST\"; \"$0\"; status=$?; ls -A \"$DIST\"; exit $status";
    let mut program = vec!["unshare", "--mount", "--propagation", "private"];
    if text(&run(Command::new("id").arg("-u")).stdout).trim() != "0" {
        program.push("--map-root-user");
    }
    let stage = stage(STAGE);
    program.extend(["--", "bash", "-c", words, &stage]);
    let output = pack(&work, &program);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("No space left on device"), "{output:?}");
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn a_package_that_no_index_knows_leaves_the_last_image_alone() {
    let work = ready();
    packed(&work);
    let before = content(&work.at("dist"));
    work.write("work/packages.stanzas", "Package: other\nVersion: 1\nArchitecture: all\nSHA256: 0\n");
    let output = pack(&work, &[&stage(STAGE)]);
    assert!(
        text(&output.stderr).contains("no archive index has linux-image-6.12-arm64 6.12.1-1 (arm64)"),
        "{output:?}"
    );
    assert!(content(&work.at("dist")) == before, "dist/ has changed");
}

#[test]
fn a_cut_while_compressing_leaves_the_last_image_alone() {
    let work = ready();
    packed(&work);
    let before = content(&work.at("dist"));
    fs::create_dir(work.at("bin")).expect("folder");
    work.write("bin/xz", "#!/bin/sh\necho half\nkill -KILL $PPID\n");
    fs::set_permissions(work.at("bin/xz"), fs::Permissions::from_mode(0o755)).expect("mode");
    let path = format!("PATH={}:{}", work.at("bin").display(), std::env::var("PATH").expect("PATH"));
    let output = pack(&work, &["env", &path, &stage(STAGE)]);
    assert!(!output.status.success(), "the cut did not cut");
    assert!(content(&work.at("dist")) == before, "dist/ has changed");
}

#[test]
fn an_image_past_its_budget_never_gets_into_dist() {
    let work = ready();
    packed(&work);
    let before = content(&work.at("dist"));
    let group = r#"{"name": "all", "reason": "x", "count": 1, "bytes": 1000000000}"#;
    work.write(
        "work/trim.json",
        &format!(r#"{{"modules": {{"groups": [{group}], "removed_count": 0, "removed_bytes": 0}}, "removed": []}}"#),
    );
    let output = pack(&work, &[&stage(STAGE)]);
    assert!(!output.status.success(), "it was taken");
    let words = text(&output.stderr);
    assert!(words.contains("posthouse image: over budget: modules_bytes is 1000000000, "), "{words}");
    assert!(content(&work.at("dist")) == before, "dist/ has changed");
}

#[test]
fn only_an_address_brings_an_entry_for_imager() {
    let work = ready();
    let offered = work.command(&[&stage(STAGE)]).env("POSTHOUSE_RELEASE_ADDRESS", "https://example.org/x").output();
    assert!(offered.expect("the stage").status.success());
    let entry = work.at("dist").join(format!("{NAME}.rpi-imager-manifest"));
    let words = fs::read_to_string(&entry).expect("the entry");
    assert!(words.contains(&format!("\"https://example.org/x/{NAME}.img.xz\"")), "{words}");
    // One of an earlier build would not fit this image.
    packed(&work);
    assert!(!entry.exists());
    let folder = work.at("").display().to_string();
    for (name, bytes) in content(&work.at("dist")) {
        assert!(!text(&bytes).contains(folder.trim_end_matches('/')), "{name} tells where it was built");
    }
}

#[test]
fn the_bill_fits_the_schema_of_cyclonedx() {
    let work = ready();
    packed(&work);
    let bill = fs::read_to_string(work.at("dist").join(format!("{NAME}.cdx.json"))).expect("the bill");
    let bill: Value = serde_json::from_str(&bill).expect("JSON");
    assert_eq!(bill["specVersion"], "1.5");
    let schema = schema("bom-1.5");
    let faults: Vec<_> = schema.iter_errors(&bill).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    let mut broken = bill;
    broken["components"][0]["type"] = Value::String("package".to_owned());
    assert!(!schema.is_valid(&broken), "the schema takes anything");
}

/// A schema of the CycloneDX project, from the wheel that `make test` installs (image/toolchain/tools).
fn schema(name: &str) -> jsonschema::Validator {
    let cache = std::env::var("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|_| PathBuf::from(std::env::var("HOME").expect("HOME")).join(".cache"));
    let folder = cache.join("posthouse/tools/cyclonedx-schemas");
    let read = |name: &str| -> Value {
        let path = folder.join(format!("{name}.SNAPSHOT.schema.json"));
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}; run make test", path.display()));
        serde_json::from_str(&text).expect("JSON")
    };
    let mut options = jsonschema::options();
    for other in ["spdx", "jsf-0.82"] {
        let resource = jsonschema::Resource::from_contents(read(other)).expect("a schema");
        options = options.with_resource(format!("http://cyclonedx.org/schema/{other}.SNAPSHOT.schema.json"), resource);
    }
    options.build(&read(name)).expect("a schema")
}
