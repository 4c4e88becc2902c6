//! The real updater on folders of its own, with a stand-in for the service manager: a script that notes what it is asked, and a
//! probe whose verdict a test says. Servers are scripts, too: what matters is what the updater does with them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::unistd::{User, geteuid};
use posthouse_protocol::update::{UpdateRequest, UpdateState};
use posthouse_updater::{Release, Sha256, pack};
use tempfile::TempDir;

use crate::world::World;

/// Signal of `abort()`.
const SIGABRT: i32 = 6;

/// Times of a trial in tests, and what the updater is asked for.
const TRIAL: [&str; 11] = [
    "trial",
    "--ready-seconds",
    "2",
    "--probe-seconds",
    "0.3",
    "--soak-seconds",
    "0.2",
    "--every-seconds",
    "0.05",
    "--total-seconds",
    "5",
];

pub struct Rig {
    pub folder: PathBuf,
    pub world: World,
    pub updater: PathBuf,
    /// Ends the first process that comes there.
    pub kill_at: Option<String>,
    pub killed: u32,
    /// How much of what the service manager was asked is known.
    seen: AtomicUsize,
    _temporary: Option<TempDir>,
}

/// How a run of the updater ended.
#[derive(Clone, Debug)]
pub struct Run {
    pub is_killed: bool,
    pub is_success: bool,
    pub said: String,
}

