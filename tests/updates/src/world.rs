//! A box: the real programs under the supervisor, in a folder of its own, and what an owner and an onlooker do with it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::{User, getuid};
use posthouse_client::ServerUrl;
use posthouse_e2e::wait::until;
use posthouse_e2e::{BoxAuthority, Site, binaries};
use posthouse_protocol::update::{UpdateRequest, UpdateState};
use posthouse_updater::Sha256;

use crate::bundles::Signers;
use crate::programs;
use crate::supervisor::{Armed, Options, Supervisor};

/// The server's unit.
pub const SERVER: &str = "posthoused.service";

/// The image's units, as this clone has them.
const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../overlays/common/usr/lib/systemd/system");

/// How often a state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long the parts of a trial may take.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Put behind the watcher's command; none, and a box's own hold.
    pub watcher: Vec<String>,
    /// The same of the probe.
    pub probe: Vec<String>,
    /// Put in the place of the units' own.
    pub spans: Vec<(String, String, Duration)>,
}

/// A box that runs.
pub struct World {
    // In the order in which they end.
    supervisor: Supervisor,
    _authority: BoxAuthority,
    site: Site,
    armed: Armed,
    signers: Signers,
}

impl Timing {
    /// A box's own.
    pub fn real() -> Self {
        Self { watcher: Vec::new(), probe: Vec::new(), spans: Vec::new() }
    }

    /// Short enough for a test that is run all the time.
    pub fn short() -> Self {
        let watcher = ["--ready-seconds=8", "--probe-seconds=6", "--soak-seconds=4", "--every-seconds=1"];
        let span = |key: &str, seconds| (SERVER.to_owned(), key.to_owned(), Duration::from_secs(seconds));
        Self {
            watcher: watcher.map(str::to_owned).to_vec(),
            probe: vec!["--timeout=4".to_owned()],
            spans: vec![span("WatchdogSec", 20), span("TimeoutStopSec", 4)],
        }
    }
}

