//! What a browser may do here for its own pages, and what other sites' pages may not make it do.

use posthouse_e2e::Site;
use posthouse_e2e::http::{Answer, RawEvents, ask};

async fn get(address: std::net::SocketAddr, path: &str, host: &str, headers: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
    ask(address, request.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_bent_to_this_address_gets_nothing() {
    let site = Site::new();
    let settings = site.path("settings.json");
    std::fs::write(&settings, r#"{"host_name": "teahouse", "names": ["chat.example.org"]}"#).expect("written");
    let mut command = site.command();
    command.arg("--settings").arg(settings);
    let server = posthouse_e2e::Server::start(command, site.admin_socket()).expect("it starts");
    server.add_account("anna");
    let (address, port) = (server.address(), server.address().port());
    for path in ["/", "/healthz", "/ws", "/api/v1/events", "/api/v1/rpc", "/claim", "/nowhere"] {
        for host in ["evil.example", &format!("posthouse.local:{port}"), "192.0.2.1", "teahouse.local.evil.example", ""]
        {
            let answer = get(address, path, host, "").await;
            assert_eq!(answer.status, 421, "{path} of {host:?}");
        }
    }
    for host in [
        address.to_string(),
        "localhost".to_owned(),
        format!("teahouse.local:{port}"),
        "TEAHOUSE.local.".to_owned(),
        "chat.example.org".to_owned(),
        "[::1]".to_owned(),
    ] {
        assert_eq!(get(address, "/healthz", &host, "").await.status, 200, "{host}");
    }
    let without = ask(address, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!(without.status, 421, "HTTP/1.1 asks for a Host");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_opens_no_session_and_posts_nothing() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let (address, host) = (server.address(), server.address().to_string());
    let session = RawEvents::open(address).await.session;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let own = format!("http://{host}");
    // Another scheme or another port is another site, too: another program may serve there.
    let foreign = [
        "http://evil.example",
        &format!("https://{host}"),
        "http://127.0.0.1:1",
        "null",
        "",
        &format!("{own}.evil.example"),
    ];
    for origin in foreign {
        let origin = format!("Origin: {origin}\r\n");
        assert_eq!(get(address, "/ws", &host, &format!("{origin}{upgrade}")).await.status, 403, "{origin}");
        assert_eq!(get(address, "/api/v1/events", &host, &origin).await.status, 403, "{origin}");
        for path in ["/api/v1/rpc", "/api/v1/login", "/api/v1/logout", "/claim", "/claim/proof", "/"] {
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{origin}Authorization: Bearer {session}\r\nContent-Length: 0\r\n\r\n"
            );
            assert_eq!(ask(address, request.as_bytes()).await.status, 403, "{path} {origin}");
        }
    }
    let ours = format!("Origin: {own}\r\n{upgrade}");
    assert_eq!(get(address, "/ws", &host, &ours).await.status, 101);
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_a_browser_must_not_do_with_it() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let (address, host) = (server.address(), server.address().to_string());
    for path in ["/", "/healthz", "/style.css", "/page.js", "/claim", "/nowhere", "/api/v1/login", "/claim/challenge"] {
        let answer = get(address, path, &host, "").await;
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
        assert_eq!(
            answer.header("strict-transport-security"),
            None,
            "{path}: under its own authority a box must stay reachable"
        );
        let body = String::from_utf8(answer.body.clone()).expect("a text");
        let inline = ["<script>", "<style", "style=", "onclick=", "onload=", "javascript:"];
        assert!(!inline.iter().any(|inline| body.contains(inline)), "{path}: {body}");
    }
}
