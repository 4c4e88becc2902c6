//! Updates up to the updater's inbox: who may ask, what comes of a bundle that is brought in pieces, what the owner is told.
//!
//! The updater itself is not here: what it would write into its status file is written by the test.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use posthouse_e2e::http::{Answer, ask};
use posthouse_e2e::terminal::Terminal;
use posthouse_e2e::wait::until;
use posthouse_e2e::{Device, PASSWORD, Server, Site};
use posthouse_protocol::{
    AccountParams, AccountRole, AccountsDisable, AccountsRole, AccountsRoleParams, Empty, Logout,
};
use posthouse_updater::{Bundle, Release, SecretKey, Sha256};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// A box whose updater is the test.
pub struct Updated {
    pub site: Site,
    pub server: Server,
}

impl Updated {
    fn new() -> Self {
        let site = Site::new();
        let server = Self::start(&site);
        server.add_account("anna");
        Self { site, server }
    }

    fn start(site: &Site) -> Server {
        Server::start(Self::command(site), site.admin_socket()).expect("it starts")
    }

    pub fn command(site: &Site) -> Command {
        let mut command = site.command();
        command.arg("--update-inbox").arg(site.path("inbox")).arg("--update-status").arg(site.path("status.json"));
        command
    }

    /// What the updater says from now on.
    fn says(&self, state: &Value) {
        let new = self.site.path("status.new");
        std::fs::write(&new, state.to_string()).expect("written");
        std::fs::rename(new, self.site.path("status.json")).expect("in its place");
    }

    /// What the server has asked of the updater, which takes it.
    fn request(&self) -> Option<Value> {
        let path = self.site.path("inbox/request");
        let text = std::fs::read(&path).ok()?;
        std::fs::remove_file(path).expect("taken");
        Some(serde_json::from_slice(&text).expect("JSON"))
    }

    fn inbox(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.site.path("inbox")).expect("the inbox");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    async fn owner(&self) -> String {
        Device::log_in(&self.server.url(), "anna").await.token.0
    }

    /// The owner's terminal.
    pub fn terminal(&self) -> Terminal {
        let terminal = Terminal::new(self.site.path("settings"));
        let url = self.server.url().to_string();
        let login = ["login", "--server", &url, "--password-stdin", "anna"];
        terminal.run_with_input(&login, &format!("{PASSWORD}\n")).ok();
        terminal
    }

    async fn ask(&self, method: &str, path: &str, token: &str, headers: &str, body: &[u8]) -> Answer {
        let (address, len) = (self.server.address(), body.len());
        let token = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let head = format!(
            "{method} /api/v1/update{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len}\r\n{token}{headers}\r\n"
        );
        ask(address, &[head.as_bytes(), body].concat()).await
    }

    /// A piece of a bundle.
    async fn send(&self, token: &str, whole: &[u8], from: usize, to: usize) -> Answer {
        let path = format!("/bundles/{}", Sha256::of(whole));
        self.ask("PATCH", &path, token, &piece(from, whole.len(), to == whole.len()), &whole[from..to]).await
    }

    async fn held(&self, token: &str, whole: &[u8]) -> (u64, bool) {
        let answer = self.ask("HEAD", &format!("/bundles/{}", Sha256::of(whole)), token, "", b"").await;
        let offset = answer.header("upload-offset").expect("an offset").parse().expect("a number");
        (offset, answer.header("upload-complete") == Some("?1"))
    }
}

fn piece(offset: usize, length: usize, is_last: bool) -> String {
    let complete = if is_last { "?1" } else { "?0" };
    format!(
        "Content-Type: application/partial-upload\r\nUpload-Offset: {offset}\r\nUpload-Length: {length}\r\n\
         Upload-Complete: {complete}\r\n"
    )
}

/// A bundle by somebody's key; of what the updater would say to it nothing is said here.
fn bundle(len: usize) -> Vec<u8> {
    let packed: Vec<u8> = (0..=250_u8).cycle().take(len).collect();
    let version = "0.7.0".to_owned().try_into().expect("a version");
    let release = Release { notes: "Better.".to_owned(), ..Release::of(version, 7, 20_780, &packed, &packed) };
    let key = SecretKey::generate().expect("a key");
    Bundle::file(Vec::new(), &release, &packed, &[key]).expect("a bundle")
}

