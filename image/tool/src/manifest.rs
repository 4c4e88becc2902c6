//! The manifest of an image: what it was made of, what is in it, and whether its kernel was booted.
//!
//! The stage `pack` has it written; the boot test has its outcome recorded in it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::lock::Lock;
use crate::mbr::{Mbr, Partition};
use crate::packages::{self, Package};
use crate::update_root;

/// Readers may rely on the fields of a format that they know.
const FORMAT: u32 = 1;

#[derive(Debug, Args)]
pub struct Parts {
    /// The build's work folder, with disk.img, boot/, tree/ and packages.stanzas.
    #[arg(long)]
    work: PathBuf,
    /// The compressed image.
    #[arg(long)]
    image: PathBuf,
    /// File with the hashes of kernels that were booted, one a line; it need not exist.
    #[arg(long)]
    tested_kernels: PathBuf,
    #[arg(long)]
    out: PathBuf,
    #[arg(long, env = "VERSION")]
    version: String,
    #[arg(long, env = "PROFILE")]
    profile: String,
    #[arg(long, env = "BASE")]
    base: String,
    #[arg(long, env = "BASE_REASON")]
    base_reason: String,
    #[arg(long, env = "COMMIT")]
    commit: String,
    #[arg(long, env = "SOURCE_DATE_EPOCH")]
    source_date_epoch: u64,
}

#[derive(Debug, Serialize)]
struct Manifest {
    format: u32,
    name: String,
    version: String,
    board: &'static str,
    profile: String,
    git_commit: String,
    source_date_epoch: u64,
    base: String,
    base_reason: String,
    /// True when an image with this very kernel was booted in QEMU.
    boot_tested: bool,
    kernel: Kernel,
    image: Image,
    partition_table: Table,
    package_lock: PackageLock,
    /// Whose updates its boxes take.
    update_root: update_root::Summary,
    /// Which release its server is of; what is older is not installed. 0 where it was never released.
    release_seq: u64,
    packages: Vec<Package>,
}

/// Whether the same packages can be had for another build.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum PackageLock {
    Locked {
        /// SHA-256 of the lock, as it was when the packages were installed.
        sha256: String,
        snapshot: String,
    },
    Unlocked {
        reason: String,
    },
}

#[derive(Debug, Serialize)]
struct Kernel {
    package: String,
    version: String,
    /// SHA-256 of the file that the firmware starts.
    sha256: String,
}

#[derive(Debug, Serialize)]
struct Image {
    file: String,
    size_bytes: u64,
    sha256: String,
    raw_size_bytes: u64,
    raw_sha256: String,
}

#[derive(Debug, Serialize)]
struct Table {
    kind: &'static str,
    disk_id: String,
    /// p3 and p4 are made at first boot.
    partitions: Vec<Partition>,
}

pub fn write(parts: &Parts) -> anyhow::Result<()> {
    let work = &parts.work;
    let packages = packages::read(&work.join("tree/var/lib/dpkg/status"), &work.join("packages.stanzas"))?;
    let kernel = kernel(work, &packages)?;
    let package_lock = package_lock(work, &packages)?;
    let disk = work.join("disk.img");
    let mbr = Mbr::read(&disk)?;
    let manifest = Manifest {
        format: FORMAT,
        name: "posthouse".to_owned(),
        version: parts.version.clone(),
        board: "pi4",
        profile: parts.profile.clone(),
        git_commit: parts.commit.clone(),
        source_date_epoch: parts.source_date_epoch,
        base: parts.base.clone(),
        base_reason: parts.base_reason.clone(),
        boot_tested: hashes_in(&parts.tested_kernels).contains(&kernel.sha256),
        kernel,
        image: Image {
            file: parts.image.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size_bytes: size(&parts.image)?,
            sha256: sha256(&parts.image)?,
            raw_size_bytes: size(&disk)?,
            raw_sha256: sha256(&disk)?,
        },
        partition_table: Table { kind: "mbr", disk_id: mbr.disk_id, partitions: mbr.partitions },
        package_lock,
        update_root: update_root::summary(&work.join("tree/usr/lib/posthouse/update-root"))?,
        release_seq: update_root::release(&work.join("tree/usr/lib/posthouse/release"))?.seq,
        packages,
    };
    replace(&parts.out, &(serde_json::to_string_pretty(&manifest)? + "\n"))
}

