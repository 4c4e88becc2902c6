//! A release on trial: what it says of itself before it runs, who may try it, and what it leaves behind.

use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;
use posthouse_client::admin::Admin;
use posthouse_e2e::http::ask;
use posthouse_e2e::raw::RawSocket;
use posthouse_e2e::trial::Verdict;
use posthouse_e2e::wait::BOUND;
use posthouse_e2e::{BoxAuthority, Contract, Device, PASSWORD, Server, Site, binaries, refusal, trial};
use posthouse_protocol::admin::{AccountAddParams, GroupEverybodyParams};
use posthouse_protocol::{ErrorCode, Title, Username};
use serde_json::{Value, json};

/// The probe's name, and the number of its account and of its conversation.
const USERNAME: &str = "posthouse-probe";
const CONVERSATION: u64 = (1 << 53) - 1;

#[test]
fn a_build_says_what_it_is_and_touches_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(binaries::server());
    // As the box calls it: nothing in the environment, and folders that are not there.
    command.env_clear().current_dir(folder.path()).arg("--selfcheck");
    command.args([
        "--data-dir",
        "data",
        "--update-inbox",
        "inbox",
        "--update-status",
        "status",
        "--probe-secret",
        "secret",
    ]);
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(said["arch"], std::env::consts::ARCH);
    let (schema, min_reader) =
        (said["schema"].as_u64().expect("a number"), said["min_reader"].as_u64().expect("a number"));
    assert!(0 < min_reader && min_reader <= schema, "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0, "nothing was made");
}

#[test]
fn the_probe_passes_on_a_claimed_box_and_on_one_that_nobody_owns_as_often_as_it_comes() {
    for names in [&["anna"][..], &[]] {
        let (site, server) = Site::with_accounts(names);
        server.stop();
        let server = trial::start(&site);
        for _ in 0..3 {
            trial::probe(&server, &trial::secret_file(&site), None, 30).passed();
        }
        server.assert_undisturbed();
        server.stop();
        // The next trial goes on in the same conversation; what stays of each run is its one message.
        let server = trial::start(&site);
        trial::probe(&server, &trial::secret_file(&site), None, 30).passed();
        let records = |line: &str| line.split_once("records=")?.1.split(' ').next()?.parse::<u64>().ok();
        let before = server.log().find(records).expect("it says so");
        server.stop();
        let server = site.start();
        let after = server.log().find(records).expect("it says so");
        assert_eq!((before, after), (3, 4), "{names:?}");
        server.assert_undisturbed();
    }
}

#[test]
fn the_probe_passes_by_https_where_the_authority_signed_and_nowhere_else() {
    let site = Site::new();
    // Where nothing but HTTPS is wanted, too.
    let authority = BoxAuthority::start(&site, r#"{"plain_http": "refused"}"#);
    let server =
        Server::start(trial::on_trial(&site, authority.command(&site)), site.admin_socket()).expect("it starts");
    server.add_account("anna");
    let secret = trial::secret_file(&site);
    // The authority's own file: its key is in it, too.
    trial::probe(&server, &secret, Some(&authority.folder().join("authority.pem")), 30).passed();
    trial::probe(&server, &secret, None, 30).passed();
    let other = Site::new();
    let other = BoxAuthority::start(&other, "{}").root(&other);
    trial::probe(&server, &secret, Some(&other), 30).failed("certificate");
}

#[test]
fn nobody_logs_in_under_the_probes_name_without_the_secret_of_this_start() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let secret = trial::secret_file(&site);
    std::fs::write(&secret, trial::SECRET).expect("written");
    trial::probe(&server, &secret, None, 30).failed("user name and password don't match");
    server.stop();
    let server = trial::start(&site);
    let wrong = site.path("wrong");
    std::fs::write(&wrong, trial::SECRET.replace('5', "6")).expect("written");
    for _ in 0..12 {
        trial::probe(&server, &wrong, None, 30).failed("user name and password don't match");
    }
    trial::probe(&server, &secret, None, 30).passed();
    server.stop();
    // The secret of an earlier start, on one that has none.
    let server = site.start();
    trial::probe(&server, &secret, None, 30).failed("user name and password don't match");
    server.assert_undisturbed();
}

