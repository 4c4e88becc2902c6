//! The first boot's disk set-up, run as it is on the image, on a file with the image's partition table.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

mod fixture;
use fixture::{checkout, run, text};

const SECTOR: u64 = 512;
/// Of layout.sfdisk: p3 begins where p2 ends, p4 one p2 later.
const P2_START: u64 = 1_056_768;
const P2_SIZE: u64 = 1_228_800;
const P4_START: u64 = P2_START + 2 * P2_SIZE;

/// A freshly flashed card of some size; sparse, so that it costs nothing.
struct Card {
    folder: tempfile::TempDir,
}

impl Card {
    fn flashed(sectors: u64) -> Self {
        let card = Self { folder: tempfile::tempdir().expect("temporary folder") };
        File::create(card.disk()).and_then(|file| file.set_len(sectors * SECTOR)).expect("the card");
        let layout = fs::read_to_string(checkout().join("image/disk/layout.sfdisk")).expect("layout");
        let script = card.folder.path().join("layout");
        fs::write(&script, layout.replace("@DISK_ID@", "5ca1ab1e")).expect("write");
        run(tool("sfdisk").arg("--quiet").arg(card.disk()).stdin(File::open(script).expect("layout")));
        fs::create_dir_all(card.folder.path().join("content/posthouse")).expect("folder");
        card
    }

    fn disk(&self) -> std::path::PathBuf {
        self.folder.path().join("card.img")
    }

    fn set_up_with_path(&self, path: &str) -> Output {
        Command::new(checkout().join("overlays/common/usr/lib/posthouse/disk-setup"))
            .env("PATH", path)
            .env("POSTHOUSE_DISK", self.disk())
            .env("POSTHOUSE_DATA_CONTENT", self.folder.path().join("content"))
            .env("RUNTIME_DIRECTORY", self.folder.path())
            .output()
            .expect("disk-setup")
    }

    fn set_up(&self) {
        let output = self.set_up_with_path(&search_path());
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// What it left for the rescue page.
    fn rescue(&self) -> String {
        fs::read_to_string(self.folder.path().join("rescue")).unwrap_or_default()
    }

    fn partition_type(&self, number: u32) -> String {
        let output = tool("sfdisk").arg("--part-type").arg(self.disk()).arg(number.to_string()).output();
        text(&output.expect("sfdisk").stdout).trim().to_owned()
    }

    /// What blkid finds at p4: the value of a tag, empty where there is no file system.
    fn data_tag(&self, tag: &str) -> String {
        let mut probe = tool("blkid");
        probe.args(["--probe", "--output", "value", "--match-tag", tag, "--offset", &(P4_START * SECTOR).to_string()]);
        text(&probe.arg(self.disk()).output().expect("blkid").stdout).trim().to_owned()
    }

    fn write_at_data(&self, offset: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(self.disk()).expect("the card");
        file.write_all_at(bytes, P4_START * SECTOR + offset).expect("write");
    }

    /// A program that stands before the real one: it stops the set-up there, as a power cut would.
    fn path_with_cut_at(&self, program: &str, after: &str) -> String {
        let folder = self.folder.path().join("cut");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("folder");
        let script = folder.join(program);
        fs::write(&script, format!("#!/bin/sh\n{after}\nkill -KILL $PPID\n")).expect("write");
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("mode");
        format!("{}:{}", folder.display(), search_path())
    }
}

fn search_path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").expect("PATH"))
}

fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", search_path());
    command
}

#[test]
fn a_fresh_card_gets_both_partitions_and_a_data_file_system() {
    let card = Card::flashed(16_777_216);
    card.set_up();
    let dump = text(&run(tool("sfdisk").arg("--dump").arg(card.disk())).stdout);
    assert!(dump.contains(&format!("3 : start={:>12}, size={:>12}, type=83", P2_START + P2_SIZE, P2_SIZE)), "{dump}");
    assert!(dump.contains("label-id: 0x5ca1ab1e"), "{dump}");
    assert!(dump.contains(&format!("4 : start={P4_START:>12}, size={:>12}, type=83", 16_777_216 - P4_START)), "{dump}");
    assert_eq!((card.data_tag("TYPE").as_str(), card.data_tag("LABEL").as_str()), ("ext4", "posthouse-data"));
}

#[test]
fn a_second_run_changes_neither_table_nor_file_system() {
    let card = Card::flashed(8_388_608);
    card.set_up();
    let (uuid, table) = (card.data_tag("UUID"), read_at(&card.disk(), 0, 512));
    card.set_up();
    assert_eq!(card.data_tag("UUID"), uuid);
    assert_eq!(read_at(&card.disk(), 0, 512), table);
}

