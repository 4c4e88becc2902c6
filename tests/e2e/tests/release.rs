//! Updates are made and signed by several people with files that they pass on.

use posthouse_e2e::Site;
use posthouse_e2e::terminal::{Said, Terminal};
use serde_json::Value;

const PASSPHRASE: &str = "correct horse\n";

/// Some people's machine, where the files lie.
struct Desk {
    site: Site,
    terminal: Terminal,
}

impl Desk {
    fn new() -> Self {
        let site = Site::new();
        let terminal = Terminal::new(site.path("settings"));
        Self { site, terminal }
    }

    fn path(&self, name: &str) -> String {
        self.site.path(name).to_str().expect("a readable path").to_owned()
    }

    /// `posthouse release …`, with the passphrase on standard input; `@name` is a file of the desk.
    fn release(&self, arguments: &str) -> Said {
        let words = arguments.split_whitespace().map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name),
            None => word.to_owned(),
        });
        let words: Vec<String> = ["release".to_owned()].into_iter().chain(words).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.terminal.run_with_input(&words, PASSPHRASE)
    }

    fn keys(&self) {
        for name in ["anna", "ben", "carol"] {
            self.release(&format!("keygen --name {name} --passphrase-stdin @{name}.key")).ok();
        }
    }

    fn sign(&self, name: &str, file: &str) {
        self.release(&format!("sign --key @{name}.key --passphrase-stdin @{file}")).ok();
    }
}

fn bundled(desk: &Desk) {
    std::fs::write(desk.path("posthoused"), "a server\n".repeat(1000)).expect("a binary");
    desk.keys();
    desk.release("root --test --out @root.json @anna.key.pub @ben.key.pub @carol.key.pub").ok();
    desk.sign("anna", "root.json");
    desk.sign("ben", "root.json");
    desk.release(
        "bundle --root @root.json --seq 7 --version 0.2.0 --schema 1 --min-reader 1 --out @update.phb @posthoused",
    )
    .ok();
}

#[test]
fn two_of_three_people_sign_a_release_and_everybody_sees_who() {
    let desk = Desk::new();
    bundled(&desk);
    let seen = desk.release("inspect @update.phb").ok();
    assert!(seen.contains("Signed by 0 of 2 needed: nobody"), "{seen}");
    desk.sign("ben", "update.phb");
    desk.sign("carol", "update.phb");
    // Once more changes nothing.
    desk.sign("carol", "update.phb");
    let seen = desk.release("inspect @update.phb").ok();
    assert!(seen.contains("Version 0.2.0 for aarch64, stable, seq 7: 9000 bytes"), "{seen}");
    assert!(seen.contains("Signed by 2 of 2 needed: ben, carol"), "{seen}");
    let seen: Value = serde_json::from_str(&desk.release("inspect --json @root.json").ok()).expect("JSON");
    assert_eq!(seen["signed_by"], serde_json::json!(["anna", "ben"]), "{seen}");
    assert_eq!(seen["content"]["test"], true, "{seen}");
}

#[test]
fn nothing_is_signed_or_overwritten_that_should_not_be() {
    let desk = Desk::new();
    bundled(&desk);
    let key = std::fs::read_to_string(desk.path("anna.key")).expect("the key");
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}");
    let line = desk.release("keygen --name anna --passphrase-stdin @anna.key").refused(1);
    assert!(line.contains("is there already"), "{line}");
    assert_eq!(std::fs::read_to_string(desk.path("anna.key")).expect("the key"), key);

    let wrong = ["release", "sign", "--passphrase-stdin", "--key", &desk.path("anna.key"), &desk.path("update.phb")];
    let line = desk.terminal.run_with_input(&wrong, "battery staple\n").refused(1);
    assert!(line.contains("the passphrase does not open this key"), "{line}");

    // A bundle whose binary is another than it says is not signed.
    let mut bundle = std::fs::read(desk.path("update.phb")).expect("the bundle");
    *bundle.last_mut().expect("it has bytes") ^= 1;
    std::fs::write(desk.path("other.phb"), bundle).expect("written");
    let line = desk.release("sign --key @anna.key --passphrase-stdin @other.phb").refused(1);
    assert!(line.contains("packed binary is not the one that was signed"), "{line}");

    std::fs::write(desk.path("note.txt"), "hello").expect("written");
    let line = desk.release("inspect @note.txt").refused(1);
    assert!(line.contains("is neither a bundle nor a root"), "{line}");
    let line = desk.release("root --threshold 4 --out @new.json @anna.key.pub @ben.key.pub").refused(1);
    assert!(line.contains("4 of 2 keys must sign"), "{line}");
    let line = desk.release("root --out @new.json @anna.key.pub @anna.key.pub").refused(1);
    assert!(line.contains("stands there twice"), "{line}");
}