/// Notes a boot of the manifest's image: in the manifest, and for images to come with the same kernel.
pub fn record_boot(manifest: &Path, tested_kernels: Option<PathBuf>) -> anyhow::Result<()> {
    let text = fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let mut value: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not a manifest", manifest.display()))?;
    let kernel = value["kernel"]["sha256"].as_str().context("the manifest names no kernel")?.to_owned();
    value["boot_tested"] = Value::Bool(true);
    let list = match tested_kernels {
        Some(list) => list,
        None => cache_folder()?.join("tested-kernels"),
    };
    replace(manifest, &(serde_json::to_string_pretty(&value)? + "\n"))?;
    if let Err(error) = add_hash(&list, kernel) {
        eprintln!("posthouse image: images to come will not know of this boot: {error:#}");
    }
    Ok(())
}

fn add_hash(list: &Path, hash: String) -> anyhow::Result<()> {
    let mut hashes = hashes_in(list);
    if hashes.contains(&hash) {
        return Ok(());
    }
    hashes.push(hash);
    let folder = list.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    replace(list, &(hashes.join("\n") + "\n"))
}

/// The same folder as image/stage.sh's CACHE.
fn cache_folder() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    Ok(base.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?.join("posthouse/image"))
}

fn hashes_in(list: &Path) -> Vec<String> {
    fs::read_to_string(list).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The package whose file list has the kernel; the name that image/packages/ asks for only depends on it.
fn kernel(work: &Path, packages: &[Package]) -> anyhow::Result<Kernel> {
    let has_kernel = |package: &&Package| {
        let list = work.join(format!("tree/var/lib/dpkg/info/{}.list", package.name));
        fs::read_to_string(list).is_ok_and(|files| files.lines().any(|file| file.starts_with("/boot/vmlinuz-")))
    };
    let package = packages.iter().find(has_kernel).context("no installed package has a kernel")?;
    let sha256 = sha256(&work.join("boot/vmlinuz"))?;
    Ok(Kernel { package: package.name.clone(), version: package.version.clone(), sha256 })
}

/// What the stage `packages` kept to, once more held against what is in the tree.
fn package_lock(work: &Path, packages: &[Package]) -> anyhow::Result<PackageLock> {
    let file = work.join("packages.lock");
    if !file.exists() {
        let reason =
            fs::read_to_string(work.join("unlocked")).context("the build does not say what its packages follow")?;
        return Ok(PackageLock::Unlocked { reason: reason.trim().to_owned() });
    }
    let lock = Lock::read(&file)?;
    for Package { name, version, architecture, sha256: hash } in packages {
        let locked = lock.packages.iter().any(|locked| {
            (&locked.name, &locked.version, &locked.architecture, &locked.sha256) == (name, version, architecture, hash)
        });
        ensure!(
            locked,
            "{name} {version} ({architecture}) is in the image, but not in its lock; run image/build --fresh"
        );
    }
    Ok(PackageLock::Locked { sha256: sha256(&file)?, snapshot: lock.snapshot })
}

fn size(file: &Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len())
}