#[test]
fn a_deaf_server_fails_when_the_time_is_over() {
    let (site, server) = Site::with_accounts(&["anna"]);
    server.stop();
    let server = trial::start(&site);
    server.signal(Signal::SIGSTOP);
    let begun = Instant::now();
    trial::probe(&server, &trial::secret_file(&site), None, 2).failed("no answer in time: GET /healthz");
    assert!(begun.elapsed() < BOUND, "it waits no longer than it was told");
    server.signal(Signal::SIGCONT);
    trial::probe(&server, &trial::secret_file(&site), None, 30).passed();
}

/// The probe's session, as the program opens it.
async fn probe_session(server: &Server) -> (RawSocket, Value) {
    let mut socket = RawSocket::open(server.address()).await;
    let login = json!({"username": USERNAME, "password": trial::SECRET, "device": "test"});
    let token = socket.call(1, "login", login).await["result"]["token"].clone();
    assert!(token.is_string(), "the probe logs in");
    let connected = socket.call(2, "connect", json!({"token": token})).await;
    assert_eq!(connected["result"]["account"], json!({"account_id": CONVERSATION, "username": USERNAME}));
    (socket, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_can_do_nothing_but_what_it_is_for_and_is_signed_out_by_the_next_start() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    server.stop();
    let server = trial::start(&site);
    let (mut probe, token) = probe_session(&server).await;
    let (its, open) =
        (["send", "sync", "history", "logout"], ["login", "ping", "connect", "invites.accept", "password.change"]);
    let (mut refused, methods) = (0, Contract::read().methods());
    for method in &methods {
        if !its.contains(&method.as_str()) && !open.contains(&method.as_str()) {
            let answer = probe.call(3, method, json!({})).await;
            assert_eq!(answer["error"]["code"], "forbidden", "{method}");
            refused += 1;
        }
    }
    assert_eq!(refused, methods.len() - its.len() - open.len());
    let change = json!({"username": USERNAME, "password": trial::SECRET, "new_password": "another password"});
    assert_eq!(probe.call(4, "password.change", change).await["error"]["code"], "forbidden");
    for conversation in [1, 2, CONVERSATION - 1] {
        let send =
            json!({"conversation_id": conversation, "client_msg_id": "x", "body": {"type": "text", "text": "hello"}});
        assert_eq!(probe.call(5, "send", send).await["error"]["code"], "not_found");
        assert_eq!(
            probe.call(6, "history", json!({"conversation_id": conversation})).await["error"]["code"],
            "not_found"
        );
    }
    println!("{refused} of {} methods are refused to the probe", methods.len());
    // It did not sign out; a log-in that is left behind is void with the next start, whether there is a trial or none.
    server.kill();
    for on_trial in [true, false] {
        let server = if on_trial { trial::start(&site) } else { site.start() };
        let mut socket = RawSocket::open(server.address()).await;
        let refused = socket.call(1, "connect", json!({"token": token})).await;
        assert_eq!(refused["error"]["code"], "token_invalid", "{refused}");
        server.stop();
    }
}

/// What a member and owner may try with the probe's account and conversation.
fn addressing_the_probe(group: &Value, sent: &Value) -> Vec<(&'static str, Value)> {
    vec![
        ("accounts.get", json!({"username": USERNAME})),
        ("accounts.get", json!({"account_id": CONVERSATION})),
        ("accounts.devices", json!({"account_id": CONVERSATION})),
        ("accounts.sign_out", json!({"account_id": CONVERSATION})),
        ("accounts.disable", json!({"account_id": CONVERSATION})),
        ("accounts.reset", json!({"account_id": CONVERSATION})),
        ("accounts.role", json!({"account_id": CONVERSATION, "role": "administrator"})),
        ("accounts.depart", json!({"account_id": CONVERSATION})),
        ("conversations.direct", json!({"username": USERNAME})),
        ("conversations.create", json!({"title": "Two", "members": [USERNAME]})),
        ("conversations.add", json!({"conversation_id": group, "members": [USERNAME]})),
        ("conversations.get", json!({"conversation_id": CONVERSATION})),
        ("conversations.members", json!({"conversation_id": CONVERSATION})),
        ("conversations.leave", json!({"conversation_id": CONVERSATION})),
        ("history", json!({"conversation_id": CONVERSATION})),
        ("receipt", json!({"conversation_id": CONVERSATION, "read": 1})),
        ("receipts.get", json!({"conversation_id": CONVERSATION})),
        ("typing", json!({"conversation_id": CONVERSATION})),
        ("send", sent.clone()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finds_the_probe_or_hears_of_it_or_can_bear_its_name() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let mut admin = Admin::open(&site.admin_socket()).expect("it answers");
    let everybody = GroupEverybodyParams {
        title: Title::new("All hands").expect("a title"),
        owner: Username::new("anna").expect("a name"),
        announcement_only: None,
        history: None,
    };
    admin.group_for_everybody(&everybody).expect("made");
    server.stop();
    let server = trial::start(&site);
    let mut anna = RawSocket::open(server.address()).await;
    let login = json!({"username": "anna", "password": PASSWORD, "device": "test"});
    let token = anna.call(1, "login", login).await["result"]["token"].clone();
    anna.call(2, "connect", json!({"token": token})).await;
    trial::probe(&server, &trial::secret_file(&site), None, 30).passed();
    let (mut probe, _) = probe_session(&server).await;
    let sent =
        json!({"conversation_id": CONVERSATION, "client_msg_id": "mine", "body": {"type": "text", "text": "probe"}});
    assert_eq!(probe.call(3, "send", sent.clone()).await["result"]["seq"], 2);

    let code = anna.call(3, "invites.create", json!({})).await["result"]["code"].clone();
    let group =
        anna.call(4, "conversations.create", json!({"title": "Own"})).await["result"]["conversation_id"].clone();
    for (method, params) in addressing_the_probe(&group, &sent) {
        let answer = anna.call(5, method, params.clone()).await;
        assert_eq!(answer["error"]["code"], "not_found", "{method} {params}: {answer}");
    }
    let taken = [
        ("accounts.create", json!({"username": "Posthouse-Probe"})),
        ("invites.accept", json!({"code": code, "username": USERNAME, "password": PASSWORD, "device": "test"})),
    ];
    for (method, params) in taken {
        assert_eq!(anna.call(6, method, params).await["error"]["code"], "already_exists", "{method}");
    }
    let add = AccountAddParams {
        username: Username::new(USERNAME).expect("a name"),
        password: PASSWORD.to_owned(),
        role: None,
    };
    let mut admin = Admin::open(&site.admin_socket()).expect("it answers");
    assert_eq!(refusal(admin.add_account(&add)).code, ErrorCode::AlreadyExists);

    let seen = [
        anna.call(7, "accounts.search", json!({"query": ""})).await,
        anna.call(8, "accounts.search", json!({"query": "posthouse"})).await,
        anna.call(9, "conversations.list", json!({})).await,
        anna.call(10, "conversations.members", json!({"conversation_id": 1})).await,
        anna.call(11, "presence", json!({"status": "online"})).await,
        anna.call(12, "sync", json!({"cursor": "0"})).await,
    ];
    for answer in seen {
        assert!(answer["result"].is_object() && !answer.to_string().contains("probe"), "{answer}");
    }
    let members = anna.call(13, "conversations.get", json!({"conversation_id": 1})).await;
    assert_eq!(members["result"]["group"]["member_count"], 2, "{members}");
    assert_eq!(anna.call(14, "accounts.get", json!({"account_id": 3})).await["error"]["code"], "not_found");
    // The next person gets the next number, as if there were no probe.
    let made = anna.call(15, "accounts.create", json!({"username": "carl"})).await;
    assert_eq!(made["result"]["account"]["account_id"], 3, "{made}");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_box_that_nobody_owns_the_probe_comes_in_and_nobody_else_does() {
    let site = Site::new();
    let server = trial::start(&site);
    let mut stranger = RawSocket::open(server.address()).await;
    for (method, params) in [
        ("login", json!({"username": "anna", "password": PASSWORD, "device": "test"})),
        ("password.change", json!({"username": "anna", "password": PASSWORD, "new_password": "another password"})),
        ("invites.accept", json!({"code": "x", "username": "anna", "password": PASSWORD, "device": "test"})),
    ] {
        assert_eq!(stranger.call(1, method, params).await["error"]["code"], "unclaimed", "{method}");
    }
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let events = ask(server.address(), get("/api/v1/events").as_bytes()).await;
    assert_eq!((events.status, events.json()["error"]["code"].as_str()), (403, Some("unclaimed")));
    trial::probe(&server, &trial::secret_file(&site), None, 30).passed();
    let page = ask(server.address(), get("/").as_bytes()).await;
    assert_eq!((page.status, page.header("location")), (303, Some("/claim")), "it is nobody's still");
    // Who comes first owns it, with the first number.
    assert_eq!(server.add_account("anna").account_id.0, 1);
    let anna = Device::log_in(&server.url(), "anna").await;
    anna.send(anna.direct("anna").await, "mine").await;
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn from_another_machine_the_secret_is_worth_nothing() {
    // An address of this machine that is not the loopback one stands for another machine: nothing is sent to it.
    let probing = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let Some(outside) = probing.ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
    else {
        println!("LEFT OUT: this machine has no address but its loopback one");
        return;
    };
    let (site, server) = Site::with_accounts(&["anna"]);
    server.stop();
    let command = trial::on_trial(&site, site.command_at((outside, 0).into()));
    let server = Server::start(command, site.admin_socket()).expect("it starts");
    trial::probe(&server, &trial::secret_file(&site), None, 30).failed("user name and password don't match");
}

/// A server on trial whose data lies on a file system that was filled up before it started: with what an earlier one left there, or
/// with nothing.
fn on_a_full_disk(site: &Site, free_kib: u32, is_new: bool) -> Server {
    let (prepared, server) = Site::with_accounts(&["anna"]);
    server.stop();
    if is_new {
        std::fs::remove_dir_all(prepared.data_dir()).expect("removed");
    }
    std::fs::create_dir(site.data_dir()).expect("a folder");
    let inside = trial::on_trial(site, site.command());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "--", "sh", "-c"]);
    let script = r#"mount -t tmpfs -o size=64m tmpfs "$0" && { [ ! -e "$1" ] || cp -a "$1"/posthouse.* "$0"; } && free=$2 && shift 2 &&
        { fallocate -l $(( $(stat -f -c '%a * %S' "$0") - free * 1024 )) "$0/fill"; } && exec "$@""#;
    command.arg(script).arg(site.data_dir()).arg(prepared.data_dir()).arg(free_kib.to_string());
    command.arg(inside.get_program()).args(inside.get_args());
    for variable in inside.get_envs().filter_map(|(name, value)| value.is_none().then_some(name)) {
        command.env_remove(variable);
    }
    let admin = site.path("admin.sock");
    command.arg("--rescue-file").arg(site.path("reason")).arg("--admin-socket").arg(&admin);
    Server::start(command, admin).expect("the server starts")
}

#[test]
fn a_full_disk_is_never_the_releases_fault() {
    let (mut passed, mut inconclusive) = (0, 0);
    for (free_kib, is_new) in [(0, false), (64, false), (4_096, false), (0, true), (4_096, true)] {
        let site = Site::new();
        let server = on_a_full_disk(&site, free_kib, is_new);
        for _ in 0..3 {
            match trial::probe(&server, &trial::secret_file(&site), None, 30) {
                Verdict { code: 0, .. } => passed += 1,
                Verdict { code: 2, reason, .. } => {
                    assert!(reason.contains("No space left"), "{reason}");
                    inconclusive += 1;
                }
                other => panic!("{free_kib} KiB free: {other:?}"),
            }
        }
    }
    println!("full disk: {passed} passed, {inconclusive} inconclusive, none failed");
    assert!(passed > 0 && inconclusive > 0, "both are met");
}
