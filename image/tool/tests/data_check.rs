//! The check of the data partition, run as it is on the image, on real file systems in files that are damaged in real ways.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

mod fixture;
use fixture::{checkout, run, sha256, text};

/// Copies of the superblock stand at every block group whose number is a power of 3, 5 or 7; a group has 128 MiB.
const LEN: u64 = 160 * 1024 * 1024;
const SUPERBLOCK: u64 = 1024;
const BLOCK_LEN: u16 = 4096;

const DATABASE: &[u8] = b"what was acknowledged";

/// A data partition in a file.
struct Partition {
    folder: tempfile::TempDir,
}

impl Partition {
    /// As the first boot makes it: the server's folder, empty.
    fn new() -> Self {
        Self::with(&[])
    }

    /// As a server leaves it.
    fn in_use() -> Self {
        Self::with(&[("posthouse.redb", DATABASE), ("posthouse.wal.a", b"frames")])
    }

    fn with(files: &[(&str, &[u8])]) -> Self {
        let partition = Self { folder: tempfile::tempdir().expect("temporary folder") };
        let content = partition.folder.path().join("content/posthouse");
        fs::create_dir_all(&content).expect("folder");
        for (name, bytes) in files {
            fs::write(content.join(name), bytes).expect("write");
        }
        File::create(partition.device()).and_then(|file| file.set_len(LEN)).expect("the partition");
        let mut make = tool("mke2fs");
        make.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-d"]).arg(partition.folder.path().join("content"));
        run(make.arg(partition.device()));
        partition
    }

    fn device(&self) -> PathBuf {
        self.folder.path().join("data.img")
    }

    fn overwrite(&self, offset: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.device()).expect("the partition");
        file.write_all_at(bytes, offset).expect("write");
    }

    /// What debugfs prints about it.
    fn debugfs(&self, request: &str) -> String {
        text(&run(tool("debugfs").args(["-w", "-R", request]).arg(self.device())).stdout)
    }

    fn check(&self) -> Output {
        self.check_at(self.device())
    }

    fn check_at(&self, device: PathBuf) -> Output {
        let mut check = tool(checkout().join("overlays/common/usr/lib/posthouse/data-check").to_str().expect("UTF-8"));
        check.env("POSTHOUSE_DATA", device).env("RUNTIME_DIRECTORY", self.folder.path()).output().expect("data-check")
    }

    fn passes(&self) -> Output {
        let output = self.check();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(self.rescue(), None);
        output
    }

    /// The check fails and says why in one line, and at length for the rescue page; yields the latter.
    fn refused(&self, output: &Output) -> String {
        assert!(!output.status.success(), "{}", text(&output.stdout));
        let rescue = self.rescue().expect("a reason");
        let said = text(&output.stderr);
        let line = said.lines().last().and_then(|line| line.strip_prefix("data-check: ")).expect("a line of its own");
        assert_eq!(rescue.lines().next(), Some(line));
        assert!(rescue.contains("switch the box off") && rescue.len() < 1000, "{rescue}");
        rescue
    }

    fn rescue(&self) -> Option<String> {
        fs::read_to_string(self.folder.path().join("rescue")).ok()
    }
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").expect("PATH")));
    command
}