impl Rig {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().expect("a folder");
        let mut rig = Self::at(temporary.path());
        rig._temporary = Some(temporary);
        rig
    }

    /// In a folder that is there.
    pub fn at(folder: &Path) -> Self {
        let mut world = World::new();
        world.root.test = false;
        let updater = PathBuf::from(env!("CARGO_BIN_EXE_posthouse-updater"));
        let rig = Self {
            folder: folder.to_owned(),
            world,
            updater,
            kill_at: None,
            killed: 0,
            seen: AtomicUsize::new(0),
            _temporary: None,
        };
        for folder in ["state", "inbox", "run", "probe"] {
            fs::create_dir_all(rig.path(folder)).expect("made");
        }
        let root = rig.world.signed_root(&rig.world.root, &[0, 1]);
        fs::write(rig.path("root"), serde_json::to_vec(&root).expect("JSON")).expect("written");
        rig.program("factory", &server(env!("CARGO_PKG_VERSION"), ""));
        rig.program("control", &control(&rig.folder));
        rig.verdict("passed");
        rig.show(std::process::id(), "active");
        rig
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a file that can be run. By another process: one that has it open for writing could be forked meanwhile.
    pub fn program(&self, name: &str, text: &str) {
        let (source, path) = (self.path(&format!("{name}.source")), self.path(name));
        fs::write(&source, text).expect("written");
        fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).expect("set");
        assert!(Command::new("cp").arg(&source).arg(&path).status().expect("cp").success());
    }

    /// What the next probes find.
    pub fn verdict(&self, verdict: &str) {
        let json = format!(r#"{{"verdict":"{verdict}","reason":"said by the test"}}"#);
        fs::write(self.path("next-verdict"), json).expect("written");
    }

    /// What the service manager says of the server.
    pub fn show(&self, pid: u32, state: &str) {
        fs::write(self.path("shown"), format!("MainPID={pid}\nActiveState={state}\n")).expect("written");
    }

    /// What the service manager was asked since this was asked last.
    pub fn asked(&self) -> Vec<String> {
        // The file only grows: to remove it would lose what is written between the look and the removal.
        let text = fs::read_to_string(self.path("asked")).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let seen = self.seen.swap(whole, Ordering::Relaxed);
        text[seen..whole].lines().map(str::to_owned).collect()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.updater);
        let user = User::from_uid(geteuid()).expect("users can be read").expect("this one is there");
        for (option, name) in [
            ("--state-dir", "state"),
            ("--inbox", "inbox"),
            ("--run-dir", "run"),
            ("--factory", "factory"),
            ("--root", "root"),
            ("--factory-release", "factory-release"),
            ("--settings", "settings"),
            ("--control", "control"),
            ("--authority", "authority.pem"),
            ("--ca-socket", "ca.sock"),
            ("--verdict", "probe/verdict"),
        ] {
            command.arg(option).arg(self.path(name));
        }
        command.arg("--user").arg(user.name).args(arguments);
        if let Some(place) = &self.kill_at {
            command.env("FAILPOINTS", format!("{place}=return"));
        }
        command
    }

    pub fn run(&mut self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output().expect("the updater runs");
        self.note(&output)
    }

    fn note(&mut self, output: &Output) -> Run {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_killed = output.status.signal() == Some(SIGABRT);
        assert!(output.status.code().is_some() || is_killed, "{:?}: {said}", output.status);
        if is_killed {
            self.killed += 1;
            self.kill_at = None;
        }
        Run { is_killed, is_success: output.status.success(), said }
    }

    /// What stands before each start of the server, one after the other, also where the first one is killed.
    pub fn pick(&mut self) -> Run {
        let run = self.run(&["pick"]);
        self.run(&["attend"]);
        run
    }

    pub fn inbox(&mut self) -> Run {
        self.run(&["inbox"])
    }

    pub fn trial(&mut self) -> Run {
        self.run(&TRIAL)
    }

    pub fn trial_command(&self) -> Command {
        self.command(&TRIAL)
    }

    /// The server has crashed.
    pub fn crash(&mut self) -> Run {
        let mut command = self.command(&["ended"]);
        command.env("SERVICE_RESULT", "core-dump").env("EXIT_CODE", "dumped").env("EXIT_STATUS", "SEGV");
        let output = command.output().expect("the updater runs");
        self.note(&output)
    }

    /// A version of the server, as its people release it.
    pub fn release(&self, seq: u64) -> (Release, Vec<u8>) {
        let mut release = self.world.release(seq);
        release.arch = std::env::consts::ARCH.to_owned();
        let binary = server(&release.version.to_string(), "").into_bytes();
        let packed = pack(&binary).expect("packed");
        (release.length, release.sha256) = (binary.len() as u64, Sha256::of(&binary));
        (release.packed_length, release.packed_sha256) = (packed.len() as u64, Sha256::of(&packed));
        (release, packed)
    }

    /// Its bundle, signed by two of three.
    pub fn bundle(&self, release: &Release, packed: &[u8]) -> Vec<u8> {
        self.world.bundle_of(&[], self.world.signed_release(release, &[0, 1]), packed)
    }

    /// The server has got this, and asks for it.
    pub fn offer(&self, bundle: &[u8]) {
        let hash = Sha256::of(bundle);
        fs::write(self.path(&format!("inbox/{hash}.phb")), bundle).expect("written");
        self.ask(&UpdateRequest::Install { bundle: hash.to_string(), by: "anna".to_owned() });
    }

    /// An owner installs this version.
    pub fn offer_release(&self, seq: u64) {
        let (release, packed) = self.release(seq);
        self.offer(&self.bundle(&release, &packed));
    }

    pub fn ask(&self, request: &UpdateRequest) {
        self.ask_by(&serde_json::to_vec(request).expect("JSON"));
    }

    pub fn ask_by(&self, bytes: &[u8]) {
        fs::write(self.path("inbox/request.new"), bytes).expect("written");
        fs::rename(self.path("inbox/request.new"), self.path("inbox/request")).expect("renamed");
    }

    pub fn go_back(&self) {
        self.ask(&UpdateRequest::Rollback { by: "ben".to_owned(), needs: 0 });
    }

    pub fn status(&self) -> UpdateState {
        let text = fs::read(self.path("run/status.json")).expect("a status");
        serde_json::from_slice(&text).expect("a status")
    }

    /// Why the last request was refused.
    pub fn refused(&self) -> Option<String> {
        self.status().refused.map(|refused| refused.reason)
    }

    /// Version of what would be started, by its own words: it runs.
    pub fn starts(&self) -> String {
        let output = Command::new(self.path("run/posthoused")).arg("--selfcheck").output().expect("it can be run");
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it says what it is");
        said["version"].as_str().expect("a version").to_owned()
    }

    /// What is in a folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }
}

/// A server that says what it is; `more` is more of the script.
pub fn server(version: &str, more: &str) -> String {
    let arch = std::env::consts::ARCH;
    format!(
        "#!/bin/sh\n{more}\n[ \"$1\" = --selfcheck ] || exit 9\n\
         echo '{{\"version\":\"{version}\",\"arch\":\"{arch}\",\"schema\":1,\"min_reader\":1}}'\n"
    )
}

fn control(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "#!/bin/sh\ncd '{folder}' || exit 1\ncase \"$*\" in\n\
         show*) cat shown;;\n\
         'start posthouse-probe.service') cp next-verdict probe/verdict;;\n\
         *) echo \"$*\" >>asked;;\nesac\n"
    )
}
