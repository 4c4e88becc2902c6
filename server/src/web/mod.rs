//! The web edge: the pages that a browser finds, the JSON by which a box is claimed and a browser logs in, the health check.
//!
//! It gets what the list of routes has (`server/protocol/src/routes.rs`): a path that is added here has to stand there, too.
//! Reads through the store, claims through [`Claim`], logs in through the router. Until somebody owns the box it answers with the
//! claim page, what a device needs to trust the box, and the health check only. Nothing imports it but the composition.

mod browser;
mod claim;
mod language;
mod recover;
mod trust;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use posthouse_protocol::appliance::{Language, PlainHttp, Settings};
use posthouse_protocol::claim::{CHALLENGE_PATH, CLAIM_PATH, PROOF_PATH};
use posthouse_protocol::{ErrorBody, ErrorCode, Fingerprint, LOGIN_PATH, LOGOUT_PATH, strict};
use tokio::sync::watch;

use crate::body;
use crate::claim::Claim;
use crate::listener::{Carrier, Handler, Visit};
use crate::page;
use crate::router::Router;
use crate::store::Store;
use crate::tls::TrustMaterial;
use language::{HOME, MESSAGE, Part, either};

const ICON: &str = include_str!("icon.svg");
const SCRIPT: &str = include_str!("page.js");

/// Longest body of a form or of JSON, in bytes: names, a password and a code.
const BODY_LEN_MAX: usize = 4 * 1024;

/// What the pages are made from.
pub struct Web {
    /// Says whether messages can become durable.
    pub store: Store,
    /// Logs browsers in.
    pub router: Router,
    /// Whose the box is.
    pub claim: Claim,
    /// What the box's owner wants.
    pub settings: Arc<Settings>,
    /// What a device needs to trust the box; `None` until the authority has answered.
    pub trust: watch::Receiver<Option<Arc<TrustMaterial>>>,
    /// Where TLS is spoken, if it is.
    pub secure_port: Option<u16>,
    /// Where to ask for the clock to be set, if somebody would do it.
    pub clock_request: Option<PathBuf>,
}

/// A request, and what is known of it beside.
struct Asked {
    head: Parts,
    visit: Visit,
    language: Language,
    /// Where the browser finds this box: scheme, host and port, without a slash at the end.
    address: String,
}

impl Web {
    /// As the listener wants it.
    pub fn handler(self) -> Handler {
        let web = Arc::new(self);
        Arc::new(move |request, visit| {
            let web = Arc::clone(&web);
            Box::pin(async move { web.respond(request, visit).await })
        })
    }

    async fn respond(&self, request: Request<Incoming>, visit: Visit) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let language = language::asked_for(&head.uri, &head.headers, self.settings.language);
        let address = address(&head.headers, visit.carrier);
        let asked = Asked { head, visit, language, address };
        if asked.head.method == Method::POST { self.posted(&asked, body).await } else { self.shown(&asked) }
    }

    fn shown(&self, asked: &Asked) -> Response<Full<Bytes>> {
        let secured = self.secured(asked);
        match asked.head.uri.path() {
            "/healthz" => return health(&self.store),
            "/page.js" => return page::answer(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT),
            "/icon.svg" => return page::answer(StatusCode::OK, "image/svg+xml", ICON),
            page::STYLE_PATH => return page::style(),
            path => {
                if let Some(answer) = secured.as_ref().and_then(|secured| self.trust(asked, secured, path)) {
                    return answer;
                }
            }
        }
        if self.wants_tls(asked) {
            return self.only_secure(asked, secured.is_some());
        }
        let is_owned = self.claim.owner().is_some();
        match asked.head.uri.path() {
            CHALLENGE_PATH => page::json(StatusCode::OK, &self.claim.challenge()),
            CLAIM_PATH if !is_owned => self.claim_page(asked, &claim::Filled::default(), StatusCode::OK, None),
            // Somebody may have had the claim page open while another one claimed the box.
            CLAIM_PATH => see_other("/"),
            recover::PATH if self.claim.is_recovering() => self.recover_page(asked, "", StatusCode::OK, None),
            "/" | "/home" if is_owned => self.home(asked),
            "/" | "/home" => see_other(CLAIM_PATH),
            _ => nothing(),
        }
    }

    async fn posted(&self, asked: &Asked, body: Incoming) -> Response<Full<Bytes>> {
        if self.wants_tls(asked) {
            let error =
                ErrorBody::new(ErrorCode::Forbidden, "this box wants what is sent to it protected: use https://");
            return page::error(StatusCode::FORBIDDEN, &error);
        }
        if let Err(error) = asked.visit.visitor.request(None, Instant::now()) {
            return browser::refused(&error);
        }
        let is_owned = self.claim.owner().is_some();
        match asked.head.uri.path() {
            CLAIM_PATH if page::is_json(&asked.head.headers) => self.claim_by_json(asked, body).await,
            CLAIM_PATH => self.claim_by_form(asked, body).await,
            recover::PATH => self.recover_by_form(asked, body).await,
            PROOF_PATH => self.prove(asked, body).await,
            LOGIN_PATH | LOGOUT_PATH if !is_owned => unclaimed(),
            LOGIN_PATH => self.log_in(asked, body).await,
            LOGOUT_PATH => self.log_out(asked).await,
            _ => nothing(),
        }
    }

    /// Whether the owner wants nothing to come that others can read.
    fn wants_tls(&self, asked: &Asked) -> bool {
        asked.visit.carrier == Carrier::Plain && self.settings.plain_http == PlainHttp::Refused
    }

    /// Where nothing is shown without TLS: the way there, or that there is none yet.
    fn only_secure(&self, asked: &Asked, is_there: bool) -> Response<Full<Bytes>> {
        if is_there {
            return see_other("/");
        }
        let language = asked.language;
        let title = either(language, "One moment", "请稍候");
        let english = "This box takes protected connections only, and is still preparing for them. Load this page again in a minute.";
        let message = either(language, english, "这台设备只接受加密连接，还在准备中。请过一分钟再刷新本页。");
        self.message(language, StatusCode::SERVICE_UNAVAILABLE, &title, &message)
    }

    /// What a box has to show that somebody owns: how to chat with it.
    fn home(&self, asked: &Asked) -> Response<Full<Bytes>> {
        let parts = [("address", Part::text(&asked.address)), ("fingerprint", self.fingerprint(asked.language))];
        self.page(asked.language, StatusCode::OK, HOME.fill(asked.language, &parts))
    }

    fn page(&self, language: Language, status: StatusCode, main: String) -> Response<Full<Bytes>> {
        page::html(status, language::whole(language, self.settings.site_name.as_deref(), main))
    }

    /// A page that says one thing.
    fn message(&self, language: Language, status: StatusCode, title: &str, message: &str) -> Response<Full<Bytes>> {
        let parts = [("title", Part::text(&title)), ("message", Part::text(&message))];
        self.page(language, status, MESSAGE.fill(language, &parts))
    }

    /// A line with the fingerprint, where there is one.
    fn fingerprint(&self, language: Language) -> Part {
        let line = |fingerprint: Fingerprint| {
            let label = either(language, "Fingerprint of this box", "这台设备的指纹");
            format!(r#"<p class="quiet">{label}: <span class="key">{fingerprint}</span></p>"#)
        };
        Part::Markup(self.claim.fingerprint().map(line).unwrap_or_default())
    }
}

