//! The same tree gives the same image, bit for bit: the last stages, run twice on trees that were made at other times, in
//! another order, on another file system, and packed on another number of cores.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

mod fixture;
use fixture::{checkout, run, text};

const NAME: &str = "posthouse-1.2.3-pi4";
const DISK_ID: &str = "5ca1ab1e";
const EPOCH: u64 = 1_700_000_000;
const CONFIG: &str = "arm_64bit=1\nkernel=vmlinuz\ngpu_mem=16\n";
const BOOT: [&str; 7] = [
    "start4.elf",
    "fixup4.dat",
    "start4cd.elf",
    "fixup4cd.dat",
    "bcm2711-rpi-4-b.dtb",
    "bcm2711-rpi-400.dtb",
    "bcm2711-rpi-cm4.dtb",
];

/// A work folder as the stage `tree` leaves it, in miniature.
struct Work {
    folder: tempfile::TempDir,
}

impl Work {
    fn new(parent: &Path, order: impl Fn(&mut Vec<String>)) -> Self {
        let work = Self { folder: tempfile::tempdir_in(parent).expect("temporary folder") };
        for folder in ["work/tmp", "work/boot/overlays", "work/tree/var/lib/dpkg/info", "cache"] {
            fs::create_dir_all(work.at(folder)).expect("folder");
        }
        let mut names: Vec<String> =
            (0..40).map(|number| format!("usr/lib/d{number}/file with blanks {number}")).collect();
        names.extend((0..40).map(|number| format!("etc/f{number}")));
        order(&mut names);
        for name in &names {
            work.write(&format!("work/tree/{name}"), name);
        }
        symlink("../etc/f1", work.at("work/tree/usr/link")).expect("link");
        symlink("/nowhere", work.at("work/tree/usr/dangling")).expect("link");
        fs::set_permissions(work.at("work/tree/etc/f2"), fs::Permissions::from_mode(0o600)).expect("mode");
        let identity = "Package: linux-image-6.12-arm64\nVersion: 6.12.1-1\nArchitecture: arm64\n";
        work.write("work/tree/var/lib/dpkg/info/linux-image-6.12-arm64.list", "/boot/vmlinuz-6.12-arm64\n");
        work.write("work/tree/var/lib/dpkg/status", &format!("{identity}Status: install ok installed\n"));
        work.write("work/crates", "posthouse-server v0.1.0\n");
        work.write("work/packages.stanzas", &format!("{identity}SHA256: 0123\n"));
        work.write(
            "work/trim.json",
            r#"{"modules": {"groups": [], "removed_count": 0, "removed_bytes": 0}, "removed": []}"#,
        );
        let mut kernel = vec![b'k'; 56];
        kernel.extend_from_slice(b"ARM\x64");
        fs::write(work.at("work/boot/vmlinuz"), kernel).expect("write");
        work.write("work/boot/config.txt", CONFIG);
        work.write("work/boot/cmdline.txt", &format!("root=PARTUUID={DISK_ID}-02 rootwait panic=10\n"));
        work.write("work/boot/overlays/x.dtbo", "overlay");
        let mut boot = BOOT.map(str::to_owned).to_vec();
        order(&mut boot);
        for name in boot {
            work.write(&format!("work/boot/{name}"), &name);
        }
        // What the stage `tree` settles: the time of each content's last change.
        let find = ["-exec", "touch", "--no-dereference", &format!("--date=@{EPOCH}"), "{}", "+"].map(str::to_owned);
        run(Command::new("find").arg(work.at("work/tree")).args(find));
        work
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, content: &str) {
        let file = self.at(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("folder");
        fs::write(file, content).expect("write");
    }

    /// As image/build starts it; a developer's image is packed the same way, only faster.
    fn stage(&self, prefix: &[&str], name: &str) {
        let stage = checkout().join("image/stages").join(name).display().to_string();
        let words: Vec<&str> = prefix.iter().copied().chain([stage.as_str()]).collect();
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").expect("PATH"));
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .envs([
                ("BASE", "debian"),
                ("BASE_REASON", "asked for by BASE"),
                ("PROFILE", "dev"),
                ("PATH", &path),
                ("TZ", "UTC"),
            ])
            .envs([("VERSION", "1.2.3"), ("COMMIT", "0123abcd"), ("IMAGE_NAME", NAME), ("DISK_ID", DISK_ID)])
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
            .env("POSTHOUSE_RELEASE_ADDRESS", "https://example.org")
            .env("TOOL", env!("CARGO_BIN_EXE_posthouse-image"))
            .env("POSTHOUSE_ROOT", checkout())
            .env("WORK", self.at("work"))
            .env("CACHE", self.at("cache"))
            .env("DIST", self.at("dist"));
        run(&mut command);
    }

    fn assemble(&self, prefix: &[&str]) {
        for stage in ["70-filesystems", "80-disk", "90-pack"] {
            self.stage(prefix, stage);
        }
    }

    fn sum(&self, file: &str) -> String {
        text(&run(Command::new("sha256sum").arg(self.at(file))).stdout)[..64].to_owned()
    }

    fn changed(&self) -> SystemTime {
        let metadata = fs::metadata(self.at("work/tree/etc/f1")).expect("the file");
        SystemTime::UNIX_EPOCH
            + Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).expect("positive"))
            + Duration::from_secs(u64::try_from(metadata.ctime()).expect("positive"))
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let first = Work::new(&std::env::temp_dir(), |_| ());
    first.assemble(&["env"]);
    // Memory: another file system than the temporary folder's, as a rule, with another order of its entries.
    let elsewhere = [Path::new("/dev/shm"), &std::env::temp_dir()]
        .into_iter()
        .find(|path| path.is_dir())
        .expect("a folder")
        .to_owned();
    let second = Work::new(&elsewhere, |names| names.reverse());
    assert!(second.changed() > first.changed(), "both trees are of one instant: this test shows nothing");
    second.assemble(&["taskset", "--cpu-list", "0"]);
    for file in ["work/boot.fat", "work/root.ext4", "work/disk.img"] {
        assert_eq!(first.sum(file), second.sum(file), "{file} differs");
    }
    for end in ["img.xz", "img.xz.sha256", "img.bmap", "size.md", "manifest.json", "cdx.json", "rpi-imager-manifest"] {
        let file = format!("dist/{NAME}.{end}");
        assert_eq!(first.sum(&file), second.sum(&file), "{file} differs");
    }
}
