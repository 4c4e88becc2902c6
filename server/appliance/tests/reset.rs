//! `posthouse-box reset`, on a card in a file as the image and its first boot make it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Where the data partition of the card lies, in bytes, and how large it is.
const DATA_START: u64 = 8 << 20;
const DATA_LEN: u64 = 16 << 20;

struct Card {
    folder: TempDir,
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Card {
    /// A card with data on it, of which `settings` is what provisioning kept.
    fn new(settings: &str) -> Self {
        let card = Self { folder: TempDir::new().expect("a folder") };
        let disk = fs::File::create(card.disk()).expect("a file");
        disk.set_len(DATA_START + DATA_LEN).expect("its size");
        let layout = card.path("layout");
        let partitions =
            (1..=3).map(|number| format!("start={}, size=2048, type=83\n", number * 2048)).collect::<String>();
        fs::write(&layout, format!("label: dos\n{partitions}start={}, type=83\n", DATA_START / 512)).expect("a file");
        run(Command::new("sfdisk").arg("--quiet").arg(card.disk()).stdin(fs::File::open(&layout).expect("the layout")));
        let content = card.path("content");
        fs::create_dir_all(content.join("system")).expect("a folder");
        fs::write(content.join("system/settings.json"), settings).expect("a file");
        let mut make = Command::new("mke2fs");
        make.args(["-q", "-F", "-t", "ext4", "-E", &format!("offset={DATA_START}"), "-d"]).arg(&content);
        run(make.arg(card.disk()).arg(format!("{}k", DATA_LEN / 1024)));
        fs::File::create(card.boot()).and_then(|file| file.set_len(4 << 20)).expect("a file");
        run(Command::new("mkfs.vfat").arg(card.boot()));
        fs::create_dir(card.path("state")).expect("a folder");
        card
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn disk(&self) -> PathBuf {
        self.path("disk.img")
    }

    fn boot(&self) -> PathBuf {
        self.path("boot.fat")
    }

    /// Puts the request on the card.
    fn ask(&self) {
        let empty = self.path("empty");
        fs::write(&empty, "").expect("a file");
        run(Command::new("mcopy").args(["-D", "o", "-i"]).arg(self.boot()).arg(&empty).arg("::factory-reset"));
    }

    fn start(&self) -> bool {
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut reset = Command::new(env!("CARGO_BIN_EXE_posthouse-box"));
        reset.arg("reset").env("PATH", path).env("POSTHOUSE_BOOT_PARTITION", self.boot());
        reset.env("POSTHOUSE_DISK", self.disk()).env("POSTHOUSE_DATA_OFFSET", DATA_START.to_string());
        reset.env("RUNTIME_DIRECTORY", self.path("state")).output().expect("it runs").status.success()
    }

    fn kind(&self) -> String {
        run(Command::new("sfdisk").arg("--part-type").arg(self.disk()).arg("4")).trim().to_owned()
    }

    fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path("state").join(name)).ok()
    }
}

#[test]
fn without_the_request_nothing_is_touched() {
    let card = Card::new("{}");
    let before = fs::read(card.disk()).expect("the disk");
    assert!(card.start());
    assert!(before == fs::read(card.disk()).expect("the disk"));
    assert_eq!((card.kind().as_str(), card.note("reset")), ("83", None));
}

#[test]
fn the_request_gives_the_data_partition_up_and_is_noted() {
    let card = Card::new("{}");
    card.ask();
    assert!(card.start());
    assert_eq!(card.kind(), "da");
    let mark = card.note("reset").expect("a note");
    // A power cut before the new file system was made: the same once more.
    assert!(card.start());
    assert_eq!((card.kind().as_str(), card.note("reset").as_ref()), ("da", Some(&mark)));
    // The new file system knows that the request was followed.
    let settings = serde_json::json!({ "followed": { "factory-reset": mark } }).to_string();
    let next = Card::new(&settings);
    fs::copy(card.boot(), next.boot()).expect("the same request");
    assert!(next.start());
    assert_eq!((next.kind().as_str(), next.note("reset")), ("83", None));
}

#[test]
fn damaged_data_do_not_keep_a_box_from_being_reset() {
    let card = Card::new("{");
    card.ask();
    assert!(card.start());
    assert_eq!(card.kind(), "da");
    let card = Card::new("{}");
    card.ask();
    let disk = fs::OpenOptions::new().write(true).open(card.disk()).expect("the disk");
    std::os::unix::fs::FileExt::write_all_at(&disk, &vec![0xa5; 1 << 20], DATA_START).expect("garbage");
    assert!(card.start());
    assert_eq!(card.kind(), "da");
}
