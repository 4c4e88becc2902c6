//! An update from the owner's command to its verdict: the real command, the real server, the real updater.
//!
//! What is installed are scripts that say what they are, and the service manager is one that notes what it is asked: what a version
//! does when it runs, and that the real server is replaced by it, is for the tests that have a service manager.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::unistd::{User, geteuid};
use posthouse_e2e::wait::until;
use posthouse_e2e::{Server, Site, binaries};
use posthouse_updater::{Bundle, Kind, PRODUCT, Release, Root, RootKey, SecretKey, SignedDocument};
use serde_json::Value;

use crate::updates::{Updated, written};

/// A box with everything but the service manager.
struct Fitted {
    of: Updated,
    key: SecretKey,
    root: SignedDocument,
}

impl Fitted {
    fn new() -> Self {
        let site = Site::new();
        for folder in ["state", "inbox", "run", "probe"] {
            std::fs::create_dir(site.path(folder)).expect("made");
        }
        let key = SecretKey::generate().expect("a key");
        let keys = vec![RootKey { name: "carol".to_owned(), public_key: key.public() }];
        let root = Root { product: PRODUCT.to_owned(), version: 1, generation: 1, threshold: 1, keys, test: false };
        let mut root = SignedDocument::new(serde_json::to_vec(&root).expect("JSON")).expect("a document");
        root.sign(Kind::Root, &key).expect("signed");
        std::fs::write(site.path("root"), serde_json::to_vec(&root).expect("JSON")).expect("written");
        program(&site, "factory", &server_script(env!("CARGO_PKG_VERSION")));
        let folder = site.path("").display().to_string();
        let control = format!(
            "#!/bin/sh\ncd '{folder}' || exit 1\ncase \"$*\" in\nshow*) cat shown;;\n\
             'start posthouse-probe.service') cp next-verdict probe/verdict;;\nesac\n"
        );
        program(&site, "control", &control);
        std::fs::write(site.path("shown"), format!("MainPID={}\nActiveState=active\n", std::process::id()))
            .expect("written");
        let mut command = site.command();
        command.arg("--update-inbox").arg(site.path("inbox"));
        command.arg("--update-status").arg(site.path("run/status.json"));
        let server = Server::start(command, site.admin_socket()).expect("it starts");
        server.add_account("anna");
        let made = Self { of: Updated { site, server }, key, root };
        made.updater(&["pick"]);
        made
    }

    /// Runs the updater as its units do.
    fn updater(&self, arguments: &[&str]) {
        let mut command = Command::new(binaries::updater());
        let places = [
            ("--state-dir", "state"),
            ("--inbox", "inbox"),
            ("--run-dir", "run"),
            ("--factory", "factory"),
            ("--root", "root"),
            ("--control", "control"),
            ("--verdict", "probe/verdict"),
            ("--settings", "settings.json"),
        ];
        for (option, name) in places {
            command.arg(option).arg(self.of.site.path(name));
        }
        let user = User::from_uid(geteuid()).expect("users can be read").expect("this one is there");
        let output = command.args(["--user", &user.name]).args(arguments).output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A version that is a script, signed by a key.
    fn bundle(&self, seq: u64, key: &SecretKey) -> String {
        let version = format!("0.{seq}.0");
        let binary = server_script(&version).into_bytes();
        let packed = posthouse_updater::pack(&binary).expect("packed");
        let version = version.try_into().expect("a version");
        let release = Release { schema: 2, min_reader: 2, ..Release::of(version, seq, 20_780, &binary, &packed) };
        let bytes =
            Bundle::file(vec![self.root.clone()], &release, &packed, std::slice::from_ref(key)).expect("a bundle");
        written(&self.of, &format!("{seq}.phb"), &bytes)
    }

    /// What the service manager would do once the server has asked: the updater, and the trial where there is one.
    fn carry_out(&self, verdict: &str) {
        until("a request", || self.of.site.path("inbox/request").exists().then_some(()));
        let said = format!(r#"{{"verdict":"{verdict}","reason":"said by the test"}}"#);
        std::fs::write(self.of.site.path("next-verdict"), said).expect("written");
        self.updater(&["inbox"]);
        self.updater(&["pick"]);
        let status = std::fs::read(self.of.site.path("run/status.json")).expect("a status");
        let status: Value = serde_json::from_slice(&status).expect("JSON");
        if !status["trial"].is_null() {
            let quick = ["--ready-seconds", "2", "--probe-seconds", "0.3", "--soak-seconds", "0.2"];
            self.updater(&[&["trial", "--every-seconds", "0.05", "--total-seconds", "5"], &quick[..]].concat());
        }
    }
}

fn server_script(version: &str) -> String {
    let arch = std::env::consts::ARCH;
    format!(
        "#!/bin/sh\n[ \"$1\" = --selfcheck ] || exit 9\n\
         echo '{{\"version\":\"{version}\",\"arch\":\"{arch}\",\"schema\":2,\"min_reader\":2}}'\n"
    )
}

/// Makes a file that can be run. By another process: one that has it open for writing could be forked meanwhile.
fn program(site: &Site, name: &str, text: &str) {
    let source = site.path(&format!("{name}.source"));
    std::fs::write(&source, text).expect("written");
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755)).expect("set");
    assert!(Command::new("cp").arg(&source).arg(site.path(name)).status().expect("cp").success());
}

#[test]
fn the_owner_is_told_what_became_of_an_update_in_plain_words() {
    let fitted = Fitted::new();
    let terminal = fitted.of.terminal();
    let said = terminal.run(&["update", "status"]).ok();
    assert!(said.contains("Trusted: 1 of 1 keys (carol)"), "{said}");

    let stranger = SecretKey::generate().expect("a key");
    let push = terminal.start(&["update", "push", &fitted.bundle(2, &stranger)], "");
    fitted.carry_out("passed");
    let said = push.ended();
    let line = said.err.lines().last().unwrap_or_default();
    assert!(
        said.code == Some(1) && line.starts_with("posthouse: it was refused: the release is not trusted"),
        "{said:?}"
    );

    let push = terminal.start(&["update", "push", &fitted.bundle(2, &fitted.key)], "");
    fitted.carry_out("passed");
    let said = push.ended();
    assert_eq!((said.code, said.out.as_str()), (Some(0), "Version 0.2.0 runs, and has proved itself."), "{said:?}");

    let push = terminal.start(&["update", "push", &fitted.bundle(3, &fitted.key)], "");
    fitted.carry_out("failed");
    let said = push.ended();
    let line = said.err.lines().last().unwrap_or_default();
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(line.starts_with("posthouse: version 0.3.0 was given up, and version 0.2.0 runs as before: "), "{line}");

    let rollback = terminal.start(&["update", "rollback"], "");
    fitted.carry_out("passed");
    let said = rollback.ended();
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), concat!("Version ", env!("CARGO_PKG_VERSION"), " runs again."))
    );

    let push = terminal.start(&["update", "push", &fitted.bundle(1, &fitted.key)], "");
    fitted.carry_out("passed");
    let line = push.ended();
    assert!(line.err.contains("is not newer than seq 2"), "never below the ratchet: {line:?}");
    let history = terminal.run(&["update", "history"]).ok();
    for what in ["installed 0.2.0 by anna", "confirmed 0.2.0", "rolled back 0.3.0", "went back", "refused"] {
        assert!(history.contains(what), "no {what:?}: {history}");
    }
    let left: Vec<_> = std::fs::read_dir(fitted.of.site.path("inbox")).expect("read").collect();
    assert!(left.is_empty(), "{left:?}");
}
