//! What everybody gets from each HTTP route that the server has.

use std::net::SocketAddr;

use posthouse_e2e::http::{RawEvents, ask, status_by_tls};
use posthouse_e2e::{Appliance, BoxAuthority, Device, PASSWORD, Server, Site};
use posthouse_protocol::appliance::Settings;
use posthouse_protocol::{NoRoute, ROUTES, Route};

use Sent::{Form, Json, Nothing};

/// What goes along with a request.
#[derive(Clone, Copy)]
enum Sent {
    Nothing,
    /// A request that is none of the route's: it gets as far as being read.
    Json,
    /// A code that is none, and another password.
    Form,
}

/// Who comes, and to which box.
#[derive(Clone, Copy, Debug)]
enum Comes {
    /// To a box that somebody owns, without TLS.
    Nobody,
    /// A page of another site, which knows a session.
    OtherSite,
    /// With a session that has ended.
    Ended,
    /// With a session.
    Session,
    /// To a box that nobody owns.
    ToUnclaimed,
    /// To a box whose card asks to let its owner in again.
    ToRecovering,
    /// By TLS, to a box that wants it.
    Secure,
    /// Without it, to the same box.
    Insecure,
}

const COMERS: [Comes; 8] = [
    Comes::Nobody,
    Comes::OtherSite,
    Comes::Ended,
    Comes::Session,
    Comes::ToUnclaimed,
    Comes::ToRecovering,
    Comes::Secure,
    Comes::Insecure,
];

/// Of everybody the same.
const SHOWN: [u16; 8] = [200; 8];
/// For tokens of devices, which none of these has; `updates.rs` says who gets what.
const UPDATE_SHOWN: [u16; 8] = [401, 401, 401, 401, 403, 401, 401, 403];
const UPDATE_CHANGED: [u16; 8] = [401, 403, 401, 401, 403, 401, 401, 403];
/// Needs an authority.
const TRUST: [u16; 8] = [404, 404, 404, 404, 404, 404, 200, 200];

/// A route, and what each of [`COMERS`] gets.
const TABLE: &[(&str, &str, Sent, [u16; 8])] = &[
    ("GET", "/healthz", Nothing, SHOWN),
    ("GET", "/api/v1/events", Nothing, [200, 403, 200, 200, 403, 200, 200, 403]),
    ("POST", "/api/v1/rpc", Json, [401, 403, 401, 200, 403, 401, 401, 403]),
    // Without the headers of an upgrade.
    ("GET", "/ws", Nothing, [426, 403, 426, 426, 403, 426, 426, 403]),
    ("GET", "/claim/challenge", Nothing, [200, 200, 200, 200, 200, 200, 200, 303]),
    ("POST", "/claim/proof", Json, [400, 403, 400, 400, 400, 400, 400, 403]),
    ("POST", "/claim", Json, [400, 403, 400, 400, 400, 400, 400, 403]),
    ("POST", "/api/v1/login", Json, [400, 403, 400, 400, 403, 400, 400, 403]),
    ("POST", "/api/v1/logout", Json, [200, 403, 200, 200, 403, 200, 200, 403]),
    ("GET", "/api/v1/update", Nothing, UPDATE_SHOWN),
    ("GET", "/api/v1/update/history", Nothing, UPDATE_SHOWN),
    ("POST", "/api/v1/update/check", Json, UPDATE_CHANGED),
    ("POST", "/api/v1/update/apply", Json, UPDATE_CHANGED),
    ("POST", "/api/v1/update/rollback", Json, UPDATE_CHANGED),
    ("POST", "/api/v1/update/postpone", Json, UPDATE_CHANGED),
    ("HEAD", "/api/v1/update/bundles/{sha256}", Nothing, UPDATE_SHOWN),
    ("PATCH", "/api/v1/update/bundles/{sha256}", Nothing, UPDATE_CHANGED),
    ("DELETE", "/api/v1/update/bundles/{sha256}", Nothing, UPDATE_CHANGED),
    // Without TLS, a box that wants it shows the way there.
    ("GET", "/", Nothing, [200, 200, 200, 200, 303, 200, 200, 200]),
    ("GET", "/home", Nothing, [200, 200, 200, 200, 303, 200, 200, 303]),
    ("GET", "/claim", Nothing, [303, 303, 303, 303, 200, 303, 303, 303]),
    // The code is wrong, and asked for by no other box.
    ("GET", "/recover", Nothing, [404, 404, 404, 404, 404, 200, 404, 303]),
    ("POST", "/recover", Form, [404, 403, 404, 404, 404, 403, 404, 403]),
    ("GET", "/trust", Nothing, TRUST),
    ("GET", "/trust/windows", Nothing, TRUST),
    ("GET", "/trust/mac", Nothing, TRUST),
    ("GET", "/trust/iphone", Nothing, TRUST),
    ("GET", "/trust/android", Nothing, TRUST),
    ("GET", "/trust/linux", Nothing, TRUST),
    ("GET", "/trust/ca.crt", Nothing, TRUST),
    ("GET", "/trust/ca.mobileconfig", Nothing, TRUST),
    // That is what it says: who gets an answer has TLS.
    ("GET", "/trusted", Nothing, [404, 404, 404, 404, 404, 404, 200, 303]),
    ("GET", "/page.js", Nothing, SHOWN),
    ("GET", "/icon.svg", Nothing, SHOWN),
    ("GET", "/style.css", Nothing, SHOWN),
];

