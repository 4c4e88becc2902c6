//! `posthouse-box provision`, with a card in a file and a box in a folder.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use posthouse_protocol::appliance::{Language, PlainHttp, Settings, Updates};
use tempfile::TempDir;

/// A box, switched off.
struct Device {
    folder: TempDir,
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Device {
    fn new() -> Self {
        let device = Self { folder: TempDir::new().expect("a folder") };
        fs::File::create(device.card()).and_then(|file| file.set_len(4 << 20)).expect("a file");
        run(Command::new("mkfs.vfat").arg(device.card()));
        for folder in ["data/system/iwd", "run/posthouse-data"] {
            fs::create_dir_all(device.path(folder)).expect("a folder");
        }
        symlink(device.path("data/system"), device.path("run/posthouse-data/system")).expect("a link");
        device
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    fn card(&self) -> PathBuf {
        self.folder.path().join("boot.fat")
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let from = self.folder.path().join("content");
        fs::write(&from, content).expect("a file");
        run(Command::new("mcopy").args(["-D", "o", "-i"]).arg(self.card()).arg(&from).arg(format!("::{name}")));
    }

    fn get(&self, name: &str) -> String {
        let output =
            Command::new("mtype").arg("-i").arg(self.card()).arg(format!("::{name}")).output().expect("mtools");
        String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
    }

    fn delete(&self, name: &str) {
        run(Command::new("mdel").arg("-i").arg(self.card()).arg(format!("::{name}")));
    }

    /// Provisions as one boot does, and says what the server is told.
    fn boot(&self) -> Settings {
        let output = Command::new(env!("CARGO_BIN_EXE_posthouse-box"))
            .arg("provision")
            .env("POSTHOUSE_ROOT", self.path(""))
            .env("POSTHOUSE_BOOT_PARTITION", self.card())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let settings = fs::read(self.path("run/posthouse-settings/settings.json")).expect("settings");
        let settings: Settings = serde_json::from_slice(&settings).expect("JSON");
        // What it tells the server it tells the log.
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(settings.problems.iter().all(|problem| log.contains(problem.as_str())), "{log}");
        settings
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }
}

const WIFI: &str = "[wifi]\nssid = \"net\"\npassword = \"its \\\"password\\\"\"\ncountry = \"CN\"\n";

#[test]
fn a_box_without_files_has_no_settings_and_no_problems() {
    let device = Device::new();
    assert_eq!(device.boot(), Settings::default());
    assert!(!device.path("run/systemd/network/70-posthouse-wired.network").exists());
}

#[test]
fn what_the_file_says_is_applied_and_its_secrets_are_taken_out() {
    let device = Device::new();
    device.put(
        "posthouse.toml",
        format!(
            "\u{feff}host_name = \"Office\"\r\nsite_name = \"驿站\"\r\ntime_zone = \"Asia/Shanghai\"\r\nlanguage = \"zh\"\r\n\
             claim_code = \"7KQM-2X4P-WHZD\"\r\nntp_servers = \"192.168.1.1\"\r\n[network]\r\nmethod = \"static\"\r\n\
             address = \"192.168.1.10/24\"\r\ngateway = \"192.168.1.1\"\r\n{WIFI}[tls]\r\nplain_http = \"refused\"\r\nnames = [\"a.example\"]\r\n\
             [updates]\r\nurl = \"https://u.example\"\r\nwindow = \"01:00-02:30\"\r\n"
        ),
    );
    let expected = Settings {
        host_name: Some("office".to_owned()),
        site_name: Some("驿站".to_owned()),
        language: Language::Chinese,
        names: vec!["a.example".to_owned()],
        claim_code: Some("7KQM-2X4P-WHZD".to_owned()),
        plain_http: PlainHttp::Refused,
        updates: Updates {
            url: Some("https://u.example".to_owned()),
            window: "01:00-02:30".parse().expect("a window"),
            ..Updates::default()
        },
        recover_owner: false,
        problems: Vec::new(),
    };
    assert_eq!(device.boot(), expected);
    assert!(device.read("run/systemd/network/70-posthouse-wired.network").contains("Address=192.168.1.10/24\n"));
    assert!(device.read("run/systemd/network/70-posthouse-wifi.network").contains("Type=wlan\n"));
    assert!(device.read("run/systemd/timesyncd.conf.d/95-posthouse-card.conf").contains("NTP=192.168.1.1\n"));
    assert!(device.read("run/posthouse-wifi/main.conf").contains("Country=CN\n"));
    assert!(fs::read(device.path("run/posthouse-time/localtime")).expect("a time zone").starts_with(b"TZif"));
    let known = device.read("data/system/iwd/net.psk");
    assert!(known.contains("Passphrase=its \"password\"\n"), "{known}");
    for (secret, mode) in [
        ("data/system/iwd/net.psk", 0o600),
        ("data/system/settings.json", 0o600),
        ("run/posthouse-settings/settings.json", 0o640),
    ] {
        let permissions = fs::metadata(device.path(secret)).expect("a file").permissions();
        assert_eq!(permissions.mode() & 0o777, mode, "{secret}");
    }
    let file = device.get("posthouse.toml");
    assert!(
        file.contains("claim_code = \"**************\"\n") && file.contains("password = \"****************\"\n"),
        "{file}"
    );
    // The next boot finds the same, and nothing to do.
    let card = fs::read(device.card()).expect("the card");
    assert_eq!(device.boot(), expected);
    assert!(card == fs::read(device.card()).expect("the card"));
    assert!(device.read("data/system/iwd/net.psk") == known);
}

#[test]
fn a_change_is_applied_and_what_went_out_of_the_file_is_gone() {
    let device = Device::new();
    device.put("posthouse.toml", format!("host_name = \"one\"\n{WIFI}"));
    assert_eq!(device.boot().host_name.as_deref(), Some("one"));
    device.put("posthouse.toml", "host_name = \"two\"\n");
    assert_eq!(device.boot().host_name.as_deref(), Some("two"));
    assert!(!device.path("data/system/iwd/net.psk").exists());
    assert!(!device.path("run/systemd/network/70-posthouse-wifi.network").exists());
    assert!(!device.path("run/posthouse-wifi/main.conf").exists());
    device.put("posthouse.toml", "");
    assert_eq!(device.boot(), Settings::default());
}

#[test]
fn a_bad_file_leaves_the_last_good_settings_and_says_why() {
    let device = Device::new();
    device.put("posthouse.toml", format!("host_name = \"one\"\nsite_name = \"a\"\n{WIFI}"));
    device.boot();
    for (bad, line) in [
        ("host_name = \"one\nsite_name", "posthouse.toml, line 1: this is not TOML: "),
        ("\0\0\0", "posthouse.toml: it is not a text file"),
        (&"#".repeat(1 << 20), "posthouse.toml has 1048576 bytes: more than 65536 are never read"),
    ] {
        device.put("posthouse.toml", bad);
        let settings = device.boot();
        assert!(settings.problems[0].contains(line), "{:?}", settings.problems);
        assert_eq!((settings.host_name.as_deref(), settings.site_name.as_deref()), (Some("one"), Some("a")));
        assert!(device.path("data/system/iwd/net.psk").exists());
        // Nor is anything of it written over.
        assert!(device.get("posthouse.toml").starts_with(bad) || bad.starts_with('\0'));
    }
    // Of a file with one mistake the rest is applied.
    device.put(
        "posthouse.toml",
        "host_name = \"-\"\nsite_name = \"b\"\n[wifi]\nssid = \"net\"\npassword = \"another one\"\n",
    );
    let settings = device.boot();
    assert_eq!((settings.host_name.as_deref(), settings.site_name.as_deref()), (Some("one"), Some("b")));
    assert_eq!(settings.problems.len(), 2, "{:?}", settings.problems);
    assert!(device.get("posthouse.toml").contains("another one"), "what was not used was overwritten");
    assert!(device.read("data/system/iwd/net.psk").contains("its \"password\""));
    device.delete("posthouse.toml");
    let settings = device.boot();
    assert_eq!(settings.host_name.as_deref(), Some("one"));
    assert_eq!(settings.problems, ["posthouse.toml: the file is missing: the settings stay as they were"]);
}

#[test]
fn a_bad_file_at_the_first_boot_leaves_the_defaults() {
    let device = Device::new();
    device.put("posthouse.toml", "= = =\n");
    let settings = device.boot();
    assert_eq!(Settings { problems: Vec::new(), ..settings.clone() }, Settings::default());
    assert!(!settings.problems.is_empty());
}

#[test]
fn imagers_files_are_taken_and_ours_counts_more() {
    let device = Device::new();
    device.put("user-data", "#cloud-config\nhostname: imager\ntimezone: Europe/Berlin\nusers:\n- name: pi\n");
    device.put(
        "network-config",
        "network:\n  version: 2\n  wifis:\n    wlan0:\n      regulatory-domain: \"DE\"\n      access-points:\n        \"net\":\n          \
         password: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n",
    );
    device.put("firstrun.sh", "#!/bin/sh\ntouch /ran\n");
    let settings = device.boot();
    assert_eq!(settings.host_name.as_deref(), Some("imager"));
    assert_eq!(
        settings.problems,
        [
            "firstrun.sh: this script is never run; what it would set belongs into posthouse.toml",
            "user-data: ignored, for the box has no log-in and installs nothing: users"
        ]
    );
    assert!(device.read("data/system/iwd/net.psk").contains("PreSharedKey=0123456789abcdef"));
    assert!(device.get("network-config").contains(&format!("password: \"{}\"\n", "*".repeat(64))));
    device.put("posthouse.toml", "host_name = \"ours\"\n");
    assert_eq!(device.boot().host_name.as_deref(), Some("ours"));
    assert!(device.read("data/system/iwd/net.psk").contains("PreSharedKey=0123456789abcdef"));
}

#[test]
fn the_server_is_told_for_as_long_as_a_file_asks_to_let_the_owner_in() {
    let device = Device::new();
    assert!(!device.boot().recover_owner);
    for name in ["recover-owner", "Recover-Owner.txt"] {
        device.put(name, "");
        assert!(device.boot().recover_owner);
        let settings = device.boot();
        assert!(
            settings.recover_owner && settings.problems.is_empty(),
            "the code that the card shows is of no use later"
        );
        device.delete(name);
        assert!(!device.boot().recover_owner);
    }
}

#[test]
fn a_power_cut_while_secrets_are_overwritten_loses_none() {
    let device = Device::new();
    // The password lies across two sectors of the card.
    let text = format!(
        "{}\nhost_name = \"one\"\n[wifi]\nssid = \"net\"\ncountry = \"CN\"\npassword = \"{}\"\n",
        "#".repeat(420),
        "p\\\\".repeat(15)
    );
    device.put("posthouse.toml", &text);
    let before = fs::read(device.card()).expect("the card");
    let settings = device.boot();
    let known = device.read("data/system/iwd/net.psk");
    let after = fs::read(device.card()).expect("the card");
    let kept = device.read("data/system/settings.json");
    let changed: Vec<usize> = (0..before.len()).filter(|at| before[*at] != after[*at]).collect();
    assert!(changed.first().map(|at| at / 512) != changed.last().map(|at| at / 512), "{changed:?}");
    // A cut leaves each sector as it was or as it is to be.
    for first_is_new in [true, false] {
        let mut cut = before.clone();
        for at in changed.iter().filter(|at| (**at / 512 == changed[0] / 512) == first_is_new) {
            cut[*at] = after[*at];
        }
        fs::write(device.card(), &cut).expect("the card");
        fs::write(device.path("data/system/settings.json"), &kept).expect("what was kept before the cut");
        assert_eq!(device.boot(), settings);
        assert_eq!(device.read("data/system/iwd/net.psk"), known);
        assert!(fs::read(device.card()).expect("the card") == after);
    }
}

#[test]
fn without_a_data_partition_secrets_stay_on_the_card() {
    let device = Device::new();
    fs::remove_file(device.path("run/posthouse-data/system")).expect("the link");
    fs::create_dir_all(device.path("run/posthouse-data/system/iwd")).expect("a folder");
    device.put("posthouse.toml", WIFI);
    device.boot();
    assert!(device.get("posthouse.toml").contains("password = \"its \\\"password\\\"\""));
    assert!(device.path("run/posthouse-data/system/iwd/net.psk").exists());
}

#[test]
fn a_card_or_settings_that_cannot_be_read_stop_nothing() {
    let device = Device::new();
    device.put("posthouse.toml", "host_name = \"one\"\n");
    device.boot();
    fs::write(device.card(), vec![0xa5; 1 << 20]).expect("garbage");
    let settings = device.boot();
    assert_eq!(settings.host_name.as_deref(), Some("one"));
    assert!(settings.problems[0].contains("boot partition"), "{:?}", settings.problems);
    fs::write(device.path("data/system/settings.json"), "{").expect("garbage");
    let settings = device.boot();
    assert!(settings.problems.iter().any(|problem| problem.contains("damaged")), "{:?}", settings.problems);
    assert_eq!(settings.host_name, None);
}