/// A route with what it takes, and what it answers to: nobody, a device that was signed out, one of an account that was
/// disabled, a member, an administrator, the owner.
type Row = (&'static str, &'static str, &'static str, [u16; 6]);

const HASH: &str = "/bundles/0000000000000000000000000000000000000000000000000000000000000000";
const JSON: &str = "Content-Type: application/json\r\n";

/// What the owner gets without 200 is refused for what it is, not for who asks.
const ROUTES: [Row; 9] = [
    ("GET", "", "", [401, 401, 401, 403, 200, 200]),
    ("GET", "/history", "", [401, 401, 401, 403, 200, 200]),
    ("POST", "/check", "{}", [401, 401, 401, 403, 403, 409]),
    ("POST", "/apply", "{}", [401, 401, 401, 403, 403, 409]),
    ("POST", "/rollback", "{}", [401, 401, 401, 403, 403, 409]),
    ("POST", "/postpone", r#"{"days":3}"#, [401, 401, 401, 403, 403, 200]),
    ("HEAD", HASH, "", [401, 401, 401, 403, 403, 200]),
    ("PATCH", HASH, "piece", [401, 401, 401, 403, 403, 200]),
    ("DELETE", HASH, "", [401, 401, 401, 403, 403, 200]),
];

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_from_each_route_of_updates_what_the_table_says() {
    let of = Updated::new();
    let url = of.server.url();
    let owner = Device::log_in(&url, "anna").await;
    let mut devices = Vec::new();
    for name in ["rita", "dora", "mia", "ida"] {
        of.server.add_account(name);
        devices.push(Device::log_in(&url, name).await);
    }
    let [rita, dora, mia, ida] = devices.try_into().map_err(|_| "four").expect("four");
    rita.client.call::<Logout>(&Empty {}).await.expect("signed out");
    let account_id = dora.account.account_id;
    owner.client.call::<AccountsDisable>(&AccountParams { account_id }).await.expect("disabled");
    let role = AccountsRoleParams { account_id: ida.account.account_id, role: AccountRole::Administrator };
    owner.client.call::<AccountsRole>(&role).await.expect("an administrator");
    let tokens = [String::new(), rita.token.0, dora.token.0, mia.token.0, ida.token.0, owner.token.0];
    for (method, path, body, statuses) in ROUTES {
        let headers = if body == "piece" { piece(0, 100, false) } else { JSON.to_owned() };
        for (token, expected) in tokens.iter().zip(statuses) {
            let before = of.inbox();
            let answer = of.ask(method, path, token, &headers, body.as_bytes()).await;
            assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
            if expected != 200 {
                assert_eq!(of.inbox(), before, "{method} {path}: what is refused changes nothing");
            }
            let other_site = format!("{headers}Origin: http://evil.example\r\n");
            if method != "GET" && method != "HEAD" {
                let answer = of.ask(method, path, token, &other_site, body.as_bytes()).await;
                assert_eq!(answer.status, 403, "{method} {path} by the page of another site");
            }
        }
    }
    for (path, body) in [("/apply", "[null]"), ("/postpone", "[3]"), ("/postpone", r#"{"days":3,"days":0}"#)] {
        let answer = of.ask("POST", path, &tokens[5], JSON, body.as_bytes()).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (400, &json!("invalid_params")), "{path} {body}");
    }
    assert_eq!(of.request(), None);
    for (method, path, expected) in [
        ("HEAD", "/history", 200),
        ("POST", "", 405),
        ("GET", "/apply", 405),
        ("GET", "/nothing", 404),
        ("GET", HASH, 405),
    ] {
        assert_eq!(of.ask(method, path, &tokens[5], JSON, b"{}").await.status, expected, "{method} {path}");
    }
    of.server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_updater_says_so() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let of = Updated { site: Site::new(), server };
    let token = of.owner().await;
    let answer = of.ask("POST", "/apply", &token, JSON, b"{}").await;
    assert_eq!(answer.status, 404);
    assert!(answer.json()["error"]["message"].as_str().is_some_and(|line| line.contains("has no updater")));
    let status = of.ask("GET", "", &token, "", b"").await.json();
    assert_eq!(status["current"]["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_brought_in_pieces_over_breaks_and_a_restart() {
    let of = Updated::new();
    let (token, whole) = (of.owner().await, bundle(3_000_000));
    assert_eq!(of.held(&token, &whole).await, (0, false));
    assert_eq!(of.send(&token, &whole, 0, 1_000_000).await.status, 200);
    assert_eq!(of.held(&token, &whole).await, (1_000_000, false));
    let wrong = of.send(&token, &whole, 900_000, whole.len()).await;
    assert_eq!((wrong.status, wrong.header("upload-offset")), (409, Some("1000000")), "{wrong:?}");

    // The device goes away in the midst of a piece.
    let mut stream = tokio::net::TcpStream::connect(of.server.address()).await.expect("it accepts");
    let (address, hash, rest) = (of.server.address(), Sha256::of(&whole), whole.len() - 1_000_000);
    let head = format!(
        "PATCH /api/v1/update/bundles/{hash} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {rest}\r\n{}\r\n",
        piece(1_000_000, whole.len(), true)
    );
    stream.write_all(&[head.as_bytes(), &whole[1_000_000..1_700_000]].concat()).await.expect("taken");
    drop(stream);
    let part = of.site.path("inbox").join(format!("{hash}.part"));
    until("what came", || std::fs::metadata(&part).ok().filter(|found| found.len() == 1_700_000));

    let Updated { site, server } = of;
    server.kill();
    let of = Updated { server: Updated::start(&site), site };
    let (have, _) = of.held(&token, &whole).await;
    assert_eq!(have, 1_700_000);
    let done = of.send(&token, &whole, 1_700_000, whole.len()).await;
    assert_eq!((done.status, done.header("upload-complete")), (200, Some("?1")), "{done:?}");
    assert_eq!(std::fs::read(of.site.path("inbox").join(format!("{hash}.phb"))).expect("there"), whole);
    assert_eq!(of.inbox().len(), 1);
    // Once more is harmless.
    assert_eq!(of.held(&token, &whole).await, (whole.len() as u64, true));

    let body = json!({"bundle": hash}).to_string();
    let applied = of.ask("POST", "/apply", &token, JSON, body.as_bytes()).await;
    assert_eq!(applied.status, 200, "{applied:?}");
    assert_eq!(applied.json()["progress"]["what"], "verifying");
    let again = of.ask("POST", "/apply", &token, JSON, body.as_bytes()).await;
    assert_eq!(again.status, 409, "two at once");
    assert_eq!(of.request(), Some(json!({"request": "install", "bundle": hash, "by": "anna"})));
    of.server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_bundle_is_not_kept() {
    let of = Updated::new();
    let token = of.owner().await;
    let good = bundle(10_000);
    let mut cut = good.clone();
    cut.truncate(good.len() - 1);
    let refused: [(&[u8], &str); 4] = [
        (b"<html>hello</html>", "this is no Posthouse update"),
        (&good[..30], "in the middle of a signed document"),
        (&cut, "and says that it has"),
        (&[good.as_slice(), b"x"].concat(), "and says that it has"),
    ];
    for (whole, line) in refused {
        let answer = of.send(&token, whole, 0, whole.len()).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(line), "{message}");
        assert_eq!(of.inbox(), Vec::<String>::new());
    }
    // Of another hash than promised.
    let path = format!("/bundles/{}", Sha256::of(b"another"));
    let answer = of.ask("PATCH", &path, &token, &piece(0, good.len(), true), &good).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(String::from_utf8_lossy(&answer.body).contains("has another hash"));
    assert_eq!(of.inbox(), Vec::<String>::new());
    let with = |headers: String| of.ask_boxed("PATCH", HASH, &token, headers, b"x");
    assert_eq!(with(piece(0, 80 * 1024 * 1024, false)).await, 413);
    assert_eq!(with(piece(0, 0, false)).await, 400);
    assert_eq!(with(piece(7, 3, false)).await, 400);
    assert_eq!(with(piece(0, 10, true)).await, 400, "it ends too early");
    assert_eq!(with(piece(0, 10, false).replace("Upload-Offset", "Offset")).await, 400);
    assert_eq!(with(piece(0, 10, false).replace("?0", "no")).await, 400);
    assert_eq!(with(piece(0, 10, false).replace("partial-upload", "json")).await, 415);
    let name = "/bundles/..%2f..%2fposthouse.redb";
    assert_eq!(of.ask("PATCH", name, &token, &piece(0, 10, false), b"x").await.status, 404);
    of.server.assert_undisturbed();
}

impl Updated {
    async fn ask_boxed(&self, method: &str, path: &str, token: &str, headers: String, body: &[u8]) -> u16 {
        self.ask(method, path, token, &headers, body).await.status
    }
}

/// A file of the test's own.
pub fn written(of: &Updated, name: &str, content: &[u8]) -> String {
    let path: PathBuf = of.site.path(name);
    std::fs::write(&path, content).expect("written");
    path.to_str().expect("a readable path").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_brings_a_bundle_and_is_told_the_verdict() {
    let of = Updated::new();
    let (terminal, token, whole) = (of.terminal(), of.owner().await, bundle(9_000_000));
    let running = |version: &str, more: Value| {
        let mut state = json!({"current": {"kind": "factory", "version": version}, "history": []});
        state.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        state
    };
    of.says(&running("0.1.0", json!({})));
    // Some of it is there already, from another device.
    assert_eq!(of.send(&token, &whole, 0, 5_000_000).await.status, 200);
    let file = written(&of, "update.phb", &whole);
    let push = terminal.start(&["update", "push", &file], "");
    let asked = until("a request", || of.request());
    assert_eq!(asked, json!({"request": "install", "bundle": Sha256::of(&whole).to_string(), "by": "anna"}));
    let trial = json!({"slot": {"kind": "installed", "version": "0.7.0"}, "starts_left": 5, "crashes_left": 2});
    of.says(&running("0.1.0", json!({"trial": trial})));
    push.err.find(|line| line.contains("being tried").then_some(())).expect("it is told");
    let last = json!({"outcome": "confirmed", "version": "0.7.0", "at_ms": 2});
    of.says(&running("0.7.0", json!({"last": last})));
    let said = push.ended();
    assert_eq!((said.code, said.out.as_str()), (Some(0), "Version 0.7.0 runs, and has proved itself."), "{said:?}");
    assert!(said.err.contains("Version 0.7.0 (number 7)") && said.err.contains("Better."), "{said:?}");

    // The next one fails.
    let rollback = terminal.start(&["update", "rollback"], "");
    let said = rollback.ended();
    assert_eq!(said.refused(1), "posthouse: there is no version to go back to");
    let apply = terminal.start(&["update", "apply", "--bundle", &Sha256::of(&whole).to_string()], "");
    until("a request", || of.request());
    let rolled_back = json!({"outcome": "rolled_back", "version": "0.7.0", "reason": "it refused log-ins", "at_ms": 3});
    of.says(&running("0.1.0", json!({"last": rolled_back})));
    let said = apply.ended();
    assert_eq!(said.code, Some(1));
    let line = "posthouse: version 0.7.0 was given up, and version 0.1.0 runs as before: it refused log-ins";
    assert_eq!(said.err.lines().last(), Some(line), "{said:?}");

    let status = terminal.run(&["update", "status"]).ok();
    assert!(status.contains("Runs: version 0.1.0, as it came with the image"), "{status}");
    assert!(status.contains("version 0.7.0 was given up: it refused log-ins"), "{status}");
    let status: Value = serde_json::from_str(&terminal.run(&["update", "status", "--json"]).ok()).expect("JSON");
    assert_eq!(status["last"]["outcome"], "rolled_back");
    of.server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_a_line() {
    let of = Updated::new();
    let terminal = of.terminal();
    let refused = |arguments: &[&str]| terminal.run(&[&["update"], arguments].concat()).refused(1);
    assert!(refused(&["check"]).contains("no update URL is set"));
    assert!(refused(&["apply"]).contains("no update URL is set"));
    let none = "0".repeat(64);
    assert!(refused(&["apply", "--bundle", &none]).contains("no such bundle is here"));
    let file = written(&of, "note.phb", b"hello, this is a note");
    assert!(refused(&["push", &file]).contains("this is no Posthouse update"));
    assert!(refused(&["push", "/nowhere/x.phb"]).contains("cannot read"));
    let mut damaged = bundle(1000);
    *damaged.last_mut().expect("it has bytes") ^= 1;
    let file = written(&of, "damaged.phb", &damaged);
    assert!(refused(&["push", &file]).contains("not the one that was signed"));
    of.says(&json!({"trial": {"slot": {"version": "0.7.0"}, "starts_left": 1, "crashes_left": 1}, "previous": {"version": "0"}}));
    assert!(refused(&["rollback"]).contains("version 0.7.0 is being tried"));
    of.says(&json!({"busy": true, "previous": {"version": "0"}}));
    assert!(refused(&["rollback"]).contains("another request is being carried out"));
    of.says(&json!({"previous": {"version": "0"}}));
    terminal.run(&["update", "rollback", "--no-wait"]).ok();
    assert_eq!(of.request(), Some(json!({"request": "rollback", "by": "anna", "needs": 2})));

    let said = terminal.run(&["update", "postpone", "3"]).ok();
    assert!(said.contains("no update URL is set"), "{said}");
    assert_eq!(terminal.run(&["update", "postpone", "91"]).code, Some(2));
    of.says(&json!({"current": {"version": "0.1.0", "expires_day": 1}, "history": [
        {"at_ms": 1_795_363_970_105_u64, "what": "rolled_back", "version": "0.7.0", "by": "anna", "reason": "it\nhangs"},
    ]}));
    assert!(
        terminal.run(&["update", "status"]).ok().contains("Warning: there should be a newer version since 1970-01-02")
    );
    let history = terminal.run(&["update", "history"]).ok();
    // In UTC, as the terminal is set.
    assert_eq!(history, "2026-11-22 16:12  rolled back 0.7.0 by anna: it hangs");

    of.server.add_account("mia");
    let mia = Terminal::new(of.site.path("mia"));
    let url = of.server.url().to_string();
    mia.run_with_input(&["login", "--server", &url, "--password-stdin", "mia"], &format!("{PASSWORD}\n")).ok();
    assert!(mia.run(&["update", "status"]).refused(1).contains("only the owner and administrators may do that: ask"));
    assert!(mia.run(&["update", "rollback"]).refused(1).contains("only the owner"));
    std::fs::write(of.site.path("status.json"), "{").expect("written");
    assert!(terminal.run(&["update", "status"]).ok().contains("Trouble: what the box's updater says is odd"));
    of.server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_card_refuses_a_bundle_in_a_line_and_the_chat_goes_on() {
    let site = Site::new();
    std::fs::create_dir(site.path("inbox")).expect("the inbox");
    let inside = Updated::command(&site);
    let mut command = Command::new("unshare");
    // Room for 2 MiB beside what is kept for messages.
    command.args(["--mount", "--map-root-user", "--", "sh", "-c"]);
    command.arg(r#"mount -t tmpfs -o size=66m tmpfs "$0" && exec "$@""#).arg(site.path("inbox"));
    command.arg(inside.get_program()).args(inside.get_args());
    let server = Server::start(command, site.admin_socket()).expect("it starts");
    server.add_account("anna");
    let of = Updated { site, server };
    let (terminal, token) = (of.terminal(), of.owner().await);
    let file = written(&of, "large.phb", &bundle(3_000_000));
    let line = terminal.run(&["update", "push", &file]);
    assert_eq!(line.code, Some(1), "{line:?}");
    assert!(line.err.lines().last().is_some_and(|line| line.contains("there is no room on the box: ")), "{line:?}");
    let small = bundle(500_000);
    assert_eq!(of.send(&token, &small, 0, small.len()).await.status, 200, "another one fits");
    terminal.run(&["send", "anna", "still here"]).ok();
    of.server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stands_still_is_ended_and_kept() {
    let of = Updated::new();
    let (token, whole) = (of.owner().await, bundle(10_000));
    let (address, hash) = (of.server.address(), Sha256::of(&whole));
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it accepts");
    let head = format!(
        "PATCH /api/v1/update/bundles/{hash} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\n{}\r\n",
        whole.len(),
        piece(0, whole.len(), true)
    );
    stream.write_all(&[head.as_bytes(), &whole[..4000]].concat()).await.expect("taken");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let meanwhile = of.send(&token, &whole, 0, whole.len()).await;
    assert_eq!(meanwhile.status, 409, "one at a time: {meanwhile:?}");
    let answer = posthouse_e2e::http::answer(&mut tokio::io::BufReader::new(stream)).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(of.held(&token, &whole).await, (4000, false));
}
