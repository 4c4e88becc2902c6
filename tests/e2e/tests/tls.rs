//! HTTPS with certificates of the box's own authority, as another program sees it: openssl.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use posthouse_client::ClientError;
use posthouse_client::admin::Admin;
use posthouse_e2e::wait::BOUND;
use posthouse_e2e::{BoxAuthority, Site, refusal};
use posthouse_protocol::admin::{CertificateInstallParams, SiteCertificate};
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

const SETTINGS: &str = r#"{"host_name": "teahouse", "names": ["chat.example.org"]}"#;

fn openssl(arguments: &[&str]) -> Output {
    let ran = Command::new("openssl").args(arguments).stdin(Stdio::null()).output();
    ran.expect("openssl is installed (image/toolchain/packages/test)")
}

/// What a client with this root says of the server, asked for with these options.
fn connect(address: SocketAddr, root: &Path, options: &[&str]) -> Result<String, String> {
    let (address, root) = (address.to_string(), root.to_str().expect("a path"));
    let mut arguments = vec!["s_client", "-connect", &address, "-CAfile", root, "-verify_return_error", "-showcerts"];
    arguments.extend(options);
    let output = openssl(&arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(said) } else { Err(said + &String::from_utf8_lossy(&output.stderr)) }
}

fn by_name(name: &str) -> [&str; 4] {
    ["-servername", name, "-verify_hostname", name]
}

/// A certificate that signs itself.
struct Made {
    chain: PathBuf,
    key: PathBuf,
}

impl Made {
    /// For these names, until the end of a year.
    fn own(site: &Site, title: &str, names: &[&str], until: i32) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 12, 31));
        params.distinguished_name.push(DnType::CommonName, title);
        let key = KeyPair::generate().expect("a key");
        let made = Self { chain: site.path(&format!("{title}.crt")), key: site.path(&format!("{title}.key")) };
        std::fs::write(&made.chain, params.self_signed(&key).expect("signed").pem()).expect("written");
        std::fs::write(&made.key, key.serialize_pem()).expect("written");
        made
    }

    fn install(&self, site: &Site) -> Result<SiteCertificate, ClientError> {
        install(site, &text(&self.chain), &text(&self.key))
    }
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).expect("a file")
}

fn install(site: &Site, chain: &str, key: &str) -> Result<SiteCertificate, ClientError> {
    let params = CertificateInstallParams { chain: chain.to_owned(), key: key.to_owned() };
    Admin::open(&site.admin_socket()).expect("the socket").install_certificate(&params)
}

#[test]
fn who_trusts_the_authority_knows_the_server_by_each_name_and_address() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, SETTINGS);
    let (server, root) = (authority.serve(&site), authority.root(&site));
    let address = server.secure_address();
    for options in [&by_name("teahouse.local")[..], &by_name("chat.example.org"), &["-verify_ip", "127.0.0.1"]] {
        let said = connect(address, &root, options).unwrap_or_else(|said| panic!("{options:?}: {said}"));
        assert!(said.contains("Verification: OK"), "{said}");
        assert!(said.contains("TLSv1.3, Cipher is TLS_CHACHA20_POLY1305_SHA256"), "{said}");
    }
    for options in [&by_name("other.local")[..], &["-verify_ip", "192.0.2.1"], &["-tls1_1"]] {
        assert!(connect(address, &root, options).is_err(), "{options:?}");
    }
    let old = connect(address, &root, &["-tls1_2"]).expect("TLS 1.2 is spoken, too");
    assert!(old.contains("ECDHE-ECDSA-CHACHA20-POLY1305"), "{old}");
    // Whoever has no ChaCha20 gets AES.
    let aes = connect(address, &root, &["-ciphersuites", "TLS_AES_128_GCM_SHA256"]).expect("AES is spoken, too");
    assert!(aes.contains("TLS_AES_128_GCM_SHA256"), "{aes}");
    server.assert_undisturbed();
}

#[test]
fn certificate_files_stand_the_test_of_openssl_verify_and_no_foreign_name_does() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, SETTINGS);
    let (server, root) = (authority.serve(&site), authority.root(&site));
    let said = connect(server.secure_address(), &root, &by_name("teahouse.local")).expect("a connection");
    let leaf = site.path("leaf.pem");
    let start = said.find("-----BEGIN CERTIFICATE").expect("the server's certificate");
    std::fs::write(&leaf, &said[start..]).expect("written");
    let (leaf, root) = (leaf.to_str().expect("a path"), root.to_str().expect("a path"));
    let verify = |options: &[&str]| {
        let arguments =
            [&["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", root], options, &[leaf]].concat();
        openssl(&arguments).status.success()
    };
    assert!(verify(&["-verify_hostname", "teahouse.local"]));
    assert!(verify(&["-verify_ip", "127.0.0.1"]));
    assert!(!verify(&["-verify_hostname", "chat.example.com"]));
    // 366 days from now on it is valid, and a year later no more.
    assert!(openssl(&["x509", "-in", leaf, "-checkend", "31622400", "-noout"]).status.success());
    assert!(!openssl(&["x509", "-in", leaf, "-checkend", "34300800", "-noout"]).status.success());
}

#[test]
fn a_restart_changes_certificates_and_never_the_authority() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, r#"{"host_name": "teahouse"}"#);
    let root = authority.root(&site);
    let server = authority.serve(&site);
    assert!(connect(server.secure_address(), &root, &by_name("teahouse.local")).is_ok());
    server.stop();
    drop(authority);

    // Another name, and a further one that the root of before does not permit.
    let authority = BoxAuthority::start(&site, r#"{"host_name": "inn", "names": ["chat.example.org"]}"#);
    let server = authority.serve(&site);
    let address = server.secure_address();
    assert!(connect(address, &root, &by_name("inn.local")).is_ok(), "who trusted the box trusts it under its new name");
    assert!(connect(address, &root, &by_name("teahouse.local")).is_err());
    assert!(connect(address, &root, &by_name("chat.example.org")).is_err(), "it was not among the root's constraints");
    let root = authority.root(&site);
    assert!(connect(address, &root, &by_name("chat.example.org")).is_ok());
}

