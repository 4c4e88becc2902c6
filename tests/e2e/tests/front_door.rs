//! The front door: what a device without TLS is told, what it is given to trust the box, and what is different once it does.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use posthouse_e2e::http::{Answer, ask};
use posthouse_e2e::terminal::Terminal;
use posthouse_e2e::{BoxAuthority, PASSWORD, Server, Site};
use posthouse_protocol::appliance::{Ownership, Status};

const WINDOWS: &str = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64)\r\n";
const IPHONE: &str = "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)\r\n";

struct TheBox {
    site: Site,
    server: Server,
    _authority: BoxAuthority,
}

impl TheBox {
    fn new(settings: &str) -> Self {
        let site = Site::new();
        let authority = BoxAuthority::start(&site, settings);
        let mut command = authority.command(&site);
        command.arg("--status-file").arg(site.path("status.json"));
        let server = Server::start(command, site.admin_socket()).expect("it starts");
        Self { site, server, _authority: authority }
    }

    async fn get(&self, path: &str, headers: &str) -> Answer {
        let host = format!("teahouse.local:{}", self.server.address().port());
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        ask(self.server.address(), request.as_bytes()).await
    }

    /// Where it speaks TLS, as its own name.
    fn secure(&self) -> String {
        format!("https://teahouse.local:{}", self.server.secure_address().port())
    }

    fn status(&self) -> Status {
        posthouse_e2e::wait::until("status", || {
            let text = std::fs::read(self.site.path("status.json")).ok()?;
            serde_json::from_slice::<Status>(&text).ok().filter(|status| status.fingerprint.is_some())
        })
    }

    fn code(&self) -> String {
        match self.status().ownership {
            Ownership::Unclaimed { code } => code,
            other => panic!("{other:?}"),
        }
    }
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).expect("a text")
}

/// Sends a request over TLS, as a client that asks for no certificate's reasons.
fn by_tls(address: SocketAddr, request: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-quiet", "-connect", &address.to_string()]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("openssl is installed (image/toolchain/packages/test)");
    child.stdin.take().expect("it is piped").write_all(request.as_bytes()).expect("the request is taken");
    String::from_utf8_lossy(&child.wait_with_output().expect("its end").stdout).into_owned()
}

