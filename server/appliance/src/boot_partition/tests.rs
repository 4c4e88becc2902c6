//! On real file systems, made with mkfs.vfat and mtools.

use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// A boot partition in a file, with `POSTHOUSE.TXT` of 4,096 blanks.
struct Card {
    _folder: TempDir,
    path: PathBuf,
}

fn run(command: &mut Command) {
    let output = command.env("MTOOLS_SKIP_CHECK", "1").output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Card {
    fn new() -> Self {
        // As the builder makes it, but smaller.
        Self::of(64 << 20, "32")
    }

    fn of(len: u64, bits: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("boot.fat");
        File::create(&path).and_then(|file| file.set_len(len)).expect("a file");
        run(Command::new("mkfs.vfat").args(["-F", bits, "-n", "POSTHOUSE"]).arg(&path));
        let card = Self { _folder: folder, path };
        card.put("config.txt", b"arm_64bit=1\n");
        card.put("POSTHOUSE.TXT", &[b' '; 4096]);
        card
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let from = self.path.with_file_name("content");
        fs::write(&from, bytes).expect("a file");
        run(Command::new("mcopy").arg("-D").arg("o").arg("-i").arg(&self.path).arg(&from).arg(format!("::{name}")));
    }

    fn get(&self, name: &str) -> Vec<u8> {
        let output = Command::new("mtype").arg("-i").arg(&self.path).arg(format!("::{name}")).output().expect("mtools");
        assert!(output.status.success());
        output.stdout
    }

    fn boot(&self) -> BootPartition {
        BootPartition::at(&self.path)
    }

    fn image(&self) -> Vec<u8> {
        fs::read(&self.path).expect("the image")
    }
}

#[test]
fn a_file_is_read_whatever_the_case_of_its_name() {
    let card = Card::new();
    card.put("posthouse.toml", "site_name = \"驿站\"\r\n".as_bytes());
    let found = card.boot().read("Posthouse.TOML", 4096).expect("readable").expect("there");
    assert_eq!(found.bytes, "site_name = \"驿站\"\r\n".as_bytes());
    assert_eq!(card.boot().read("factory-reset", 4096).expect("readable"), None);
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let card = Card::new();
    card.put("posthouse.toml", &[b'#'; 1 << 20]);
    let error = card.boot().read("posthouse.toml", 64 << 10).expect_err("too large");
    assert_eq!(error.to_string(), "posthouse.toml has 1048576 bytes: more than 65536 are never read");
}

#[test]
fn what_replaces_a_file_has_another_stamp() {
    let card = Card::new();
    card.put("factory-reset", b"");
    let first = card.boot().read("factory-reset", 10).expect("readable").expect("there");
    assert_eq!(Some(&first), card.boot().read("factory-reset", 10).expect("readable").as_ref());
    run(Command::new("mdel").arg("-i").arg(&card.path).arg("::factory-reset"));
    let from = card.path.with_file_name("content");
    run(Command::new("touch").arg("--date=2031-01-02").arg(&from));
    run(Command::new("mcopy").arg("-m").arg("-i").arg(&card.path).arg(&from).arg("::factory-reset"));
    let second = card.boot().read("factory-reset", 10).expect("readable").expect("there");
    assert_ne!(first.stamp, second.stamp);
}

#[test]
fn overwriting_changes_the_bytes_of_the_file_and_nothing_else() {
    let card = Card::new();
    let before = card.image();
    card.boot().overwrite("posthouse.txt", b"http://192.0.2.7/\n").expect("written");
    let text = card.get("POSTHOUSE.TXT");
    assert_eq!(text.len(), 4096);
    assert!(text.starts_with(b"http://192.0.2.7/\n   ") && text.ends_with(b"  \n"));
    let place = before.windows(4096).position(|window| window.iter().all(|byte| *byte == b' ')).expect("the blanks");
    let mut expected = before;
    expected[place..place + 4096].copy_from_slice(&text);
    assert!(expected == card.image(), "something beside the file has changed");
    run(Command::new("fsck.vfat").arg("-n").arg(&card.path));
}

#[test]
fn a_file_in_pieces_is_overwritten_in_its_places() {
    // FAT12 does not say where free space begins: a new file takes the first gap, and goes on behind the others.
    let card = Card::of(2 << 20, "12");
    card.put("first", &[b'1'; 3000]);
    card.put("second", &[b'2'; 3000]);
    run(Command::new("mdel").arg("-i").arg(&card.path).arg("::first"));
    let old: Vec<u8> = (0..20_000u32).map(|at| b'a' + u8::try_from(at % 26).expect("a letter")).collect();
    card.put("pieces", &old);
    let found = card.boot().read("pieces", 1 << 20).expect("readable").expect("there");
    let is_gap = |pair: &[Place]| pair[0].on_device + pair[0].len as u64 != pair[1].on_device;
    assert!(found.places.windows(2).any(is_gap), "the file is in one piece: {:?}", found.places);
    let new: Vec<u8> = old.iter().rev().copied().collect();
    card.boot().overwrite("pieces", &new).expect("written");
    assert!(card.get("pieces") == new);
    assert_eq!(card.get("second"), [b'2'; 3000]);
    run(Command::new("fsck.vfat").arg("-n").arg(&card.path));
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let card = Card::new();
    let before = card.image();
    let error = card.boot().overwrite("POSTHOUSE.TXT", &[b'x'; 4097]).expect_err("too long");
    assert_eq!(error.to_string(), "POSTHOUSE.TXT has room for 4096 bytes, not for 4097");
    let error = card.boot().overwrite("MISSING.TXT", b"").expect_err("missing");
    assert_eq!(error.to_string(), "the boot partition has no MISSING.TXT");
    assert!(before == card.image());
}

#[test]
fn garbage_is_no_boot_partition() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("garbage");
    for garbage in [vec![], vec![0; 512], vec![0xff; 1 << 20]] {
        fs::write(&path, garbage).expect("a file");
        assert!(BootPartition::at(&path).read("posthouse.toml", 4096).is_err());
    }
    assert!(BootPartition::at(folder.path().join("missing")).read("posthouse.toml", 4096).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever is wrong with FAT and folders, reading ends without a panic.
    #[test]
    fn a_damaged_file_system_does_not_stop_the_reader(damage in proptest::collection::vec((0usize..1 << 21, any::<u8>()), 1..400)) {
        thread_local!(static CARD: Card = Card::new());
        CARD.with(|card| {
            let damaged = card.path.with_file_name("damaged");
            fs::copy(&card.path, &damaged).expect("a copy");
            let device = File::options().write(true).open(&damaged).expect("it opens");
            for (at, byte) in damage {
                // Half of it in the first sectors, where little says much.
                let at = if at % 2 == 0 { at % 1024 } else { at };
                device.write_all_at(&[byte], at as u64).expect("written");
            }
            let _ = BootPartition::at(&damaged).read("POSTHOUSE.TXT", 64 << 10);
        });
    }
}
