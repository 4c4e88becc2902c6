//! The program, held to the frames of `PROBE.md`: a server that has nothing but them passes, and one that lacks any of them
//! does not.

use std::collections::HashMap;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A request of the probe, if one comes first, and what it is answered.
type Step = (Option<String>, String);

/// What a server says otherwise than the contract: by method, or by `/healthz` and `event`. Nothing is silence.
type Changes = HashMap<&'static str, &'static str>;

/// The name of the message, once it was sent.
type Name = Arc<(Mutex<Option<String>>, Condvar)>;

/// The two WebSockets' steps, as the contract has them.
fn contract() -> [Vec<Step>; 2] {
    let text = include_str!("../../PROBE.md");
    let blocks = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().expect("it has an end"));
    let blocks: Vec<Vec<&str>> = blocks.map(|block| block.lines().collect()).collect();
    let [login, connect, exchange, event, logout] = blocks.as_slice() else { panic!("the contract has five blocks") };
    let pairs = |lines: &[&str]| -> Vec<Step> {
        lines.chunks(2).map(|pair| (Some(pair[0].to_owned()), pair[1].to_owned())).collect()
    };
    let first = [pairs(login), pairs(exchange), pairs(logout)].concat();
    [first, [pairs(connect), vec![(None, event[0].to_owned())]].concat()]
}

/// Answers as the contract says, but for these changes, for as long as the test runs; gives its address.
fn serve(changes: Changes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let changes = Arc::new(changes);
    thread::spawn(move || {
        // A probe that tries again begins anew.
        loop {
            let mut asked = listener.accept().expect("a client").0;
            let health = changes.get("/healthz").copied().unwrap_or("HTTP/1.1 200 OK\r\n\r\n{}");
            read_head(&mut asked, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
            asked.write_all(health.as_bytes()).expect("it listens");
            if health.is_empty() {
                // Deaf: the connection stays open.
                std::mem::forget(asked);
                continue;
            }
            drop(asked);
            if !health.starts_with("HTTP/1.1 200") {
                continue;
            }
            let name = Name::default();
            for steps in contract() {
                let stream = listener.accept().expect("a client").0;
                let (changes, name) = (Arc::clone(&changes), Arc::clone(&name));
                thread::spawn(move || play(stream, steps, &changes, &name));
            }
        }
    });
    address
}

/// Reads the head of a request byte by byte, so that nothing behind it is taken.
fn read_head(stream: &mut TcpStream, begins: &str) {
    use std::io::Read;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        head.push(byte[0]);
    }
    assert!(String::from_utf8_lossy(&head).starts_with(begins), "{}", String::from_utf8_lossy(&head));
}

/// One WebSocket's side of the contract.
fn play(stream: TcpStream, steps: Vec<Step>, changes: &Changes, name: &Name) {
    #[expect(clippy::result_large_err, reason = "tungstenite's own type")]
    let check = |request: &Request, mut response: Response| {
        let header = |name: &str| request.headers()[name].to_str().expect("text").to_owned();
        assert_eq!((request.uri().path(), header("host").as_str()), ("/ws", "localhost"));
        assert_eq!(header("sec-websocket-protocol"), "posthouse.v1.json");
        let chosen = "posthouse.v1.json".parse().expect("a header");
        response.headers_mut().insert("sec-websocket-protocol", chosen);
        Ok(response)
    };
    let mut socket = tungstenite::accept_hdr(stream, check).expect("a handshake");
    for (request, answer) in steps {
        let mut method = "event".to_owned();
        if let Some(expected) = request {
            let Some(asked) = next_text(&mut socket) else { return };
            let parsed: Value = serde_json::from_str(&asked).expect("JSON");
            parsed["method"].as_str().expect("a method").clone_into(&mut method);
            if let Some(sent) = parsed["params"]["client_msg_id"].as_str() {
                *name.0.lock().expect("no panic") = Some(sent.to_owned());
                name.1.notify_all();
            }
            assert_eq!(asked, filled(&expected, name), "byte by byte");
        } else {
            let sent = name.0.lock().expect("no panic");
            drop(name.1.wait_while(sent, |sent| sent.is_none()).expect("no panic"));
        }
        let answer = changes.get(method.as_str()).copied().unwrap_or(&answer);
        if answer.is_empty() {
            continue;
        }
        // What nobody waits for comes in between.
        for frame in [r#"{"event":"later","data":7}"#, &filled(answer, name)] {
            if socket.send(Message::text(frame)).is_err() {
                return;
            }
        }
    }
    while next_text(&mut socket).is_some() {}
}

fn filled(frame: &str, name: &Name) -> String {
    let name = name.0.lock().expect("no panic").clone().unwrap_or_default();
    frame.replace("SECRET", SECRET).replace("TOKEN", "a \\\"token\\\"").replace("CURSOR", "17").replace("NAME", &name)
}