impl World {
    /// A new box; its server runs when this returns.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(timing: &Timing) -> Self {
        let site = Site::new();
        let authority = BoxAuthority::start(&site, "{}");
        let signers = Signers::new(&binaries::server());
        for folder in ["run", "var/lib/posthouse/inbox", "var/lib/posthouse-updater"] {
            std::fs::create_dir_all(site.path(folder)).expect("a folder");
        }
        std::fs::write(site.path("update-root"), signers.root()).expect("the root");
        let options = options(&site, timing);
        let armed = options.armed.clone();
        let supervisor = Supervisor::start(options);
        assert_eq!(supervisor.control(&["start", SERVER]).0, 0, "the server does not start");
        supervisor.control(&["start", "posthouse-update.path"]);
        Self { site, supervisor, armed, signers, _authority: authority }
    }

    /// The service manager.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Has the updater end at this place, once.
    pub fn arm(&self, place: &str) {
        self.armed.set(Some(("FAILPOINTS".to_owned(), format!("{place}=return"))));
    }

    /// Whether it has not come there yet.
    pub fn is_armed(&self) -> bool {
        self.armed.variable().is_some()
    }

    /// Where clients go.
    pub fn url(&self) -> ServerUrl {
        format!("http://{}", self.supervisor.addresses()[0]).parse().expect("an address")
    }

    /// A file of this box, by its path in the image.
    pub fn path(&self, path: &str) -> PathBuf {
        self.site.path(path.trim_start_matches('/'))
    }

    /// The server's administration socket.
    pub fn admin_socket(&self) -> PathBuf {
        self.path("/run/posthouse/admin.sock")
    }

    /// Has a program installed, as the server would: the bundle and the request lie in its inbox when this returns. Gives the
    /// program's hash.
    pub fn push(&self, program: &[u8]) -> String {
        self.install(program, self.signers.bundle(program, None))
    }

    /// The same of a program that writes databases of this schema.
    pub fn push_schema(&self, program: &[u8], schema: u32) -> String {
        self.install(program, self.signers.bundle(program, Some(schema)))
    }

    fn install(&self, program: &[u8], bundle: Vec<u8>) -> String {
        let hash = Sha256::of(&bundle).to_string();
        let inbox = self.path("/var/lib/posthouse/inbox");
        std::fs::write(inbox.join(format!("{hash}.phb")), bundle).expect("written");
        self.request(&UpdateRequest::Install { bundle: hash, by: "Anna".to_owned() });
        Sha256::of(program).to_string()
    }

    /// Asks for the version before.
    pub fn roll_back(&self) {
        self.request(&UpdateRequest::Rollback { by: "Anna".to_owned(), needs: 0 });
    }

    fn request(&self, request: &UpdateRequest) {
        let inbox = self.path("/var/lib/posthouse/inbox");
        std::fs::write(inbox.join("request.new"), serde_json::to_vec(request).expect("JSON")).expect("written");
        std::fs::rename(inbox.join("request.new"), inbox.join("request")).expect("renamed");
    }

    /// What the updater says, if it has said something yet.
    pub fn state(&self) -> Option<UpdateState> {
        let text = std::fs::read(self.path("/run/posthouse-updater/status.json")).ok()?;
        Some(serde_json::from_slice(&text).expect("a status"))
    }

    /// The audit's lines.
    pub fn audit(&self) -> String {
        std::fs::read_to_string(self.path("/var/lib/posthouse-updater/audit")).unwrap_or_default()
    }

    /// The program that runs as the server.
    pub fn program(&self) -> Option<PathBuf> {
        match self.supervisor.status(SERVER).main_pid {
            0 => None,
            id => std::fs::read_link(format!("/proc/{id}/exe")).ok(),
        }
    }

    /// Whether what came with the image serves.
    pub fn factory_serves(&self) -> bool {
        self.is_factory() && self.is_healthy()
    }

    /// Whether it runs, whatever it serves.
    pub fn is_factory(&self) -> bool {
        self.program().is_some_and(|program| program == real(&binaries::server()))
    }

    /// Whether the installed program with this hash serves.
    pub fn slot_serves(&self, hash: &str) -> bool {
        let slot = self.path("/var/lib/posthouse-updater/slots").join(hash).join("posthoused");
        self.program().is_some_and(|program| program == real(&slot)) && self.is_healthy()
    }

    /// Whether the server answers at its door.
    pub fn is_healthy(&self) -> bool {
        self.page("/healthz").contains(r#""status":"ok""#)
    }

    /// The whole answer to a GET, empty where the connection failed.
    pub fn page(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let ask = || -> std::io::Result<String> {
            let mut stream = std::net::TcpStream::connect(self.supervisor.addresses()[0])?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().unwrap_or_default()
    }

    /// Waits until something is so, and gives how long that took.
    ///
    /// # Panics
    /// When it takes longer than `bound`.
    pub fn wait(&self, what: &str, bound: Duration, is_so: impl Fn(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < bound, "within {bound:?} there was no {what}; the status: {:#?}", self.state());
            std::thread::sleep(LOOK_EVERY);
        }
        begun.elapsed()
    }

    /// Waits until nothing is being tried or verified, and the updater has no more to do.
    pub fn settled(&self) {
        until("rest", || {
            let idle = ["posthouse-trial.service", "posthouse-update.service"]
                .iter()
                .all(|unit| self.supervisor.status(unit).main_pid == 0);
            let asked = self.path("/var/lib/posthouse/inbox/request").exists();
            (idle && !asked).then_some(())
        });
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn options(site: &Site, timing: &Timing) -> Options {
    let user = User::from_uid(getuid()).expect("the system knows its users").expect("this process has a user");
    let at = |path: &str| site.path(path).display().to_string();
    let updater = vec![
        format!("--state-dir={}", at("var/lib/posthouse-updater")),
        format!("--inbox={}", at("var/lib/posthouse/inbox")),
        format!("--run-dir={}", at("run/posthouse-updater")),
        format!("--verdict={}", at("run/posthouse-probe/verdict")),
        format!("--factory={}", real(&binaries::server()).display()),
        format!("--root={}", at("update-root")),
        format!("--authority={}", at("ca/authority.pem")),
        format!("--ca-socket={}", at("ca.sock")),
        format!("--control={}", at("systemctl")),
        format!("--user={}", user.name),
    ];
    let program = |name: &str, path: PathBuf| (format!("/usr/lib/posthouse/{name}"), path);
    Options {
        units: UNITS.into(),
        launcher: programs::launcher(),
        control: programs::control(),
        folder: site.path(""),
        paths: vec![
            program("posthouse-updater", binaries::updater()),
            program("posthouse-probe", binaries::probe()),
            program("posthoused", binaries::server()),
            ("/var/lib/posthouse-ca/".to_owned(), site.path("ca/")),
            ("/run/posthouse-ca/ca.sock".to_owned(), site.path("ca.sock")),
            ("/run/".to_owned(), site.path("run/")),
            ("/var/lib/".to_owned(), site.path("var/lib/")),
        ],
        without: vec!["--discovery".to_owned()],
        with: vec![
            ("/usr/lib/posthouse/posthouse-updater".to_owned(), updater),
            (
                "/usr/lib/posthouse/posthouse-probe".to_owned(),
                vec!["--http={http}".to_owned(), "--https={https}".to_owned()],
            ),
        ],
        behind: vec![
            ("posthouse-trial.service".to_owned(), timing.watcher.clone()),
            ("posthouse-probe.service".to_owned(), timing.probe.clone()),
        ],
        environment: Vec::new(),
        armed: Armed::default(),
        spans: timing.spans.clone(),
    }
}
