//! The same tree gives the same image, bit for bit: the last stages, run twice on trees that were made at other times, in
//! another order, on another file system, and packed on another number of cores.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

mod fixture;
use fixture::work::{DISK_ID, EPOCH, NAME, Work, stage};
use fixture::{run, text};

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

/// What the stage `tree` leaves, too: a tree and a boot folder, filled in some order.
fn filled(parent: &Path, order: impl Fn(&mut Vec<String>)) -> Work {
    let work = Work::new_in(parent);
    let mut names: Vec<String> = (0..40).map(|number| format!("usr/lib/d{number}/file with blanks {number}")).collect();
    names.extend((0..40).map(|number| format!("etc/f{number}")));
    order(&mut names);
    for name in &names {
        work.write(&format!("work/tree/{name}"), name);
    }
    symlink("../etc/f1", work.at("work/tree/usr/link")).expect("link");
    symlink("/nowhere", work.at("work/tree/usr/dangling")).expect("link");
    fs::set_permissions(work.at("work/tree/etc/f2"), fs::Permissions::from_mode(0o600)).expect("mode");
    fs::create_dir(work.at("work/boot")).expect("folder");
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

/// The last stages; a developer's image is packed the same way as a release, only faster.
fn assemble(work: &Work, prefix: &[&str]) {
    for name in ["70-filesystems", "80-disk", "90-pack"] {
        let stage = stage(name);
        let words: Vec<&str> = prefix.iter().copied().chain([stage.as_str()]).collect();
        run(work.command(&words).env("PROFILE", "dev").env("POSTHOUSE_RELEASE_ADDRESS", "https://example.org"));
    }
}

fn sum(work: &Work, file: &str) -> String {
    text(&run(Command::new("sha256sum").arg(work.at(file))).stdout)[..64].to_owned()
}

fn changed(work: &Work) -> SystemTime {
    let metadata = fs::metadata(work.at("work/tree/etc/f1")).expect("the file");
    SystemTime::UNIX_EPOCH
        + Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).expect("positive"))
        + Duration::from_secs(u64::try_from(metadata.ctime()).expect("positive"))
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let first = filled(&std::env::temp_dir(), |_| ());
    assemble(&first, &["env"]);
    // Memory: another file system than the temporary folder's, as a rule, with another order of its entries.
    let elsewhere = [Path::new("/dev/shm"), &std::env::temp_dir()]
        .into_iter()
        .find(|path| path.is_dir())
        .expect("a folder")
        .to_owned();
    let second = filled(&elsewhere, |names| names.reverse());
    assert!(changed(&second) > changed(&first), "both trees are of one instant: this test shows nothing");
    assemble(&second, &["taskset", "--cpu-list", "0"]);
    for file in ["work/boot.fat", "work/root.ext4", "work/disk.img"] {
        assert_eq!(sum(&first, file), sum(&second, file), "{file} differs");
    }
    for end in ["img.xz", "img.xz.sha256", "img.bmap", "size.md", "manifest.json", "cdx.json", "rpi-imager-manifest"] {
        let file = format!("dist/{NAME}.{end}");
        assert_eq!(sum(&first, &file), sum(&second, &file), "{file} differs");
    }
}