#[test]
fn a_sound_partition_passes_without_a_repair() {
    for partition in [Partition::new(), Partition::in_use()] {
        let output = partition.passes();
        assert!(text(&output.stdout).contains(": clean, "), "{}", text(&output.stdout));
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn orphans_of_a_power_cut_are_cleared_without_a_thorough_repair() {
    let partition = Partition::in_use();
    partition.debugfs("write /dev/null /posthouse/orphan");
    let number = partition.debugfs("stat /posthouse/orphan");
    let number = number.split_whitespace().nth(1).expect("an inode").to_owned();
    partition.debugfs("unlink /posthouse/orphan");
    partition.debugfs(&format!("set_inode_field <{number}> links_count 0"));
    partition.debugfs(&format!("set_super_value last_orphan {number}"));
    // Not unmounted, and a count that the journal had not brought up to date.
    partition.debugfs("set_super_value state 0");
    partition.debugfs("set_super_value free_blocks_count 5");
    let output = partition.passes();
    assert!(text(&output.stdout).contains("orphaned inode"), "{}", text(&output.stdout));
    assert!(!text(&output.stderr).contains("simple repair"), "{}", text(&output.stderr));
}

#[test]
fn a_lost_superblock_is_taken_from_its_copy() {
    let partition = Partition::in_use();
    partition.overwrite(SUPERBLOCK, &[0; 1024]);
    let output = partition.passes();
    assert!(text(&output.stderr).contains("is repaired"), "{}", text(&output.stderr));
    assert_eq!(partition.debugfs("cat /posthouse/posthouse.redb").as_bytes(), DATABASE);
}

#[test]
fn a_damage_that_the_clean_mark_hides_is_repaired_all_the_same() {
    let partition = Partition::in_use();
    // The checksum of the root folder's inode.
    partition.debugfs("set_inode_field <2> checksum 1");
    let output = partition.passes();
    assert!(text(&output.stderr).contains("is repaired"), "{}", text(&output.stderr));
    assert_eq!(partition.debugfs("cat /posthouse/posthouse.redb").as_bytes(), DATABASE);
}

#[test]
fn garbage_is_refused_and_not_touched() {
    let partition = Partition::new();
    let mut random = File::open("/dev/urandom").expect("random bytes").take(LEN);
    io::copy(&mut random, &mut File::create(partition.device()).expect("the partition")).expect("write");
    let before = sha256(&partition.device());
    let reason = partition.refused(&partition.check());
    assert!(reason.contains("cannot be read") && reason.contains("Nothing on it was overwritten"), "{reason}");
    assert_eq!(sha256(&partition.device()), before);
}

#[test]
fn a_partition_cut_off_by_a_smaller_card_is_refused() {
    let partition = Partition::in_use();
    File::options().write(true).open(partition.device()).and_then(|file| file.set_len(LEN / 4)).expect("cut off");
    partition.refused(&partition.check());
}

#[test]
fn messages_that_a_repair_did_not_find_are_not_passed_over() {
    let folder_gone = Partition::in_use();
    folder_gone.debugfs("clri <2>");
    let database_gone = Partition::in_use();
    let block: u64 = database_gone.debugfs("blocks /posthouse").trim().parse().expect("one block");
    database_gone.overwrite(block * u64::from(BLOCK_LEN), &vec![0; usize::from(BLOCK_LEN)]);
    for partition in [folder_gone, database_gone] {
        // Also at the next boot, when the file system is sound.
        for _ in 0..2 {
            let reason = partition.refused(&partition.check());
            assert!(reason.contains("the messages are not in their place"), "{reason}");
        }
        assert!(partition.debugfs("ls -p /lost+found").contains("/#"), "the messages are in lost+found");
    }
}

#[test]
fn a_sound_partition_that_the_kernel_refuses_is_told_and_left_alone() {
    let partition = Partition::in_use();
    let mut check = tool(checkout().join("overlays/common/usr/lib/posthouse/data-check").to_str().expect("UTF-8"));
    run(check.arg("not-mounted").env("POSTHOUSE_DATA", "/none").env("RUNTIME_DIRECTORY", partition.folder.path()));
    assert!(partition.rescue().expect("a reason").contains("could not be mounted"));
}

#[test]
fn the_check_looks_for_the_database_by_the_store_s_name() {
    let store = fs::read_to_string(checkout().join("server/src/store/database.rs")).expect("the store");
    let name = store.split("FILE_NAME: &str = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
    let check = fs::read_to_string(checkout().join("overlays/common/usr/lib/posthouse/data-check")).expect("the check");
    assert!(check.contains(&format!("/{name}/")), "the store calls its database {name}");
}

#[test]
fn a_card_without_data_partition_is_told() {
    let partition = Partition::new();
    let reason = partition.refused(&partition.check_at(partition.folder.path().join("none")));
    assert!(reason.contains("has no data partition"), "{reason}");
}