fn next_text(socket: &mut WebSocket<TcpStream>) -> Option<String> {
    loop {
        match socket.read().ok()? {
            Message::Text(text) => return Some(text.as_str().to_owned()),
            _ => continue,
        }
    }
}

/// Runs the program; gives its exit code, its verdict and the reason.
fn probe(address: &str, timeout_s: u32) -> (i32, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("probe-secret");
    std::fs::write(&file, format!("{SECRET}\n")).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_posthouse-probe"));
    command.arg("--probe-secret").arg(&file).args(["--http", address, "--timeout", &timeout_s.to_string()]);
    command.arg("--authority").arg(folder.path().join("there-is-none.pem"));
    let output = command.output().expect("the program runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let text = |name: &str| said[name].as_str().expect("a text").to_owned();
    (output.status.code().expect("no signal"), text("verdict"), text("reason"))
}

#[test]
fn a_server_that_has_nothing_but_the_contract_passes() {
    let (code, verdict, reason) = probe(&serve(Changes::new()), 30);
    assert_eq!((code, verdict.as_str()), (0, "passed"), "{reason}");
}

#[test]
fn a_server_that_lacks_any_part_of_it_fails() {
    let refused = r#"{"id":1,"error":{"code":"login_failed","message":"no","retryable":false}}"#;
    for (change, instead, told) in [
        ("/healthz", "HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        ("/healthz", "SSH-2.0-OpenSSH\r\n\r\n", "no HTTP"),
        ("login", refused, "login: no"),
        ("login", r#"{"id":1,"result":{}}"#, "no token"),
        ("connect", "7 7", "no JSON"),
        ("send", r#"{"id":3,"result":{"message_id":1}}"#, "no seq"),
        ("send", r#"{"id":3,"error":{"code":"unheard_of"}}"#, "send: unheard_of"),
        ("history", r#"{"id":4,"result":{"messages":[]}}"#, "history: the message"),
        ("history", r#"{"id":4,"result":{"messages":[{"client_msg_id":"NAME","seq":2}]}}"#, "history: the message"),
        ("sync", r#"{"id":5,"result":{"events":[]}}"#, "sync: the message"),
        ("logout", r#"{"id":6,"error":{"code":"forbidden","message":"stay"}}"#, "logout: stay"),
    ] {
        let (code, verdict, reason) = probe(&serve(Changes::from([(change, instead)])), 30);
        assert_eq!((code, verdict.as_str()), (1, "failed"), "{change} {instead}: {reason}");
        assert!(reason.contains(told), "{change} {instead}: {reason}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let (code, _, reason) = probe(&nobody.to_string(), 30);
    assert!(code == 1 && reason.contains("connecting"), "{reason}");
}

#[test]
fn silence_fails_when_the_time_is_over_and_says_where() {
    for (change, told) in
        [("/healthz", "GET /healthz"), ("login", "login"), ("event", "delivery"), ("logout", "logout")]
    {
        let begun = Instant::now();
        let (code, verdict, reason) = probe(&serve(Changes::from([(change, "")])), 1);
        assert_eq!((code, verdict.as_str()), (1, "failed"), "{reason}");
        assert!(reason.contains(told), "{reason}");
        assert!(begun.elapsed() >= Duration::from_secs(1), "it gives the server its time");
    }
}

#[test]
fn a_server_that_cannot_write_is_not_blamed_and_one_that_asks_for_time_gets_what_there_is() {
    let full = r#"{"id":3,"error":{"code":"storage_full","message":"the disk is full","retryable":true}}"#;
    let rescue =
        "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"rescue\",\"code\":\"storage_full\",\"reason\":\"full\"}";
    for change in [("send", full), ("/healthz", rescue)] {
        let (code, verdict, reason) = probe(&serve(Changes::from([change])), 30);
        assert_eq!((code, verdict.as_str()), (2, "inconclusive"), "{reason}");
        assert!(reason.contains("full"), "{reason}");
    }
    let busy = r#"{"id":1,"error":{"code":"overloaded","message":"too many","retryable":true}}"#;
    let (code, _, reason) = probe(&serve(Changes::from([("login", busy)])), 2);
    assert!(code == 1 && reason.contains("login: too many"), "{reason}");
}

#[test]
fn what_is_wrong_with_the_box_itself_is_not_blamed_on_the_release() {
    let folder = tempfile::tempdir().expect("a folder");
    let damaged = folder.path().join("authority.pem");
    std::fs::write(&damaged, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").expect("written");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).expect("written");
    for (secret, authority) in [(folder.path().join("none"), &secret), (secret.clone(), &damaged)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_posthouse-probe"));
        command.arg("--probe-secret").arg(secret).arg("--authority").arg(authority);
        let output = command.args(["--https", "127.0.0.1:1", "--http", "127.0.0.1:1"]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("inconclusive"), "{output:?}");
    }
}