/// By coreutils' sha256sum: a gigabyte takes it a second or two, in every profile that this crate is built with.
fn sha256(file: &Path) -> anyhow::Result<String> {
    let output = Command::new("sha256sum").arg("--").arg(file).output().context("cannot run sha256sum")?;
    ensure!(output.status.success(), "sha256sum: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.split(' ').next().unwrap_or_default().trim_start_matches('\\').to_owned())
}

/// All or nothing: a reader sees the old file or the new one.
pub fn replace(path: &Path, content: &str) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    file.write_all(content.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::lock::tests::lock;

    /// Of a manifest what other modules read.
    pub fn example() -> Value {
        serde_json::json!({
            "version": "1.2.3",
            "source_date_epoch": 1_700_000_000,
            "image": { "file": "x.img.xz", "size_bytes": 10, "sha256": "ab".repeat(32), "raw_size_bytes": 20,
                       "raw_sha256": "cd".repeat(32) },
            "packages": [{ "name": "libstdc++6", "version": "1:2+b1", "architecture": "arm64",
                           "sha256": "01".repeat(32) }],
        })
    }

    fn manifest(folder: &Path) -> PathBuf {
        let path = folder.join("x.manifest.json");
        fs::write(&path, r#"{"boot_tested": false, "kernel": {"sha256": "abc"}, "packages": []}"#).expect("write");
        path
    }

    #[test]
    fn a_boot_is_recorded_once_in_the_manifest_and_for_its_kernel() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (manifest, list) = (manifest(folder.path()), folder.path().join("new/tested-kernels"));
        for _ in 0..2 {
            record_boot(&manifest, Some(list.clone())).expect("recorded");
        }
        assert_eq!(hashes_in(&list), ["abc"]);
        let value: Value = serde_json::from_str(&fs::read_to_string(&manifest).expect("read")).expect("JSON");
        assert_eq!(value["boot_tested"], Value::Bool(true));
        assert_eq!(value["packages"], Value::Array(Vec::new()));
    }

    #[test]
    fn a_cache_that_takes_nothing_keeps_no_boot_from_being_recorded() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let manifest = manifest(folder.path());
        fs::write(folder.path().join("cache"), "no folder").expect("write");
        record_boot(&manifest, Some(folder.path().join("cache/tested-kernels"))).expect("recorded");
        assert!(fs::read_to_string(&manifest).expect("read").contains("\"boot_tested\": true"));
    }

    #[test]
    fn a_broken_manifest_is_left_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("x.manifest.json");
        fs::write(&path, "{").expect("write");
        let error = record_boot(&path, Some(folder.path().join("list"))).expect_err("it was taken");
        assert!(error.to_string().ends_with("is not a manifest"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("read"), "{");
    }

    #[test]
    fn a_package_that_is_not_by_the_lock_stops_the_manifest() {
        let work = tempfile::tempdir().expect("temporary folder");
        let hash = "0a".repeat(32);
        let package = |hash: &str| Package {
            name: "udev".to_owned(),
            version: "1:2~rc+b1".to_owned(),
            architecture: "arm64".to_owned(),
            sha256: hash.to_owned(),
        };
        assert!(package_lock(work.path(), &[]).is_err(), "neither locked nor unlocked");
        fs::write(work.path().join("unlocked"), "asked for\n").expect("write");
        let unlocked = PackageLock::Unlocked { reason: "asked for".to_owned() };
        assert_eq!(package_lock(work.path(), &[package("other")]).expect("unlocked"), unlocked);
        fs::write(work.path().join("packages.lock"), lock(&["udev"]).print()).expect("write");
        let locked = package_lock(work.path(), &[package(&hash)]).expect("locked");
        assert!(matches!(locked, PackageLock::Locked { snapshot, .. } if snapshot == "20261123T190500Z"));
        let error = package_lock(work.path(), &[package("other")]).expect_err("it was taken");
        assert!(error.to_string().contains("is in the image, but not in its lock"), "{error}");
    }

    #[test]
    fn the_kernel_is_the_package_that_has_its_file() {
        let work = tempfile::tempdir().expect("temporary folder");
        let info = work.path().join("tree/var/lib/dpkg/info");
        fs::create_dir_all(&info).expect("folder");
        fs::create_dir_all(work.path().join("boot")).expect("folder");
        fs::write(work.path().join("boot/vmlinuz"), "abc").expect("write");
        fs::write(info.join("linux-image-arm64.list"), "/usr/share/doc\n").expect("write");
        fs::write(info.join("linux-image-6.12-arm64.list"), "/.\n/boot/vmlinuz-6.12-arm64\n").expect("write");
        let package = |name: &str, version: &str| Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "arm64".to_owned(),
            sha256: String::new(),
        };
        let packages = [package("linux-image-arm64", "6.12+1"), package("linux-image-6.12-arm64", "6.12.1-1")];
        let found = kernel(work.path(), &packages).expect("a kernel");
        assert_eq!((found.package.as_str(), found.version.as_str()), ("linux-image-6.12-arm64", "6.12.1-1"));
        // FIPS 180-4's example for "abc".
        assert_eq!(found.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