const SETTINGS: &str = r#"{"host_name": "teahouse"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_a_device_finds_its_own_steps_and_what_it_has_to_install() {
    let it = TheBox::new(SETTINGS);
    let fingerprint = it.status().fingerprint.expect("an authority").to_string();
    let door = it.get("/", &format!("{WINDOWS}Accept-Language: en\r\n")).await;
    let page = text(&door);
    assert!(door.status == 200 && page.contains("Trusted Root Certification Authorities"), "{page}");
    assert!(page.contains(&fingerprint) && page.contains(&format!("data-secure=\"{}\"", it.secure())), "{page}");
    assert!(page.contains("What it costs") && page.contains("href=\"/claim?lang=en\""), "{page}");
    let policy = door.header("content-security-policy").unwrap_or_default();
    assert!(policy.ends_with(&format!("connect-src 'self' {}", it.secure())), "{policy}");
    let page = text(&it.get("/", &format!("{IPHONE}Accept-Language: zh\r\n")).await);
    assert!(page.contains("完全信任") && page.contains("/trust/ca.mobileconfig"), "{page}");
    for (path, word) in [
        ("/trust/windows", "Current User"),
        ("/trust/mac", "Keychain"),
        ("/trust/iphone", "full trust"),
        ("/trust/android", "CA certificate"),
        ("/trust/linux", "Authorities"),
    ] {
        let page = text(&it.get(&format!("{path}?lang=en"), IPHONE).await);
        assert!(page.contains(word), "{path}: {page}");
    }
    let certificate = it.get("/trust/ca.crt", "").await;
    assert_eq!(certificate.header("content-type"), Some("application/x-x509-ca-cert"));
    let file = it.site.path("ca.crt");
    std::fs::write(&file, &certificate.body).expect("written");
    let read = Command::new("openssl").args(["x509", "-inform", "DER", "-noout", "-pubkey", "-in"]).arg(&file).output();
    assert!(read.expect("openssl runs").status.success(), "it is a certificate");
    let profile = it.get("/trust/ca.mobileconfig", "").await;
    assert_eq!(profile.header("content-type"), Some("application/x-apple-aspen-config"));
    assert!(text(&profile).contains("com.apple.security.root"));
    assert_eq!(it.get("/trusted", "").await.status, 404, "only who trusts the box gets an answer");
    let claim = text(&it.get("/claim?lang=en", "").await);
    assert!(claim.contains("This connection is not protected") && claim.contains(&fingerprint), "{claim}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_box_is_claimed_by_page_with_a_cookie_of_its_own_kind() {
    let it = TheBox::new(SETTINGS);
    let address = it.server.secure_address();
    let host = format!("teahouse.local:{}", address.port());
    let get = |path: &str, headers: &str| {
        by_tls(address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"))
    };
    let trusted = get("/trusted", "");
    assert!(
        trusted.starts_with("HTTP/1.1 200 ") && trusted.contains("cross-origin-resource-policy: cross-origin"),
        "{trusted}"
    );
    assert!(!trusted.to_lowercase().contains("strict-transport-security"), "{trusted}");
    assert!(get("/", "").starts_with("HTTP/1.1 303 "), "no steps: this device trusts the box");
    let form = format!("code={}&username=anna&password=correct+horse&again=correct+horse", it.code());
    let post = |origin: &str| {
        let len = form.len();
        by_tls(
            address,
            &format!(
                "POST /claim?lang=en HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len}\r\n\r\n{form}"
            ),
        )
    };
    assert!(
        post(&format!("http://{host}")).starts_with("HTTP/1.1 403 "),
        "a page that came in the open has no say here"
    );
    let sheet = post(&format!("https://{host}"));
    let fingerprint = it.status().fingerprint.expect("an authority").to_string();
    assert!(
        sheet.starts_with("HTTP/1.1 200 ")
            && sheet.contains(&fingerprint)
            && sheet.contains(&format!("https://{host}")),
        "{sheet}"
    );
    let cookie = sheet.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.starts_with("__Host-posthouse=") && cookie.contains("; Secure"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair");
    // Signing out by it shows that it is taken, over TLS only and by its own name only.
    let log_out = |pair: &str| {
        by_tls(
            address,
            &format!(
                "POST /api/v1/logout HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {pair}\r\nContent-Length: 0\r\n\r\n"
            ),
        )
    };
    let device_count = || {
        let terminal = Terminal::new(it.site.path("anna"));
        let url = it.server.url().to_string();
        terminal.run_with_input(&["login", "--server", &url, "--password-stdin", "anna"], PASSWORD).ok();
        terminal.run(&["devices"]).ok().lines().count()
    };
    log_out(&pair.replace("__Host-posthouse", "posthouse-plain"));
    assert_eq!(device_count(), 2, "the browser is still logged in");
    assert!(log_out(pair).contains("set-cookie: __Host-posthouse=;"));
    assert_eq!(device_count(), 2, "two log-ins of the terminal, and no browser");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_box_that_refuses_plain_http_shows_the_way_to_tls_and_nothing_else() {
    let it = TheBox::new(r#"{"host_name": "teahouse", "plain_http": "refused"}"#);
    it.status();
    it.server.add_account("anna");
    let door = text(&it.get("/", &format!("{WINDOWS}Accept-Language: en\r\n")).await);
    assert!(door.contains("Trusted Root") && !door.contains("What it costs"), "{door}");
    for path in ["/claim", "/home", "/claim/challenge", "/recover"] {
        let answer = it.get(path, "").await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{path}");
    }
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (path, headers) in [("/ws", upgrade), ("/api/v1/events", "")] {
        assert_eq!(it.get(path, headers).await.json()["error"]["code"], "forbidden", "{path}");
    }
    let login =
        posthouse_e2e::http::post(it.server.address(), "/api/v1/login", "Content-Type: application/json\r\n", b"{}")
            .await;
    assert_eq!(login.status, 403);
    assert_eq!(it.get("/healthz", "").await.status, 200);
}

#[test]
fn the_command_claims_by_tls_and_knows_the_box_from_then_on() {
    let it = TheBox::new(SETTINGS);
    let terminal = Terminal::new(it.site.path("anna"));
    let url = format!("https://{}", it.server.secure_address());
    let claim = |code: &str| {
        terminal.run_with_input(&["claim", "--server", &url, "--code", code, "--password-stdin", "anna"], PASSWORD)
    };
    assert!(claim("AAAA-BBBB-CCCC").refused(1).contains("not the code that the box shows"));
    let sheet = claim(&it.code()).ok();
    let fingerprint = it.status().fingerprint.expect("an authority").to_string();
    assert!(sheet.contains(&format!("Fingerprint  {fingerprint}")), "{sheet}");
    assert!(terminal.run(&["account", "me"]).ok().starts_with("anna"), "it is logged in, and asks nobody about trust");
}