#[test]
fn an_own_certificate_is_shown_for_its_names_until_it_is_removed() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, SETTINGS);
    let (server, root) = (authority.serve(&site), authority.root(&site));
    let own = Made::own(&site, "own", &["chat.example.org", "*.example.org"], 2049);
    let installed = own.install(&site).expect("a good certificate");
    assert_eq!(installed.own.expect("it is shown").names, ["chat.example.org", "*.example.org"]);
    let shows = |address, own_root: &Path, name| connect(address, own_root, &by_name(name)).is_ok();
    let address = server.secure_address();
    assert!(shows(address, &own.chain, "chat.example.org"));
    assert!(shows(address, &own.chain, "other.example.org"));
    assert!(shows(address, &root, "teahouse.local"), "everybody else gets the box's own");

    server.stop();
    let server = authority.serve(&site);
    let address = server.secure_address();
    assert!(shows(address, &own.chain, "chat.example.org"), "it outlives a restart");
    let removed = Admin::open(&site.admin_socket()).expect("the socket").remove_certificate();
    assert_eq!(removed.expect("removed").own, None);
    assert!(shows(address, &root, "chat.example.org"));
    server.assert_undisturbed();
}

#[test]
fn what_is_wrong_with_an_own_certificate_is_said_and_the_one_before_stays() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, SETTINGS);
    let server = authority.serve(&site);
    let good = Made::own(&site, "good", &["chat.example.org"], 2049);
    good.install(&site).expect("a good certificate");
    let other = Made::own(&site, "other", &["chat.example.net"], 2049);
    let wrong = |result: Result<SiteCertificate, ClientError>, line: &str| {
        let error = refusal(result);
        assert!(error.message.contains(line) && !error.message.contains('\n'), "{error:?} says {line}");
    };
    wrong(other.install(&site), "is not for chat.example.org");
    wrong(install(&site, &text(&good.chain), &text(&other.key)), "the private key is not that of the certificate");
    wrong(install(&site, "nonsense", &text(&good.key)), "there is no certificate in it");
    wrong(install(&site, &text(&good.chain), "nonsense"), "there is no private key in it");
    let locked = openssl(&["pkey", "-in", good.key.to_str().expect("a path"), "-aes256", "-passout", "pass:secret"]);
    wrong(install(&site, &text(&good.chain), &String::from_utf8_lossy(&locked.stdout)), "a passphrase");
    let reversed = text(&good.chain) + &text(&other.chain);
    wrong(install(&site, &reversed, &text(&good.key)), "out of order");
    wrong(install(&site, &text(&good.chain).repeat(9), &text(&good.key)), "at most 8 certificates");
    let damaged = text(&good.chain).replacen("MII", "AAA", 1);
    wrong(install(&site, &damaged, &text(&good.key)), "the certificate can't be read");
    let root = text(&authority.root(&site));
    wrong(install(&site, &root, &text(&good.key)), "an authority's");
    let expired = Made::own(&site, "expired", &["chat.example.org"], 2021);
    wrong(expired.install(&site), "expired on");

    let kept = Admin::open(&site.admin_socket()).expect("the socket").certificate().expect("an answer");
    assert!(kept.own.is_some(), "{kept:?}");
    assert!(connect(server.secure_address(), &good.chain, &by_name("chat.example.org")).is_ok());
    server.assert_undisturbed();
}

#[test]
fn a_server_without_its_authority_serves_plainly_and_goes_on_asking() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, SETTINGS);
    let command = authority.command(&site);
    let root = authority.root(&site);
    drop(authority);
    let server = posthouse_e2e::Server::start(command, site.admin_socket()).expect("it serves");
    assert!(server.get("/healthz").contains(r#""status":"ok""#));
    assert!(connect(server.secure_address(), &root, &by_name("teahouse.local")).is_err());
    let authority = BoxAuthority::start(&site, SETTINGS);
    posthouse_e2e::wait::until("certificate", || {
        connect(server.secure_address(), &root, &by_name("teahouse.local")).ok()
    });
    drop(authority);
    assert!(connect(server.secure_address(), &root, &by_name("teahouse.local")).is_ok(), "it has what it needs");
}

#[test]
fn who_does_not_finish_a_handshake_is_sent_away_and_holds_nobody_up() {
    let site = Site::new();
    let authority = BoxAuthority::start(&site, SETTINGS);
    let (server, root) = (authority.serve(&site), authority.root(&site));
    let address = server.secure_address();
    // Nothing; the head of a record that never comes; no TLS at all.
    let beginnings = [&b""[..], &[22, 3, 1, 2, 0], b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"];
    let mut unfinished: Vec<TcpStream> = Vec::new();
    for beginning in beginnings.repeat(20) {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(beginning).expect("written");
        stream.set_read_timeout(Some(BOUND)).expect("a limit");
        unfinished.push(stream);
    }
    assert!(connect(address, &root, &by_name("teahouse.local")).is_ok(), "another one gets in meanwhile");
    for mut stream in unfinished {
        let mut heard = Vec::new();
        // An alert and the end, or a reset: it is over either way, and nothing was served.
        let end = stream.read_to_end(&mut heard);
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset), "it is still open");
        assert!(!String::from_utf8_lossy(&heard).contains("HTTP"), "{heard:?}");
    }
    server.assert_undisturbed();
}
