//! Whom a client trusts: the box whose fingerprint was compared, and nobody else.

use std::process::{Command, Stdio};

use posthouse_client::admin::Admin;
use posthouse_client::{Client, ServerUrl, Transport, fingerprint_of};
use posthouse_e2e::terminal::Terminal;
use posthouse_e2e::{BoxAuthority, Device, PASSWORD, Server, Site};
use posthouse_protocol::Fingerprint;
use posthouse_protocol::admin::CertificateInstallParams;
use rcgen::{CertificateParams, DnType, KeyPair};

fn secure_url(server: &Server, host: &str) -> ServerUrl {
    format!("https://{host}:{}", server.secure_address().port()).parse().expect("an address")
}

fn fingerprint(site: &Site) -> Fingerprint {
    let certificate = Admin::open(&site.admin_socket()).expect("the socket").certificate().expect("an answer");
    certificate.fingerprint.expect("the authority has answered")
}

#[tokio::test]
async fn a_device_that_knows_the_box_chats_by_either_transport() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, "{}");
    let server = authority.serve(&site);
    server.add_account("anna");
    server.add_account("ben");
    let pin = fingerprint(&site);
    let url = secure_url(&server, "127.0.0.1").pinned(pin);
    assert_eq!(fingerprint_of(&url).await, Ok(pin));
    let anna = Device::log_in(&url, "anna").await;
    for transport in [Transport::WebSocket, Transport::EventStream] {
        let mut ben = Device::connect_by(transport, &url, Device::log_in(&url, "ben").await.token).await;
        let conversation = anna.direct("ben").await;
        anna.send(conversation, "nobody reads along").await;
        assert_eq!(ben.next_message().await.seq, ben.history(conversation).await.last().expect("it is kept").seq);
    }
    server.assert_undisturbed();
}

#[tokio::test]
async fn neither_another_box_nor_an_unknown_one_is_talked_to() {
    let (site, other) = (Site::new(), Site::new());
    let authority = BoxAuthority::start(&site, "{}");
    let server = authority.serve(&site);
    let other_authority = BoxAuthority::start(&other, "{}");
    let impostor = other_authority.serve(&other);
    let pin = fingerprint(&site);
    for transport in [Transport::WebSocket, Transport::EventStream] {
        let refused = Client::open_by(&secure_url(&impostor, "127.0.0.1").pinned(pin), transport).await;
        let said = refused.map(|_| ()).expect_err("it is another box").to_string();
        assert!(said.contains("NOT the box") && said.contains(&pin.to_string()), "{said}");
        let refused = Client::open_by(&secure_url(&server, "127.0.0.1"), transport).await;
        let said = refused.map(|_| ()).expect_err("nobody has compared").to_string();
        assert!(said.contains("does not know it yet"), "{said}");
        // The right box under a name that is not its own.
        let refused = Client::open_by(&secure_url(&server, "localhost").pinned(pin), transport).await;
        let said = refused.map(|_| ()).expect_err("it is for other names").to_string();
        assert!(said.contains("for other names"), "{said}");
    }
    impostor.assert_undisturbed();
}

#[test]
fn a_fingerprint_is_compared_once_and_a_changed_one_is_refused() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, "{}");
    let server = authority.serve(&site);
    server.add_account("anna");
    let (pin, url) = (fingerprint(&site).to_string(), secure_url(&server, "127.0.0.1").to_string());
    let anna = Terminal::new(site.path("anna"));
    let log_in = |more: &[&str]| {
        let arguments = [&["login", "--server", &url, "--password-stdin", "anna"], more].concat();
        anna.run_with_input(&arguments, PASSWORD)
    };
    let said = log_in(&[]).refused(1);
    assert!(said.contains("does not know") && said.contains(&pin), "{said}");
    let wrong = "00".repeat(32);
    assert!(log_in(&["--fingerprint", &wrong]).refused(1).contains("not the box that you mean"));
    assert!(log_in(&["--fingerprint", "nonsense"]).refused(2).contains("64 hexadecimal digits"));
    assert_eq!(log_in(&["--fingerprint", &pin]).ok(), format!("Logged in as anna at {url}."));
    assert_eq!(log_in(&[]).ok(), format!("Logged in as anna at {url}."), "it is known now");
    assert!(anna.run(&["account", "me"]).ok().contains("anna"));
    assert!(anna.run(&["trust", "list"]).ok().contains(&pin));

    // The box loses its key and gets another, at the same address.
    let address = server.secure_address();
    server.stop();
    let folder = authority.folder().to_owned();
    drop(authority);
    std::fs::remove_dir_all(&folder).expect("removed");
    let authority = BoxAuthority::start(&site, "{}");
    let mut command = site.command();
    command.args(["--listen-tls", &address.to_string()]).arg("--ca-socket").arg(site.path("ca.sock"));
    let server = Server::start(command, site.admin_socket()).expect("it serves");
    let said = anna.run(&["account", "me"]).refused(1);
    assert!(said.contains("NOT the box") && said.contains(&pin), "{said}");
    let new = fingerprint(&site).to_string();
    assert!(log_in(&["--fingerprint", &new]).refused(1).contains("known by another fingerprint"));
    assert_eq!(anna.run(&["trust", "forget", &url]).ok(), "Forgotten.");
    log_in(&["--fingerprint", &new]).ok();
    assert!(anna.run(&["account", "me"]).ok().contains("anna"));
    server.assert_undisturbed();
    drop(authority);
}

/// A certificate for localhost that signs itself.
fn own_certificate() -> CertificateInstallParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, "own");
    let key = KeyPair::generate().expect("a key");
    CertificateInstallParams { chain: params.self_signed(&key).expect("signed").pem(), key: key.serialize_pem() }
}

#[tokio::test]
async fn an_own_certificate_is_trusted_because_the_authority_hands_over_to_its_key() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, r#"{"names": ["localhost"]}"#);
    let server = authority.serve(&site);
    server.add_account("anna");
    let pin = fingerprint(&site);
    let url = secure_url(&server, "localhost").pinned(pin);
    Device::log_in(&url, "anna").await;
    let own = own_certificate();
    Admin::open(&site.admin_socket()).expect("the socket").install_certificate(&own).expect("a good certificate");
    let chain = Command::new("openssl")
        .args(["s_client", "-connect", &server.secure_address().to_string(), "-servername", "localhost"])
        .stdin(Stdio::null())
        .output();
    let chain = String::from_utf8_lossy(&chain.expect("openssl").stdout).into_owned();
    assert!(chain.contains("subject=CN = own") || chain.contains("subject=CN=own"), "{chain}");
    Device::log_in(&url, "anna").await;

    // Whoever does not know this authority is not convinced by it.
    let stranger = secure_url(&server, "localhost").pinned(Fingerprint::from_sha256([7; 32]));
    let refused = Client::open(&stranger).await.map(|_| ()).expect_err("another box");
    assert!(refused.to_string().contains("NOT the box"), "{refused}");
    server.assert_undisturbed();
}
