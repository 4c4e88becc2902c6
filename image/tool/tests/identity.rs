//! What gives the box its identity, run as it is on the image, on folders that stand for the box's.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

mod fixture;
use fixture::{checkout, run};

const FIRST: &str = "11111111111111111111111111111111";
const SECOND: &str = "22222222222222222222222222222222";

/// The folders of a box, which outlive its boots as the card does.
struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let house = Self { folder: tempfile::tempdir().expect("temporary folder") };
        for folder in ["data", "run/posthouse-data"] {
            fs::create_dir_all(house.at(folder)).expect("folder");
        }
        house
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_default().trim().to_owned()
    }

    /// systemd invents an id, and the identity is set up.
    fn boot(&self, invented: &str, is_mounted: bool) {
        fs::write(self.at("run/machine-id"), format!("{invented}\n")).expect("write");
        // The data partition is known by the server's folder.
        let server = self.at("data/posthouse");
        if is_mounted {
            fs::create_dir_all(server).expect("folder");
        }
        let mut command = Command::new(checkout().join("overlays/common/usr/lib/posthouse/identity"));
        command.env("POSTHOUSE_ROOT", self.folder.path());
        run(command.env("RUNTIME_DIRECTORY", self.at("run/posthouse-data")));
    }
}

#[test]
fn the_first_boot_s_id_is_the_box_s_for_ever() {
    let house = House::new();
    house.boot(FIRST, true);
    assert_eq!(house.read("run/machine-id"), FIRST);
    house.boot(SECOND, true);
    assert_eq!(house.read("run/machine-id"), FIRST);
}

#[test]
fn an_id_that_is_none_is_replaced() {
    for damaged in ["", "\0\0\0\0", "1111", "no id"] {
        let house = House::new();
        house.boot(FIRST, true);
        fs::remove_file(house.at("data/system/machine-id")).expect("there");
        fs::write(house.at("data/system/machine-id"), damaged).expect("write");
        house.boot(SECOND, true);
        assert_eq!(house.read("run/machine-id"), SECOND, "{damaged:?}");
        assert_eq!(house.read("data/system/machine-id"), SECOND, "{damaged:?}");
    }
}

#[test]
fn without_data_partition_the_identity_is_in_memory() {
    let house = House::new();
    house.boot(FIRST, false);
    assert_eq!(house.read("run/machine-id"), FIRST);
    assert!(house.at("run/posthouse-data/system/systemd").is_dir());
    assert_eq!(fs::read_dir(house.at("data")).expect("folder").count(), 0, "root's empty folder is left alone");
}