/// A body of a length that may be.
async fn read(body: Incoming) -> Result<Bytes, Response<Full<Bytes>>> {
    let read = body::read(body, BODY_LEN_MAX).await;
    read.map_err(|unread| page::error(unread.status, &ErrorBody::new(ErrorCode::BadRequest, unread.message)))
}

/// A body that is JSON.
async fn read_json<T: serde::de::DeserializeOwned>(asked: &Asked, body: Incoming) -> Result<T, Response<Full<Bytes>>> {
    if !page::is_json(&asked.head.headers) {
        let error = ErrorBody::new(ErrorCode::BadRequest, "the content type is application/json");
        return Err(page::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error));
    }
    let bytes = read(body).await?;
    strict::from_slice(&bytes).map_err(|error| {
        let error = ErrorBody::new(ErrorCode::InvalidParams, error.to_string());
        page::error(StatusCode::BAD_REQUEST, &error)
    })
}

/// The listener has seen to it that the host is one of ours.
fn address(headers: &HeaderMap, carrier: Carrier) -> String {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    match carrier {
        Carrier::Plain => format!("http://{host}"),
        Carrier::Secure => format!("https://{host}"),
    }
}

/// `{"status": "ok" | "stopping", "version": …}`; 200 while messages can become durable, else 503.
fn health(store: &Store) -> Response<Full<Bytes>> {
    let (code, status) =
        if store.is_serving() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "stopping") };
    page::json(code, &serde_json::json!({ "status": status, "version": crate::VERSION }))
}

fn unclaimed() -> Response<Full<Bytes>> {
    let error = ErrorBody::new(ErrorCode::Unclaimed, "nobody owns this box yet: claim it first, at /claim");
    page::error(StatusCode::FORBIDDEN, &error)
}

/// Where a route is in the list, and has nothing to give for now.
fn nothing() -> Response<Full<Bytes>> {
    page::text(StatusCode::NOT_FOUND, "not found")
}

fn see_other(path: &'static str) -> Response<Full<Bytes>> {
    let mut response = page::text(StatusCode::SEE_OTHER, path);
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(path));
    response
}

/// The status that goes with an error.
fn status_of(error: &ErrorBody) -> StatusCode {
    match error.code {
        ErrorCode::LoginFailed
        | ErrorCode::CodeWrong
        | ErrorCode::AccountDisabled
        | ErrorCode::PasswordChangeRequired => StatusCode::FORBIDDEN,
        ErrorCode::Conflict | ErrorCode::AlreadyExists => StatusCode::CONFLICT,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Overloaded | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}
