//! The administration socket: who may reach it, and what it says to what it can't use.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use posthouse_client::admin::Admin;
use posthouse_e2e::wait::BOUND;
use posthouse_e2e::{Device, PASSWORD, Server, Site, refusal};
use posthouse_protocol::admin::{AccountAddParams, LINE_LEN_MAX};
use posthouse_protocol::{ErrorCode, Username};
use serde_json::{Value, json};

#[test]
fn the_socket_is_for_its_owner_and_group_and_gone_after_a_stop() {
    let site = Site::new();
    let server = site.start();
    let metadata = std::fs::metadata(site.admin_socket()).expect("it is there");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    assert_eq!(server.stop().status.code(), Some(0));
    assert!(!site.admin_socket().exists());
}

#[test]
fn what_is_no_dead_socket_is_left_alone_at_the_path_of_the_socket() {
    let site = Site::new();
    let refused = |path: &std::path::Path, advice: &str| {
        let mut command = site.command();
        command.arg("--admin-socket").arg(path);
        let stopped = Server::start(command, path.to_owned()).err().expect("it must refuse");
        assert_eq!(stopped.status.code(), Some(1));
        let named = stopped.log.contains(&path.display().to_string());
        assert!(named && stopped.log.contains(advice), "{}", stopped.log);
    };
    let notes = site.path("notes.txt");
    std::fs::write(&notes, "important").expect("a file");
    refused(&notes, "move it away");
    assert_eq!(std::fs::read_to_string(&notes).expect("it is there"), "important");

    let other = Site::new();
    let server = other.start();
    refused(&other.admin_socket(), "another server answers there");
    server.add_account("anna");
}

#[test]
fn a_socket_that_a_killed_server_left_is_replaced() {
    let site = Site::new();
    site.start().kill();
    assert!(site.admin_socket().exists(), "a kill leaves it");
    site.start().add_account("anna");
}

#[test]
fn every_line_gets_its_answer_and_what_is_wrong_a_typed_error() {
    let site = Site::new();
    let server = site.start();
    let mut lines = Lines::open(&server);
    let add = |name: &str, password: &str| json!({ "id": 7, "method": "account.add", "params": { "username": name, "password": password } });
    let mut as_object = add("anna", PASSWORD);
    as_object["params"]["role"] = json!({ "owner": null });
    for (line, code) in [
        ("".to_owned(), "bad_request"),
        ("hello".to_owned(), "bad_request"),
        ("[1]".to_owned(), "bad_request"),
        ("[7,\"retention.get\",{}]".to_owned(), "bad_request"),
        ("{\"id\":7}".to_owned(), "bad_request"),
        ("{\"id\":7,\"method\":\"account.remove\"}".to_owned(), "unknown_method"),
        ("{\"id\":7,\"method\":\"send\",\"params\":{}}".to_owned(), "unknown_method"),
        ("{\"id\":7,\"method\":\"account.add\"}".to_owned(), "invalid_params"),
        (add("", PASSWORD).to_string(), "invalid_params"),
        (add("a b", PASSWORD).to_string(), "invalid_params"),
        (as_object.to_string(), "invalid_params"),
        (add(&"a".repeat(33), PASSWORD).to_string(), "invalid_params"),
        (add("anna", "short").to_string(), "invalid_params"),
        (add("anna", &"x".repeat(257)).to_string(), "invalid_params"),
    ] {
        let answer = lines.ask(&line);
        assert_eq!(answer["error"]["code"], code, "{line}: {answer}");
        let id = if code == "bad_request" { Value::Null } else { json!(7) };
        assert_eq!(answer["id"], id, "{line}: {answer}");
    }
    // After all that, the same connection makes an account, and only once.
    let made = lines.ask(&add("Anna", PASSWORD).to_string());
    assert_eq!(made["result"]["username"], "anna", "names are folded to lower case");
    assert_eq!(lines.ask(&add("ANNA", PASSWORD).to_string())["error"]["code"], "already_exists");
    server.assert_undisturbed();
}

#[test]
fn a_line_past_the_limit_is_answered_and_closes_the_connection() {
    let site = Site::new();
    let server = site.start();
    let longest = |extra: usize| {
        let line = json!({ "id": 1, "method": "account.add", "params": { "username": "anna", "password": PASSWORD } })
            .to_string();
        let padding = " ".repeat(LINE_LEN_MAX - "\n".len() - line.len() + extra);
        line + &padding
    };
    let mut fits = Lines::open(&server);
    assert_eq!(fits.ask(&longest(0))["result"]["username"], "anna");

    for line in [longest(1), "x".repeat(1_000_000)] {
        let mut lines = Lines::open(&server);
        // The server may be gone before it took all of it.
        let _ = writeln!(lines.stream.get_mut(), "{line}");
        let mut answers = String::new();
        lines.stream.read_to_string(&mut answers).expect("the answer and the end");
        let answer: Value = serde_json::from_str(&answers).expect("one answer");
        assert_eq!(answer["error"]["code"], "bad_request", "{answer}");
        assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("65536 bytes")), "{answer}");
    }
    server.assert_undisturbed();
}

#[test]
fn bytes_that_are_no_text_are_answered() {
    let site = Site::new();
    let server = site.start();
    let mut lines = Lines::open(&server);
    lines.stream.get_mut().write_all(b"\xff\xfe\n").expect("taken");
    let mut answer = String::new();
    lines.stream.read_line(&mut answer).expect("an answer");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["error"]["code"], "bad_request", "{answer}");
    server.assert_undisturbed();
}

#[test]
fn a_half_line_and_a_silent_client_hold_neither_others_nor_a_stop_up() {
    let site = Site::new();
    let server = site.start();
    let mut half = Lines::open(&server);
    half.stream.get_mut().write_all(b"{\"id\":1,").expect("taken");
    let _silent = Lines::open(&server);
    server.add_account("anna");
    let stopped = server.stop();
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    site.start();
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_any_script_can_be_made_and_used() {
    let site = Site::new();
    let server = site.start();
    let mut admin = Admin::open(server.admin_socket()).expect("the administration socket");
    for name in ["王小明", "жанна", "o.b-c_1", "ÉLODIE"] {
        let username = Username::new(name).expect("a user name");
        let params = AccountAddParams { username, password: PASSWORD.to_owned(), role: None };
        let account = admin.add_account(&params).expect("an account");
        assert_eq!(refusal(admin.add_account(&params)).code, ErrorCode::AlreadyExists);
        let device = Device::log_in(&server.url(), name).await;
        assert_eq!(device.account, account);
    }
}

/// A connection to the socket, line by line.
struct Lines {
    stream: BufReader<UnixStream>,
}

impl Lines {
    fn open(server: &Server) -> Self {
        let stream = UnixStream::connect(server.admin_socket()).expect("the socket");
        stream.set_read_timeout(Some(BOUND)).expect("a time-out");
        Self { stream: BufReader::new(stream) }
    }

    fn ask(&mut self, line: &str) -> Value {
        writeln!(self.stream.get_mut(), "{line}").expect("taken");
        let mut answer = String::new();
        self.stream.read_line(&mut answer).expect("an answer");
        serde_json::from_str(&answer).expect("answers are JSON")
    }
}