#[test]
fn a_cut_before_the_file_system_is_made_only_repeats_it() {
    let card = Card::flashed(8_388_608);
    let output = card.set_up_with_path(&card.path_with_cut_at("mke2fs", ":"));
    assert!(!output.status.success(), "the cut did not cut");
    assert_eq!((card.partition_type(4).as_str(), card.data_tag("TYPE").as_str()), ("da", ""));
    card.set_up();
    assert_eq!((card.partition_type(4).as_str(), card.data_tag("LABEL").as_str()), ("83", "posthouse-data"));
}

#[test]
fn a_cut_after_the_file_system_is_made_and_before_it_counts_makes_it_again() {
    let card = Card::flashed(8_388_608);
    let output = card.set_up_with_path(&card.path_with_cut_at("mke2fs", "PATH=/usr/sbin:/sbin:/usr/bin mke2fs \"$@\""));
    assert!(!output.status.success(), "the cut did not cut");
    let first = card.data_tag("UUID");
    assert_eq!((card.partition_type(4).as_str(), first.is_empty()), ("da", false));
    card.set_up();
    assert_eq!(card.partition_type(4), "83");
    assert_ne!(card.data_tag("UUID"), first);
}

#[test]
fn a_cut_before_the_partitions_are_entered_leaves_the_flashed_table() {
    let card = Card::flashed(8_388_608);
    let output = card.set_up_with_path(&card.path_with_cut_at("stat", ":"));
    assert!(!output.status.success(), "the cut did not cut");
    assert_eq!(card.partition_type(3), "");
    card.set_up();
    assert_eq!(card.partition_type(4), "83");
}

#[test]
fn a_damaged_data_file_system_is_never_made_anew() {
    let card = Card::flashed(8_388_608);
    card.set_up();
    card.write_at_data(0, &[0; 65_536]);
    assert_eq!(card.data_tag("TYPE"), "");
    card.set_up();
    assert_eq!((card.partition_type(4).as_str(), card.data_tag("TYPE").as_str()), ("83", ""));
}

#[test]
fn a_card_that_is_too_small_is_refused_and_left_alone() {
    let card = Card::flashed(P4_START + 1000);
    let output = card.set_up_with_path(&search_path());
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("is too small: the image needs a card of at least 4 GB"), "{output:?}");
    assert!(card.rescue().contains("is too small"), "{}", card.rescue());
    assert_eq!(card.partition_type(3), "");
}

#[test]
fn a_card_that_takes_no_writing_is_told() {
    let card = Card::flashed(8_388_608);
    let output = card.set_up_with_path(&card.path_with_cut_at("mke2fs", "exit 1"));
    assert!(text(&output.stderr).ends_with("it may be worn out or write-protected\n"), "{output:?}");
    assert!(card.rescue().contains("cannot be prepared"), "{}", card.rescue());
}

#[test]
fn a_card_of_512_gb_is_used_to_its_end_and_little_is_written_to_it() {
    let sectors = 512_000_000_000 / SECTOR;
    let card = Card::flashed(sectors);
    card.set_up();
    let dump = text(&run(tool("sfdisk").arg("--dump").arg(card.disk())).stdout);
    assert!(dump.contains(&format!("4 : start={P4_START:>12}, size={:>12}, type=83", sectors - P4_START)), "{dump}");
    assert_eq!(card.data_tag("LABEL"), "posthouse-data");
    let written = fs::metadata(card.disk()).expect("the card").blocks() * 512;
    assert!(written < 256 * 1024 * 1024, "{written} bytes written: minutes on a slow card");
}

#[test]
fn somebody_elses_fourth_partition_is_left_alone() {
    let card = Card::flashed(8_388_608);
    card.set_up();
    run(tool("sfdisk").args(["--quiet", "--part-type"]).arg(card.disk()).args(["4", "7"]));
    card.write_at_data(0, b"theirs");
    let output = card.set_up_with_path(&search_path());
    assert!(text(&output.stderr).contains("has the type '7'"), "{output:?}");
    assert!(card.rescue().contains("has the type '7'"), "{}", card.rescue());
    assert_eq!(read_at(&card.disk(), P4_START * SECTOR, 6), b"theirs");
}

fn read_at(disk: &Path, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    File::open(disk).and_then(|file| file.read_exact_at(&mut bytes, offset)).expect("read");
    bytes
}