#[test]
fn the_table_has_every_route() {
    let mut listed: Vec<_> = TABLE.iter().map(|(method, path, ..)| (*method, *path)).collect();
    let mut routes: Vec<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
    listed.sort_unstable();
    routes.sort_unstable();
    assert_eq!(listed, routes, "the table of authority/routes.rs (left) against what the server lets in (right)");
}

/// The boxes, and who comes to them.
struct Boxes {
    owned: (Site, Server),
    unclaimed: (Site, Server),
    recovering: (Appliance, Server),
    secured: (Site, BoxAuthority, Server),
    session: RawEvents,
    ended: String,
}

impl Boxes {
    async fn new() -> Self {
        let owned = Site::with_accounts(&["anna"]);
        let site = Site::new();
        let unclaimed = site.start();
        let appliance = Appliance::new();
        let server = appliance.start(&Settings::default());
        server.add_account("anna");
        server.kill();
        let server = appliance.start(&Settings { recover_owner: true, ..Settings::default() });
        let secured = Site::new();
        let authority = BoxAuthority::start(&secured, r#"{"plain_http": "refused"}"#);
        let secure = authority.serve(&secured);
        secure.add_account("anna");
        let address = owned.1.address();
        Self {
            session: RawEvents::open(address).await,
            ended: RawEvents::open(address).await.session,
            owned,
            unclaimed: (site, unclaimed),
            recovering: (appliance, server),
            secured: (secured, authority, secure),
        }
    }

    /// Where somebody comes to, and with what headers.
    fn at(&self, comes: Comes) -> (SocketAddr, String) {
        let bearer = |session: &str| format!("Authorization: Bearer {session}\r\n");
        let headers = match comes {
            Comes::OtherSite => format!("Origin: http://evil.example\r\n{}", bearer(&self.session.session)),
            Comes::Ended => bearer(&self.ended),
            Comes::Session => bearer(&self.session.session),
            _ => String::new(),
        };
        let address = match comes {
            Comes::Nobody | Comes::OtherSite | Comes::Ended | Comes::Session => self.owned.1.address(),
            Comes::ToUnclaimed => self.unclaimed.1.address(),
            Comes::ToRecovering => self.recovering.1.address(),
            Comes::Secure => self.secured.2.secure_address(),
            Comes::Insecure => self.secured.2.address(),
        };
        (address, headers)
    }

    async fn status(&self, comes: Comes, method: &str, path: &str, sent: Sent) -> u16 {
        let (address, headers) = self.at(comes);
        let (content_type, body) = match sent {
            Nothing => ("application/json", ""),
            Json => ("application/json", r#"{"id":1,"method":"ping"}"#),
            Form => {
                ("application/x-www-form-urlencoded", "code=AAAA-BBBB-CCCC&password=another+horse&again=another+horse")
            }
        };
        let len = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
             Content-Length: {len}\r\n{headers}\r\n{body}"
        );
        match comes {
            Comes::Secure => status_by_tls(address, &request),
            _ => ask(address, request.as_bytes()).await.status,
        }
    }

    /// Whether everybody's password and the one box that nobody owns are as they were.
    async fn assert_unchanged(&self) {
        for server in [&self.owned.1, &self.recovering.1] {
            let anna = Device::log_in(&server.url(), "anna").await;
            assert_eq!(anna.account.username.as_str(), "anna", "{PASSWORD} is still the password");
            server.assert_undisturbed();
        }
        assert!(self.unclaimed.1.get("/claim/challenge").contains(r#""claimed":false"#));
        self.secured.2.assert_undisturbed();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_gets_from_each_route_what_the_table_says() {
    let boxes = Boxes::new().await;
    for (method, path, sent, statuses) in TABLE {
        for (comes, expected) in COMERS.into_iter().zip(statuses) {
            let status = boxes.status(comes, method, path, *sent).await;
            assert_eq!(status, *expected, "{method} {path} by {comes:?}");
        }
    }
    boxes.assert_unchanged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_route_reaches_nobody() {
    let (_site, server) = Site::with_accounts(&["anna"]);
    let mut tried = 0;
    let paths = TABLE.iter().map(|(_, path, ..)| *path);
    let nowhere = ["/nowhere", "/claim/", "/trust/ca.pem", "/api/v1", "/api/v1/rpc/", "/api/v1/update/nothing", "//"];
    for path in paths.chain(nowhere) {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FLY"] {
            let Err(no_route) = Route::of(method, path) else { continue };
            tried += 1;
            let host = server.address();
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let answer = ask(host, request.as_bytes()).await;
            let (status, allowed) = match &no_route {
                NoRoute::Path => (404, None),
                NoRoute::Method(allowed) => (405, Some(allowed.as_str())),
            };
            assert_eq!((answer.status, answer.header("allow")), (status, allowed), "{method} {path}");
            if path.starts_with("/api/") && method != "HEAD" {
                assert!(answer.json()["error"]["code"].is_string(), "{method} {path}: programs read an error");
            }
        }
    }
    assert!(tried > 200, "{tried}");
    server.assert_undisturbed();
}
